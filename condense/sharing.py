"""What Python callers call to keep distilled datasets, to pass them on, and to take those of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from condense.errors import checked_path
from condense.recipe.config import Machine
from condense.recipe.registry import Registry, default_registry
from condense.recipe.resolve import file_name, folder_name
from condense.recipe.settings import Settings

if TYPE_CHECKING:
    from condense.data.tensor_file import Values
    from condense.runs.importing import ImportResult
    from condense.storage.distilled import DistilledDataset
    from condense.storage.hub import Pushed


def save(distilled: DistilledDataset, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a distilled dataset as an artifact folder `path`, whole or not at all.

    Raises StorageError if it cannot be written, or if `path` exists and `overwrite` is False.
    """
    from condense.storage import artifact

    artifact.save(distilled, checked_path(path), overwrite=overwrite)


def load(path: str | Path, *, registry: Registry | None = None) -> DistilledDataset:
    """Return the distilled dataset in an artifact folder or a run directory: a torch Dataset of (image, label, weight).

    path: a folder, or "hf:OWNER/NAME" for one on the Hugging Face hub.
    registry: offers the parametrization of the images; by default what is installed.

    Raises StorageError if there is none, and PluginError if nothing is there that decodes its images.
    """
    from condense.storage import artifact
    from condense.storage.hub import located

    return artifact.load(located(path), registry)


def push(
    path: str | Path,
    name: str,
    *,
    private: bool | None = None,
    teacher: bool = True,
    message: str = "",
    registry: Registry | None = None,
) -> Pushed:
    """Upload the distilled dataset in an artifact folder or a run directory to the Hugging Face hub.

    name: OWNER/NAME, or NAME below your own account.
    private: whether only you see it; by default as the hub does it, which is public unless the organisation that owns
        it says otherwise.
    teacher: whether the teacher goes up too, if it lies beside the artifact and the labels come from it in training.
    message: of the commit.
    registry: as for `load`.

    Raises StorageError if the artifact is incomplete, or if the hub refuses or cannot be reached.
    """
    from condense.storage import hub

    return hub.push(
        checked_path(path), name, private=private, teacher=teacher, message=message, registry=registry
    )


def import_distilled(
    source: str | Path,
    *,
    dataset: str,
    method: str,
    ipc: int | None = None,
    protocol: str | None = None,
    values: Values = "auto",
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    experiment: int | None = None,
    settings: Settings = (),
    data_dir: str | Path | None = None,
    out: str | Path = "runs",
    name: str | None = None,
    registry: Registry | None = None,
) -> ImportResult:
    """Make an artifact of a distilled dataset that others published, so that it can be judged like one's own.

    source: a folder of class folders, a .pt file of images and labels, or a folder with images_best.pt and
        labels_best.pt.
    dataset: the real dataset that it stands for; it must be there, because class names and sizes come from it.
    method: the name of the method that made it, for tables.
    ipc: images per class, to be checked; by default what is there.
    protocol: how students are trained by default; "dc" if it is left out.
    values: how numbers stand for pixels: "bytes", "unit" or "normalised"; "auto" decides by type and range.
    mean, std: per channel, by which the numbers were normalised; by default the dataset's.
    experiment: which of several sets in a .pt, from 0 on; by default the first.
    settings: dotted keys to values, of dataset, teacher, student, protocol or evaluator.
    data_dir: the folder of datasets.
    out, name: the artifact is out/name. Without a name one is made from method, dataset and ipc.
    registry: what plugins offer; by default the installed ones.

    Raises CondenseError as `run` does. Nothing of a .pt file is run.
    """
    from condense.recipe.settings import pairs_of
    from condense.runs.importing import ImportResult, Reading, read_published
    from condense.storage import artifact

    distilled, notes = read_published(
        checked_path(source),
        registry or default_registry(),
        dataset=dataset,
        method=method,
        ipc=ipc,
        protocol=protocol,
        reading=Reading(values=values, mean=tuple(mean), std=tuple(std), experiment=experiment),
        settings=pairs_of(settings),
        machine=Machine(data_dir=str(data_dir or "")),
    )
    path = checked_path(out) / (file_name(distilled.name) if name is None else folder_name(name))
    artifact.save(distilled, path)
    return ImportResult(path=path, distilled=distilled, notes=notes)
