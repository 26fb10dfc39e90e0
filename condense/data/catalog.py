"""The datasets that come with condense. Imports neither torch nor numpy nor PIL."""

from __future__ import annotations

from condense.data.options import FashionMnistOptions, FolderOptions, ImagenetteOptions
from condense.specs import DatasetSpec

_FASHION_SOURCE = (
    "Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017, arXiv 1708.07747; "
    "https://github.com/zalandoresearch/fashion-mnist"
)

# One teacher for every method on a dataset, so that methods are compared under the same one.
_FASHION_TEACHER = {
    "teacher.model": "convnet",
    "teacher.epochs": 10,
    "teacher.batch_size": 128,
    "teacher.lr": 0.05,
    "teacher.weight_decay": 5e-4,
    "teacher.augment.flip": True,
}
# Liu et al., ICCV 2025: SGD 0.025, weight decay 1e-4, batches of 32, cosine, 50 epochs, at 224.
_IMAGENETTE_TEACHER = {
    "teacher.model": "resnet18",
    "teacher.epochs": 50,
    "teacher.batch_size": 32,
    "teacher.lr": 0.025,
    "teacher.weight_decay": 1e-4,
    "teacher.augment.crop_scale": (0.08, 1.0),
    "teacher.augment.flip": True,
}

DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        name="fashion-mini",
        summary="part of Fashion-MNIST shipped with condense: 10 classes, 500 + 100 images each, grey, 28x28",
        source=_FASHION_SOURCE,
        build="condense.data.fashion:load_fashion_mini",
        settings={**_FASHION_TEACHER, "teacher.model.width": 64, "teacher.batch_size": 64},
    ),
    DatasetSpec(
        name="fashion-mnist",
        summary="Fashion-MNIST from idx files or by download: 10 classes, 60000 + 10000 images, grey, 28x28",
        source=_FASHION_SOURCE,
        options=FashionMnistOptions,
        build="condense.data.fashion:load_fashion_mnist",
        settings=_FASHION_TEACHER,
    ),
    DatasetSpec(
        name="imagenette",
        summary="ten easy classes of ImageNet: 9469 + 3925 photographs, colour, at 224x224",
        source="Howard: Imagenette, 2019; https://github.com/fastai/imagenette",
        options=ImagenetteOptions,
        build="condense.data.imagenette:load_imagenette",
        settings=_IMAGENETTE_TEACHER,
    ),
    DatasetSpec(
        name="folder",
        summary="your own images in class folders, below train/ and val/ (or test/), or not yet split",
        options=FolderOptions,
        build="condense.data.folder:load_folder",
        takes="PATH",
        settings=_IMAGENETTE_TEACHER,
    ),
)
