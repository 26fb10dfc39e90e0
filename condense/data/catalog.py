"""The datasets that come with condense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condense.data.options import (
    DownloadOptions,
    FolderOptions,
    HubOptions,
    ImageNetOptions,
    ImagenetteOptions,
    TinyImageNetOptions,
)
from condense.recipe.config import HUB
from condense.recipe.specs import DatasetSpec, ImageKind

# All methods on a dataset use the same teacher, so that they are compared under the same conditions.
Settings = Mapping[str, Any]

_SMALL_GREY_TEACHER: Settings = {
    "teacher.model": "convnet",
    "teacher.epochs": 10,
    "teacher.batch_size": 128,
    "teacher.lr": 0.05,
    "teacher.weight_decay": 5e-4,
    "teacher.augment.flip": True,
}
# SRe2L's teacher on CIFAR-100: ResNet-18 with the stem for small images, 200 epochs, SGD 0.1, weight decay 5e-4,
# cosine. Its batch size is not given. Views are those of SRe2L's students: padded by 4 of 32 pixels and cropped.
_SMALL_COLOUR_TEACHER: Settings = {
    "teacher.model": "resnet18",
    "teacher.epochs": 200,
    "teacher.batch_size": 128,
    "teacher.lr": 0.1,
    "teacher.weight_decay": 5e-4,
    "teacher.augment.siamese": ("crop",),
    "teacher.augment.flip": True,
}
# Chosen on held-out training images of three sets of small images, see docs/results.md. The views are as mild as those
# of recovery, because the teacher labels crops.
_SMALL_FOLDER_TEACHER: Settings = {
    "teacher.model": "convnet",
    "teacher.model.width": 64,
    "teacher.epochs": 30,
    "teacher.steps": 6000,  # 30 epochs of 12,800 images, or 6 of 60,000: minutes on two cores
    "teacher.batch_size": 64,
    "teacher.lr": 0.05,
    "teacher.weight_decay": 5e-4,
    "teacher.augment.crop_scale": (0.5, 1.0),
}
# A trial on the dataset of the package takes minutes, so its students have a third of the usual epochs.
_FOR_A_TRIAL: Mapping[str, Settings] = {
    protocol: {"protocol.epochs": epochs}
    for protocol, epochs in {"fkd": 100, "rded": 100, "dc": 300, "idc": 300, "ncfm": 600}.items()
}
# DSA does not mirror digits.
_DIGITS: Settings = {"teacher.augment.flip": False}
# SRe2L's training on Tiny ImageNet, without its 5 epochs of warm-up: 50 epochs, SGD 0.2, weight decay 1e-4, batches of
# 256. Its stem, which CDA and RDED have too, keeps all 64x64 pixels.
_TINY_IMAGENET_TEACHER: Settings = {
    "teacher.model": "resnet18",
    "teacher.model.stem": "cifar",
    "teacher.epochs": 50,
    "teacher.batch_size": 256,
    "teacher.lr": 0.2,
    "teacher.weight_decay": 1e-4,
    "teacher.augment.crop_scale": (0.08, 1.0),
    "teacher.augment.flip": True,
}
# Liu et al., ICCV 2025, on Imagenette: SGD 0.025, weight decay 1e-4, batches of 32, cosine, 50 epochs, at 224.
_PHOTOGRAPHS_TEACHER: Settings = {
    "teacher.model": "resnet18",
    "teacher.epochs": 50,
    "teacher.batch_size": 32,
    "teacher.lr": 0.025,
    "teacher.weight_decay": 1e-4,
    "teacher.augment.crop_scale": (0.08, 1.0),
    "teacher.augment.flip": True,
}
# SRe2L, CDA, RDED and others: torchvision's first weights. The other settings count if epochs are added.
_IMAGENET_TEACHER: Settings = {
    **_PHOTOGRAPHS_TEACHER,
    "teacher.model.pretrained": True,
    "teacher.epochs": 0,
}

_FASHION_SOURCE = (
    "Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017, arXiv 1708.07747; "
    "https://github.com/zalandoresearch/fashion-mnist"
)
_FASHION_LICENCE = "MIT, copyright (c) 2017 Zalando SE"
_CIFAR_SOURCE = (
    "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009; "
    "https://www.cs.toronto.edu/~kriz/cifar.html"
)
_CIFAR_LICENCE = "none stated by the authors, who ask to cite the report"
_IMAGENET_LICENCE = "terms of access of ImageNet: research and teaching, not commercial"
_FASTAI_LICENCE = (
    "images under the terms of access of ImageNet (research, not commercial); selection Apache-2.0, fast.ai"
)
_IMAGENETTE_SOURCE = "Howard: Imagenette, 2019; https://github.com/fastai/imagenette"
_DOWNLOADED = "downloaded if it is missing"

_SMALL: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        name="fashion-mini",
        summary="part of Fashion-MNIST shipped with condense: 10 classes, 500 + 100 images each, grey, 28x28",
        source=_FASHION_SOURCE,
        build="condense.data.fashion:load_fashion_mini",
        like="small-grey",
        settings={**_SMALL_GREY_TEACHER, "teacher.model.width": 64, "teacher.batch_size": 64},
        settings_by_protocol=_FOR_A_TRIAL,
        classes=10,
        images=(5000, 1000),
        side=28,
        licence=_FASHION_LICENCE,
        fetched="part of the package",
    ),
    DatasetSpec(
        name="fashion-mnist",
        summary="Fashion-MNIST from idx files or by download: 10 classes, 60000 + 10000 images, grey, 28x28",
        source=_FASHION_SOURCE,
        options=DownloadOptions,
        build="condense.data.mnist:load_fashion_mnist",
        like="small-grey",
        settings=_SMALL_GREY_TEACHER,
        classes=10,
        images=(60000, 10000),
        side=28,
        licence=_FASHION_LICENCE,
        fetched=_DOWNLOADED,
        looked_for="FashionMNIST/raw/, or the four idx files themselves",
    ),
    DatasetSpec(
        name="mnist",
        summary="handwritten digits: 10 classes, 60000 + 10000 images, grey, 28x28",
        source="LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, 1998",
        options=DownloadOptions,
        build="condense.data.mnist:load_mnist",
        like="small-grey",
        settings={**_SMALL_GREY_TEACHER, **_DIGITS},
        classes=10,
        images=(60000, 10000),
        side=28,
        licence="CC BY-SA 3.0, copyright Yann LeCun and Corinna Cortes",
        fetched=_DOWNLOADED,
        looked_for="MNIST/raw/",
    ),
    DatasetSpec(
        name="svhn",
        summary="digits of house numbers: 10 classes, 73257 + 26032 images, colour, 32x32",
        source="Netzer et al.: Reading Digits in Natural Images, 2011; http://ufldl.stanford.edu/housenumbers",
        options=DownloadOptions,
        build="condense.data.svhn:load_svhn",
        like="small-colour",
        settings={**_SMALL_COLOUR_TEACHER, **_DIGITS},
        classes=10,
        images=(73257, 26032),
        side=32,
        licence="not for commercial use",
        fetched=_DOWNLOADED,
        looked_for="svhn/, or train_32x32.mat and test_32x32.mat themselves",
    ),
    DatasetSpec(
        name="cifar10",
        summary="animals and vehicles: 10 classes, 50000 + 10000 images, colour, 32x32",
        source=_CIFAR_SOURCE,
        options=DownloadOptions,
        build="condense.data.cifar:load_cifar10",
        like="small-colour",
        settings=_SMALL_COLOUR_TEACHER,
        classes=10,
        images=(50000, 10000),
        side=32,
        licence=_CIFAR_LICENCE,
        fetched=_DOWNLOADED,
        looked_for="cifar-10-batches-py/",
    ),
    DatasetSpec(
        name="cifar100",
        summary="animals, plants and things: 100 classes, 50000 + 10000 images, colour, 32x32",
        source=_CIFAR_SOURCE,
        options=DownloadOptions,
        build="condense.data.cifar:load_cifar100",
        like="small-colour",
        settings=_SMALL_COLOUR_TEACHER,
        classes=100,
        images=(50000, 10000),
        side=32,
        licence=_CIFAR_LICENCE,
        fetched=_DOWNLOADED,
        looked_for="cifar-100-python/",
    ),
    DatasetSpec(
        name="tiny-imagenet",
        summary="200 classes of ImageNet, reduced: 100000 + 10000 images, colour, 64x64",
        source="Le, Yang: Tiny ImageNet Visual Recognition Challenge, 2015; http://cs231n.stanford.edu",
        options=TinyImageNetOptions,
        build="condense.data.tiny_imagenet:load_tiny_imagenet",
        like="small-colour",
        settings=_TINY_IMAGENET_TEACHER,
        classes=200,
        images=(100000, 10000),
        side=64,
        licence=_IMAGENET_LICENCE,
        fetched=_DOWNLOADED,
        looked_for="tiny-imagenet-200/",
    ),
)

_PHOTOGRAPHS: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        name="imagenette",
        summary="ten easy classes of ImageNet: 9469 + 3925 photographs, colour, at 224x224",
        source=_IMAGENETTE_SOURCE,
        options=ImagenetteOptions,
        build="condense.data.imagenette:load_imagenette",
        like="photographs",
        settings=_PHOTOGRAPHS_TEACHER,
        classes=10,
        images=(9469, 3925),
        side=224,
        licence=_FASTAI_LICENCE,
        fetched=_DOWNLOADED,
        looked_for="imagenette2-320/, imagenette2/ or imagenette2-160/, or train/ and val/ themselves",
    ),
    DatasetSpec(
        name="imagewoof",
        summary="ten breeds of dogs of ImageNet: 9025 + 3929 photographs, colour, at 224x224",
        source=_IMAGENETTE_SOURCE,
        options=ImagenetteOptions,
        build="condense.data.imagenette:load_imagewoof",
        like="photographs",
        settings=_PHOTOGRAPHS_TEACHER,
        classes=10,
        images=(9025, 3929),
        side=224,
        licence=_FASTAI_LICENCE,
        fetched=_DOWNLOADED,
        looked_for="imagewoof2-320/, imagewoof2/ or imagewoof2-160/, or train/ and val/ themselves",
    ),
    DatasetSpec(
        name="imagenet-1k",
        summary="ImageNet of ILSVRC 2012: 1000 classes, 1281167 + 50000 photographs, colour, at 224x224",
        source="Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge, IJCV 2015, arXiv 1409.0575",
        options=ImageNetOptions,
        build="condense.data.imagenet:load_imagenet",
        like="photographs",
        settings=_IMAGENET_TEACHER,
        classes=1000,
        images=(1281167, 50000),
        side=224,
        licence=_IMAGENET_LICENCE,
        fetched="by hand, with an account of https://image-net.org",
        looked_for="imagenet-1k/ or imagenet/, or train/ and val/ or the archives themselves",
    ),
)

# For any images.
_BY_KIND: Mapping[ImageKind, Settings] = {
    "small-grey": _SMALL_FOLDER_TEACHER,
    "small-colour": _SMALL_FOLDER_TEACHER,
    "photographs": _PHOTOGRAPHS_TEACHER,
}

_FOLDER = DatasetSpec(
    name="folder",
    summary="your own images in class folders, below train/ and val/ (or test/), or not yet split",
    options=FolderOptions,
    build="condense.data.folder:load_folder",
    like="condense.data.kinds:kind_of_folder",
    takes="PATH",
    settings_by_kind=_BY_KIND,
    fetched="your own",
)

_HUB = DatasetSpec(
    name=HUB,
    summary="a dataset of the Hugging Face hub, or an imagefolder, parquet or saved dataset at hf:./PATH",
    source="https://huggingface.co/datasets",
    options=HubOptions,
    build="condense.data.hub_dataset:load_hub",
    like="condense.data.kinds:kind_of_hub",
    takes="NAME",
    settings_by_kind=_BY_KIND,
    licence="the dataset's own",
    fetched="fetched by Hugging Face's `datasets` into its own cache",
)

DATASETS: tuple[DatasetSpec, ...] = (*_SMALL, *_PHOTOGRAPHS, _FOLDER, _HUB)
