"""The datasets that come with condense. Imports neither torch nor numpy nor PIL."""

from __future__ import annotations

from condense.data.options import FashionMnistOptions, FolderOptions, ImagenetteOptions
from condense.specs import DatasetSpec

_FASHION_SOURCE = (
    "Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017, arXiv 1708.07747; "
    "https://github.com/zalandoresearch/fashion-mnist"
)

DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        name="fashion-mini",
        summary="part of Fashion-MNIST shipped with condense: 10 classes, 500 + 100 images each, grey, 28x28",
        source=_FASHION_SOURCE,
        build="condense.data.fashion:load_fashion_mini",
        settings={},
    ),
    DatasetSpec(
        name="fashion-mnist",
        summary="Fashion-MNIST from idx files or by download: 10 classes, 60000 + 10000 images, grey, 28x28",
        source=_FASHION_SOURCE,
        options=FashionMnistOptions,
        build="condense.data.fashion:load_fashion_mnist",
        settings={},
    ),
    DatasetSpec(
        name="imagenette",
        summary="ten easy classes of ImageNet: 9469 + 3925 photographs, colour, at 224x224",
        source="Howard: Imagenette, 2019; https://github.com/fastai/imagenette",
        options=ImagenetteOptions,
        build="condense.data.imagenette:load_imagenette",
        settings={},
    ),
    DatasetSpec(
        name="folder",
        summary="your own images in class folders, below train/ and val/ (or test/), or not yet split",
        options=FolderOptions,
        build="condense.data.folder:load_folder",
        takes="PATH",
        settings={},
    ),
)
