"""Datasets that Hugging Face's `datasets` reads: their splits, and the columns of images and labels. Without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from condense.data.fetching import may_fetch
from condense.data.headers import EncodedImage, ImageFile
from condense.data.hub_client import answers, refusing_requests
from condense.data.hub_packages import hub_package
from condense.data.options import HubOptions
from condense.errors import DataError, nearest
from condense.recipe.config import is_path

_TEST_SPLITS = ("test", "validation", "valid", "val")
# How many rows say whether a split has labels.
_LOOKED_AT = 100
_LABEL_NAMES = ("label", "labels")
# What save_to_disk of `datasets` leaves in a folder.
_SAVED = ("dataset_dict.json", "state.json")
# A table of `datasets`, which has no types that mypy could check.
Table = Any


class NotFetchedError(DataError):
    """A dataset of the hub that is not in the cache, where it cannot be fetched."""


@dataclass(frozen=True)
class HubTable:
    """One split: rows with an image and a label.

    name: of the dataset, as users write it.
    split: its name.
    table: the rows, as `datasets` gives them. Images are not decoded.
    image, label: the names of the columns.
    """

    name: str
    split: str
    table: Table
    image: str
    label: str

    def images(self) -> EncodedImages:
        """Return the images of all rows."""
        return EncodedImages(
            f"{self.name}, split {self.split}", self.table.select_columns([self.image]), self.image
        )

    def values(self) -> list[Any]:
        """Return the label of every row, as it is stored."""
        found: list[Any] = self.table.select_columns([self.label]).to_dict()[self.label]
        return found

    @property
    def is_labelled(self) -> bool:
        """Whether the first rows have labels. Tests whose labels are secret have none, or the label -1."""
        first = self.table.select_columns([self.label])[:_LOOKED_AT][self.label]
        return any(value not in (None, -1) for value in first)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names that the label column has by itself, in the order of its numbers; () for none."""
        return tuple(getattr(self.table.features[self.label], "names", ()))


@dataclass(frozen=True)
class HubSplits:
    """A training split, and a test split or None. notes: messages to show to the user."""

    train: HubTable
    test: HubTable | None
    notes: tuple[str, ...] = ()


