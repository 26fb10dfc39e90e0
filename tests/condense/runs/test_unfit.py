"""A file of a run with other tensors or facts than the run wrote is refused in one sentence, also without checksums."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.errors import StorageError
from condense.storage.tensors import read_tensors, write_tensors

ATOMS, WEIGHTS, MEAN = "barycenter/atoms", "barycenter/weights", "class-batchnorm/mean"
LAYOUT = "names, shapes or types of its tensors are not those that it was written with"


def rewrite(file: Path, change: Callable[[dict[str, Tensor]], object], *, keep_metadata: bool = True) -> None:
    """Change the tensors of a file, for which no checksum is left."""
    tensors, metadata = read_tensors(file)
    change(tensors)
    file.unlink()
    write_tensors(file, tensors, metadata if keep_metadata else {})
    (file.parent / "checksums.jsonl").unlink(missing_ok=True)


def misnamed(tensors: dict[str, Tensor]) -> None:
    tensors["barycenter/atom"] = tensors.pop(ATOMS)


def of_another_loss(tensors: dict[str, Tensor]) -> None:
    tensors["cross-entropy/atoms"] = tensors.pop(ATOMS)


def turned(tensors: dict[str, Tensor]) -> None:
    tensors[ATOMS] = tensors[ATOMS].transpose(0, 1).contiguous()


def of_one_class_less(tensors: dict[str, Tensor]) -> None:
    tensors[WEIGHTS] = tensors[WEIGHTS][1:].contiguous()


def in_double(tensors: dict[str, Tensor]) -> None:
    tensors[MEAN] = tensors[MEAN].double()


def in_whole_numbers(tensors: dict[str, Tensor]) -> None:
    tensors[WEIGHTS] = tensors[WEIGHTS].long()


def without_numbers(tensors: dict[str, Tensor]) -> None:
    tensors[WEIGHTS][0, 0] = torch.nan


@pytest.mark.parametrize(
    ("change", "known", "text"),
    [
        (misnamed, True, LAYOUT),
        (turned, True, LAYOUT),
        (in_double, True, LAYOUT),
        (of_another_loss, True, "'cross-entropy/atoms' belongs to none of the losses that observe"),
        # As versions wrote it that kept no list of tensors.
        (misnamed, False, r"feature target 'barycenter' of plugin 'wmdd' failed in restore .*'atoms'"),
        (turned, False, r"must return finite floats \(3, 2, D\) from slot_features, and returned \(2, 3, "),
        (
            of_one_class_less,
            False,
            r"must return finite floats \(3, 2\) from slot_weights, and returned \(2, 2\)",
        ),
        (in_whole_numbers, False, r"must return finite floats \(3, 2\) from slot_weights.* torch\.int64"),
        (without_numbers, False, r"must return finite floats \(3, 2\) from slot_weights"),
    ],
)
def test_measurements(change: Any, known: bool, text: str, copy: Any, site: Any) -> None:
    file = copy.path / "measurements.safetensors"
    rewrite(file, change, keep_metadata=known)
    with pytest.raises(
        StorageError, match=f"{file} is not what this run measured: .*{text}.*; delete it and go"
    ):
        site.run(name="one", resume=True)
    file.unlink()
    assert site.accuracies(site.run(name="one", resume=True)) == site.accuracies(copy)


def without_one(tensors: dict[str, Tensor]) -> None:
    del tensors[sorted(tensors)[0]]


def without_the_last_state(tensors: dict[str, Tensor]) -> None:
    for name in [name for name in tensors if name.startswith("1/")]:
        del tensors[name]


def with_one_more(tensors: dict[str, Tensor]) -> None:
    tensors["2/more"] = torch.zeros(1)


def with_a_name_of_its_own(tensors: dict[str, Tensor]) -> None:
    tensors["no number"] = torch.zeros(1)


def reshaped(tensors: dict[str, Tensor]) -> None:
    name = next(name for name, value in tensors.items() if value.dim() == 4)
    tensors[name] = tensors[name].flatten()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without_one, "has no tensor '0/"),
        (without_the_last_state, "has no tensor '1/"),
        (with_one_more, "has the tensor '2/more', which no network of this pool has"),
        (with_a_name_of_its_own, "has the tensor 'no number', which no network of this pool has"),
        (reshaped, r"must be \(\d+, \d+, 3, 3\) torch\.float32, not \(\d+,\)"),
    ],
)
def test_a_network_of_a_pool(change: Any, text: str, site: Any) -> None:
    settings = {
        "parametrization": "identity",
        "pool.model": "convnet(width=4,depth=2,norm=instance)",
        "pool.networks": 1,
        "pool.epochs": 1,
        "pool.batch_size": 8,
        "targets.characteristic-function.frequencies": 16,
    }
    options: dict[str, Any] = {"name": "pool", "students": 0, "settings": settings}
    first = site.run("ncfm", **options)
    [file] = (first.path / "pool").glob("*.safetensors")
    rewrite(file, change)
    for chunk in (first.path / "chunks").iterdir():
        chunk.unlink()
    with pytest.raises(StorageError, match=f"{file}.*{text}.*; delete"):
        site.run("ncfm", resume=True, **options)
    file.unlink()
    again = site.run("ncfm", resume=True, **options)
    assert torch.equal(again.distilled.images, first.distilled.images)


@pytest.mark.parametrize(
    "facts", [[], {}, {"accuracy": 4.1, "seconds": 1}, {"accuracy": "high", "seconds": 1}]
)
def test_what_is_told_of_a_shared_teacher(facts: Any, site: Any, tmp_path: Path) -> None:
    shelf = tmp_path / "teachers"
    site.run(name="one", students=0, teachers=shelf)
    [about] = shelf.glob("*.json")
    about.unlink()
    about.write_text(json.dumps(facts))
    (shelf / "checksums.jsonl").unlink()
    with pytest.raises(StorageError, match="does not tell of a teacher; delete it and the file beside it"):
        site.run(name="two", students=0, teachers=shelf)
