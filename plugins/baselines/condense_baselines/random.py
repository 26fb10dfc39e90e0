"""The floor every method has to beat: random real images. Imports no torch."""

from __future__ import annotations

from condense.method import Method, Recover, Use

RANDOM = Method(
    name="random",
    summary="random real images, nothing optimised: the floor every method has to beat",
    initializer=Use(name="real"),
    recover=Recover(iterations=0),
    protocol="fkd",
)
