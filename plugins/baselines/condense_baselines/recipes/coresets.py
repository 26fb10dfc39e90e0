"""Coresets as recipes: real images that are chosen through the teacher, or at random. Nothing is optimised.

The papers choose from a dataset as a whole, or report in other settings. Here each method chooses within
every class and trains students as `random` does (the protocol fkd), so that they differ in the choice alone.
"""

from __future__ import annotations

from condense import Method, Published, Recover, Use, Weighted

_HARD = "3 to 5 blocks with instance norm, photographs at 128x128, hard labels"
_NCFM = "Wang et al., CVPR 2025, Tables 1 and 2"

HERDING = Method(
    name="herding",
    summary="real images whose mean feature follows that of their class",
    source="Welling, Herding Dynamical Weights to Learn, ICML 2009; greedy form of Rebuffi et al., CVPR 2017, "
    "arXiv 1611.07725",
    initializer=Use(name="herding"),
    recover=Recover(iterations=0),
    protocol="fkd",
    published=Published.table(
        {
            "cifar10": {1: (21.5, 1.2), 10: (31.6, 0.7), 50: (40.4, 0.6)},
            "cifar100": {1: (8.4, 0.3), 10: (17.3, 0.3), 50: (33.7, 0.5)},
            "tiny-imagenet": {1: (2.8, 0.2), 10: (6.3, 0.2), 50: (16.7, 0.3)},
        },
        student="convnet",
        conditions=_HARD,
        source=_NCFM,
        second_hand=True,
    ),
)

K_CENTER = Method(
    name="k-center",
    summary="real images that leave no image of their class far from all of them",
    source="Sener & Savarese, Active Learning for Convolutional Neural Networks, ICLR 2018, arXiv 1708.00489",
    initializer=Use(name="k-center"),
    recover=Recover(iterations=0),
    protocol="fkd",
)

MEDOIDS = Method(
    name="medoids",
    summary="the real images nearest to the atoms of their class's Wasserstein barycenter",
    source="this project: WMDD (Liu et al., ICCV 2025, arXiv 2311.18531) without its synthesis of images",
    initializer=Use(name="medoids"),
    targets={"barycenter": Weighted()},
    recover=Recover(iterations=0),
    protocol="fkd",
)


RANDOM = Method(
    name="random",
    summary="random real images, nothing optimised: the reference that every method has to beat",
    initializer=Use(name="real"),
    recover=Recover(iterations=0),
    protocol="fkd",
    published=(
        *Published.table(
            {
                "cifar10": {1: (14.4, 2.0), 10: (26.0, 1.2), 50: (43.4, 1.0)},
                "cifar100": {1: (4.2, 0.3), 10: (14.6, 0.5), 50: (30.0, 0.4)},
                "tiny-imagenet": {1: (1.4, 0.1), 10: (5.0, 0.2), 50: (15.0, 0.4)},
                "imagenette": {1: (23.5, 4.8), 10: (47.7, 2.4)},
                "imagewoof": {1: (14.2, 0.9), 10: (27.0, 1.9)},
            },
            student="convnet",
            conditions=_HARD,
            source=_NCFM,
            second_hand=True,
        ),
        *Published.table(
            {"imagenet-1k": {1: (0.5, 0.1), 10: (3.6, 0.1), 50: (15.3, 2.3)}},
            student="convnet",
            conditions="as for WMDD",
            source="Liu et al., ICCV 2025, main table",
            second_hand=True,
        ),
    ),
)
