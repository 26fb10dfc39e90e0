"""Runs whose stored images hold several: real images packed, recovery through the mosaic, and going on with one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.dataset import RealDataset
from condense.data.parametrizations.catalog import MosaicOptions
from condense.data.parametrizations.standard import Mosaic
from condense.data.pixels import to_bytes
from condense.errors import DataError
from condense.recipe.registry import Registry
from condense.runs.result import RunResult

MakeDataset = Callable[..., RealDataset]
CHOOSING = ("random", "herding", "k-center", "medoids")


@pytest.fixture(scope="module")
def dataset(make_dataset: MakeDataset) -> RealDataset:
    return make_dataset((20, 21, 22), size=12)


@pytest.fixture(scope="module")
def registry(dataset: RealDataset, make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(dataset)


@pytest.fixture
def run(registry: Registry, tmp_path: Path) -> Callable[..., RunResult]:
    def made(method: str, name: str = "a", more: dict[str, Any] | None = None, **own: Any) -> RunResult:
        chosen = {} if method in CHOOSING else {"iterations": 3}
        settings = {**chosen, "protocol.epochs": 2, "protocol.batch_size": 8, "parametrization": "mosaic"}
        given = {"dataset": "tiny", "ipc": 2, "students": 1, "reference": False, "device": "cpu", **own}
        settings |= more or {}
        return condense.run(
            method=method, settings=settings, registry=registry, out=tmp_path, name=name, **given
        )

    return made


def test_real_images_packed(run: Callable[..., RunResult], dataset: RealDataset) -> None:
    """Each stored image holds four images of its class, all of them different."""
    found = run("random").distilled
    assert (len(found.images), len(found)) == (6, 24)
    assert found.labels.tolist() == [label for label in range(3) for _ in range(8)]
    decoded = torch.stack([image for image, _, _ in found])
    for label in range(3):
        real = dataset.training_images(dataset.train.of_class(label))
        nearest = torch.cdist(decoded[found.labels == label].flatten(1), real.flatten(1)).argmin(dim=1)
        assert len(set(nearest.tolist())) == 8
        packed = Mosaic(MosaicOptions()).encode(real[nearest])
        stored = found.images[found.stored_labels == label]
        assert torch.equal(stored, to_bytes(packed, dataset.mean, dataset.std))


def test_the_reference_is_stored_as_it_is(run: Callable[..., RunResult]) -> None:
    result = run("random", reference=True)
    assert [score.label for score in result.scores] == ["random", "random real images"]


@pytest.mark.parametrize("method", ["wmdd", "dm", "dc"])
def test_recovery_through_the_mosaic(run: Callable[..., RunResult], method: str) -> None:
    found = run(method, "recovered").distilled
    kept = run(method, "kept", {"iterations": 0}).distilled
    assert found.images.shape == kept.images.shape == (6, 1, 12, 12)
    assert found.weights.shape == (24,)
    assert not torch.equal(found.images, kept.images)
    assert found.settings["recipe"]["parametrization"] == {
        "name": "mosaic",
        "options": {"factor": 2, "reduce": "fit"},
    }


def test_a_barycenter_has_an_atom_for_every_decoded_image(
    run: Callable[..., RunResult], tmp_path: Path
) -> None:
    from condense.storage.tensors import read_tensors

    found = run("wmdd").distilled
    tensors, _ = read_tensors(tmp_path / "a" / "measurements.safetensors")
    assert tensors["barycenter/atoms"].shape[:2] == (3, 8)
    assert torch.equal(found.weights, tensors["barycenter/weights"].float().flatten())


@pytest.mark.parametrize("chunk", ["classes", "slots"])
def test_a_resumed_run_has_the_same_bytes(run: Callable[..., RunResult], tmp_path: Path, chunk: str) -> None:
    more = {"recover.chunk": chunk, "recover.batch": 8}
    method = "dm" if chunk == "classes" else "sre2l"
    whole = run(method, "whole", more).distilled
    run(method, "cut", more, students=0)
    chunks = sorted((tmp_path / "cut" / "chunks").iterdir())
    assert len(chunks) == 3
    chunks[1].unlink()
    again = run(method, "cut", more, resume=True).distilled
    assert torch.equal(again.images, whole.images)


def test_every_choice_of_real_images_is_packed(
    run: Callable[..., RunResult],
) -> None:
    """Whoever chooses them: they are asked for 18 of the 20 images of a class, in two images of three by three."""
    for method in CHOOSING:
        found = run(method, method, {"parametrization.factor": 3}, students=0).distilled
        assert (len(found.images), len(found), found.images_per_class) == (6, 54, 18)
        assert len(found.images.flatten(1).unique(dim=0)) == 6


def test_too_few_real_images_are_refused(run: Callable[..., RunResult]) -> None:
    text = "6 images per class were asked for, which hold 4 images each, 24 together, .* use --ipc 5 or less"
    with pytest.raises(DataError, match=text):
        run("random", ipc=6)


def test_a_factor_that_does_not_fit_is_refused_before_anything_is_written(
    run: Callable[..., RunResult], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="has only 20; store fewer images in one"):
        run("random", more={"parametrization.factor": 13})
    assert not (tmp_path / "a").exists()
