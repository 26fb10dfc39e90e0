"""Coresets as recipes: real images that are chosen through the teacher, or at random. Nothing is optimised.

The papers choose from a dataset as a whole, or report in other settings. Here each method chooses within
every class and trains students as `random` does (the protocol fkd), so that they differ in the choice alone.
"""

from __future__ import annotations

from condense import Method, Recover, Use, Weighted

HERDING = Method(
    name="herding",
    summary="real images whose mean feature follows that of their class",
    source="Welling, Herding Dynamical Weights to Learn, ICML 2009; greedy form of Rebuffi et al., CVPR 2017, "
    "arXiv 1611.07725",
    initializer=Use(name="herding"),
    recover=Recover(iterations=0),
    protocol="fkd",
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
)