class EncodedImages(Sequence[ImageFile]):
    """The image files in a column of a split, read one by one when they are asked for.

    rows: the rows to show, in this order; all of them by default.
    """

    def __init__(self, name: str, table: Table, column: str, rows: Sequence[int] | None = None) -> None:
        self._name, self._table, self._column = name, table, column
        self._rows = range(len(table)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> ImageFile: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ImageFile]: ...

    def __getitem__(self, index: int | slice) -> ImageFile | Sequence[ImageFile]:
        if isinstance(index, slice):
            return [self._file(row) for row in self._rows[index]]
        return self._file(self._rows[index])

    def of(self, positions: Sequence[int]) -> EncodedImages:
        """Return the images at some positions, in this order."""
        return EncodedImages(
            self._name, self._table, self._column, [self._rows[position] for position in positions]
        )

    def spread(self, count: int) -> EncodedImages:
        """Return `count` images or fewer, spread evenly."""
        step = max(1, -(-len(self) // count))
        return self.of(range(0, len(self), step))

    def _file(self, row: int) -> ImageFile:
        where = f"{self._name}, row {row}"
        stored = self._table[row][self._column] or {}
        if stored.get("bytes") is not None:
            return EncodedImage(stored["bytes"], where)
        if stored.get("path"):
            return Path(stored["path"])
        raise DataError(f"{where} has no image: remove the row")


def open_splits(argument: str, options: HubOptions) -> HubSplits:
    """Return the splits of a dataset on the hub, or below a path, with their columns chosen.

    argument: what follows "hf:", OWNER/NAME or a path.

    Raises DataError if it cannot be read, or if a split or a column has to be named.
    """
    if not argument:
        raise DataError("which dataset? Give its name or a path after a colon: hf:OWNER/NAME or hf:./PATH")
    tables = _read(argument, options)
    train, candidates = _choose_splits(argument, tables, options)
    tests = (_with_columns(argument, name, tables[name], options) for name in candidates)
    test = next((split for split in tests if options.test or split.is_labelled), None)
    used = (train, test.split if test else "")
    others = [name for name in tables if name not in used]
    notes = (f"not used: {', '.join(others)}; {used[1] or f'a part of {train}'} is the test split",)
    return HubSplits(
        train=_with_columns(argument, train, tables[train], options),
        test=test,
        notes=notes if others else (),
    )


def _read(argument: str, options: HubOptions) -> Mapping[str, Table]:
    """Return the splits by name, read by `datasets` from disk, from its cache or from the hub."""
    datasets = hub_package("datasets")
    if not is_path(argument):
        found = _read_name(argument, options)
    else:
        path = Path(argument).expanduser()
        if options.revision:
            raise DataError(f"dataset.revision={options.revision} has no effect on files: {path}")
        if not path.exists():
            raise DataError(f"{path} does not exist; hf:OWNER/NAME without a dot or slash in front is a name")
        if any((path / name).is_file() for name in _SAVED):
            found = _reading(argument, lambda: datasets.load_from_disk(str(path)))
        elif path.is_dir():
            found = _reading(argument, lambda: datasets.load_dataset(str(path), options.config or None))
        elif path.suffix == ".parquet":
            found = _reading(argument, lambda: datasets.load_dataset("parquet", data_files=str(path)))
        else:
            raise DataError(f"{path} is neither a folder nor a .parquet file")
    return found if isinstance(found, dict) else {"train": found}


def _read_name(name: str, options: HubOptions) -> Any:
    """Return the splits of a dataset of the hub. Only the cache is read if nothing may be fetched or no hub answers."""
    datasets = hub_package("datasets")

    def read() -> Any:
        return datasets.load_dataset(name, options.config or None, revision=options.revision or None)

    if may_fetch() and answers(name):
        return _reading(name, read)
    with refusing_requests():
        return _reading(name, read)


def _reading(argument: str, read: Callable[[], Any]) -> Any:
    """Return `read()`. Raises DataError that says what to do for what `datasets` raises."""
    try:
        return read()
    except ConnectionError as error:
        raise NotFetchedError(_not_fetched(argument)) from error
    # It raises errors of its own, of pyarrow, fsspec, requests and the file system.
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        local = not is_path(argument) and Path(argument).exists()
        hint = f" There is a folder of that name: hf:./{argument} reads it." if local else ""
        if "onfig name is missing" in reason or "BuilderConfig" in reason:
            hint = " Choose one with --set dataset.config=NAME."
        raise DataError(f"`datasets` cannot read {argument!r}: {reason}{hint}") from error


def _not_fetched(name: str) -> str:
    folder = name.rpartition("/")[2]
    download = f"`hf download {name} --repo-type dataset --local-dir {folder}`"
    if not may_fetch():
        return (
            f"the dataset {name!r} is not in Hugging Face's cache, and a plan or a dry run fetches nothing, so it is "
            f"not known how many images there are and how large they are; run {download} and use --dataset "
            f"hf:./{folder}"
        )
    return (
        f"the dataset {name!r} is not in Hugging Face's cache and the hub cannot be reached: where there is a network, "
        f"run {download}, put the folder here, and use --dataset hf:./{folder}"
    )


def _choose_splits(argument: str, tables: Mapping[str, Table], options: HubOptions) -> tuple[str, list[str]]:
    """Return the name of the training split, and those that may be the test split, the best first."""
    for key, name in (("train", options.train), ("test", options.test)):
        if name and name not in tables:
            close = nearest(name, tables)
            guess = f" Did you mean {close!r}?" if close else ""
            raise DataError(
                f"dataset.{key}={name}: {argument!r} has no such split.{guess} There are: {', '.join(tables)}"
            )
    rest = [name for name in tables if name != options.test]
    train = options.train or ("train" if "train" in rest else rest[0] if len(rest) == 1 else "")
    if not train:
        raise DataError(
            f"{argument!r} has the splits {', '.join(tables)} and none is called train; say which one to train on with "
            "--set dataset.train=NAME, and which to test on with --set dataset.test=NAME"
        )
    if options.test == train:
        raise DataError(f"split {train!r} of {argument!r} cannot be the training split and the test split")
    usual = [name for name in _TEST_SPLITS if name in tables and name != train]
    return train, [options.test] if options.test else usual


def _with_columns(argument: str, split: str, table: Table, options: HubOptions) -> HubTable:
    features = table.features
    image = options.image or _the_one("image", _image_columns(features), argument, features)
    label = options.label or _the_one("label", _label_columns(features, image), argument, features)
    for key, column in (("image", image), ("label", label)):
        if column not in features:
            raise DataError(
                f"dataset.{key}={column}: {argument!r} has no such column. There are: {_listed(features)}"
            )
    if image == label:
        raise DataError(f"column {image!r} of {argument!r} cannot be the image and the label")
    encoded = hub_package("datasets").Image(decode=False)
    try:
        table = table.cast_column(image, encoded)
    except (TypeError, ValueError, NotImplementedError) as error:  # those of pyarrow
        raise DataError(
            f"column {image!r} of {argument!r} holds no images: {_listed({image: features[image]})}"
        ) from error
    return HubTable(f"hf:{argument}", split, table, image, label)


def _image_columns(features: Mapping[str, Any]) -> list[str]:
    """Return the columns of images; if none says so, those that hold the bytes of files."""
    datasets = hub_package("datasets")
    found = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    return found or [name for name, feature in features.items() if _holds_files(feature)]


def _holds_files(feature: Any) -> bool:
    keys = feature if isinstance(feature, dict) else {}
    return "bytes" in keys or getattr(feature, "dtype", "") in ("binary", "large_binary")


def _label_columns(features: Mapping[str, Any], image: str) -> list[str]:
    """Return the columns of classes; if none says so, "label" or "labels"; else those of numbers or texts."""
    datasets = hub_package("datasets")
    found = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if found:
        return found
    plain = [
        name
        for name, feature in features.items()
        if name != image
        and isinstance(feature, datasets.Value)
        and feature.dtype.startswith(("int", "uint", "string", "large_string", "bool"))
    ]
    return [name for name in plain if name in _LABEL_NAMES] or plain


def _the_one(key: str, found: Sequence[str], argument: str, features: Mapping[str, Any]) -> str:
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} columns that could be the {key} ({', '.join(found)})" if found else ""
    raise DataError(
        f"{argument!r} has {several or f'no column that is clearly the {key}'}; say which with "
        f"--set dataset.{key}=NAME. Its columns: {_listed(features)}"
    )


def _listed(features: Mapping[str, Any]) -> str:
    return ", ".join(_described(features))


def _described(features: Mapping[str, Any]) -> Iterator[str]:
    for name, feature in features.items():
        kind = type(feature).__name__
        yield f"{name} ({getattr(feature, 'dtype', kind) if kind == 'Value' else kind})"
