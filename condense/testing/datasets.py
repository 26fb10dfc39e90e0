"""Whether a dataset is what its spec and the contract say, as far as its files are here."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from condense.data import dataset as contract
from condense.data.dataset import DatasetRequest, MemoryImages, RealDataset, Split, default_data_dir
from condense.data.fetching import fetching_nothing
from condense.errors import CondenseError
from condense.recipe.specs import DatasetSpec
from condense.rng import generator, isolated_global_rng
from condense.testing.findings import Answer
from condense.testing.trial import sentence_of

# Images of a split that are read, spread evenly.
_READ = 64
# The side length from which images are photographs.
_PHOTOGRAPHS = 128
_SEED = 3


class _UnseenError(Exception):
    """Why there is no dataset to look at; answer: what a check says of it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer[1])
        self.answer = answer


class TriedDataset:
    """A dataset with its usual options, from the folder in which datasets are kept here. folder: for an empty one."""

    def __init__(self, spec: DatasetSpec, folder: Path) -> None:
        self._spec, self._folder = spec, folder

    def images(self) -> Answer:
        """Compare images, labels and counts with the spec."""
        found = self._here
        if not isinstance(found, RealDataset):
            return found
        try:
            wrong = next(self._faults(found), "")
        except Exception as error:  # What comes of a plugin's code may be anything.
            return "failed", f"its images cannot be read: {sentence_of(error)}"
        if wrong:
            return "failed", wrong
        counts = f"{len(found.classes)} classes, {len(found.train)} + {len(found.test)} images"
        return "passed", f"{counts} of {found.channels}x{found.size}x{found.size}"

    def reload(self) -> Answer:
        """Load it again, with other draws of the global generators before."""
        first = self._here
        if not isinstance(first, RealDataset):
            return first
        try:
            second = self._loaded(_data_dir(), draws=1)
            for what in ("classes", "size", "mean", "std"):
                if getattr(first, what) != getattr(second, what):
                    return "failed", f"{what} is another when it is loaded again"
            for part in ("train", "test"):
                if getattr(first, part).hash != getattr(second, part).hash:
                    return "failed", (
                        f"the {part} images or their order are others when it is loaded again; sort what a folder "
                        "lists, and draw a split from request.seed alone"
                    )
        except _UnseenError as error:
            return error.answer
        except Exception as error:  # What comes of a plugin's code may be anything.
            return "failed", f"it cannot be loaded a second time: {sentence_of(error)}"
        return "passed", "images, labels and names came back"

    def absent(self) -> Answer:
        """Load it from an empty folder."""
        with tempfile.TemporaryDirectory(dir=self._folder) as empty:
            argument = str(Path(empty) / "nowhere") if self._spec.takes else ""
            try:
                self._loaded(Path(empty), argument=argument)
            except _UnseenError as error:
                return error.answer
            except CondenseError as error:
                return "passed", str(error).replace(empty, "an empty folder")
            except Exception as error:  # What comes of a plugin's code may be anything.
                return "failed", (
                    f"from an empty folder it raises {sentence_of(error)}; raise condense.DataError that says which "
                    "files are wanted and where"
                )
        return "skipped", "it needs no file in the folder of datasets"

    @cached_property
    def _here(self) -> RealDataset | Answer:
        """The dataset, or why it cannot be looked at."""
        if self._spec.takes:
            return "skipped", f"it is one of many, {self._spec.name}:{self._spec.takes}, so none was loaded"
        try:
            return self._loaded(_data_dir())
        except _UnseenError as error:
            return error.answer
        except CondenseError as error:
            if _refused_by_contract(error):
                return "failed", str(error)
            return "skipped", f"nothing could be looked at: {error}"
        except Exception as error:  # What comes of a plugin's code may be anything.
            return "failed", sentence_of(error)

    def _loaded(self, data_dir: Path, *, draws: int = 0, argument: str = "") -> RealDataset:
        """Return the dataset. condense's own downloads are off; what a plugin fetches by itself is fetched."""
        spec, options = self._spec, self._spec.options()
        name = f"{spec.name}:{argument}" if argument else spec.name
        request = DatasetRequest(name=name, argument=argument, data_dir=data_dir, seed=_SEED)
        with fetching_nothing(), isolated_global_rng(generator(draws, "testing", "dataset")):
            kind = spec.kind_of(options, argument)
            made: object = spec.builder()(options, request)
        if not isinstance(made, RealDataset):
            raise _UnseenError(
                ("failed", f"it was loaded as {type(made).__name__}, and not as condense.RealDataset")
            )
        if made.name != name:
            raise _UnseenError(("failed", f"it calls itself {made.name!r}; give it name=request.name"))
        wanted = (
            "photographs" if made.size >= _PHOTOGRAPHS else ("small-grey", "small-colour")[made.channels > 1]
        )
        if kind != wanted:
            size = f"{made.channels}x{made.size}x{made.size}"
            raise _UnseenError(
                ("failed", f"its spec says like={kind!r}, and images of {size} are {wanted!r}")
            )
        return made

    def _faults(self, found: RealDataset) -> Iterator[str]:
        """Yield what is wrong with a dataset. What `RealDataset` refuses is right already."""
        spec = self._spec
        side, images = spec.side_of(spec.options()), (len(found.train), len(found.test))
        for what, said, came in (
            ("classes", spec.classes, len(found.classes)),
            ("images", spec.images if any(spec.images) else 0, images),
            ("side", side, found.size),
        ):
            if said and said != came:
                yield f"its spec says {what}={said}, and {came} came"
        for part, split in (("training", found.train), ("test", found.test)):
            yield from (f"the {part} images {wrong}" for wrong in _faults_of(split))


def _faults_of(split: Split) -> Iterator[str]:
    """Yield what is wrong with a split, as a sentence goes on behind "the training images"."""
    labels, shape = split.labels, split.images.shape
    if labels.dim() != 1 or labels.dtype != torch.int64 or labels.device.type != "cpu":
        yield f"have labels {tuple(labels.shape)} {labels.dtype}; (n,) torch.int64 on the CPU are wanted"
        return
    indices = torch.arange(0, len(split), max(1, len(split) // _READ))[:_READ]
    pixels: object = split.images.read(indices)
    wanted = (len(indices), *shape)
    if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8 or tuple(pixels.shape) != wanted:
        came = (
            f"{tuple(pixels.shape)} {pixels.dtype}" if isinstance(pixels, Tensor) else type(pixels).__name__
        )
        yield f"are read as {came}; {wanted} torch.uint8 are wanted"
        return
    if not torch.equal(split.images.read(indices.flip(0)), pixels.flip(0)):
        yield "are others when they are read in another order; images must follow their indices"
    if not isinstance(split.images, MemoryImages) and not torch.equal(
        split.images.read(indices[:1]), pixels[:1]
    ):
        yield "are others when one is read alone"


def _data_dir() -> Path:
    return default_data_dir(os.environ)


def _refused_by_contract(error: CondenseError) -> bool:
    """Return whether `RealDataset` or `Split` raised an error, and not the loader, which may lack files."""
    own, trace = inspect.getsourcefile(contract), error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == own and code.co_name == "__post_init__":
            return True
        trace = trace.tb_next
    return False
