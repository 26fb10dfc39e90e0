"""The initializer that takes the images of a distilled dataset made elsewhere."""

from __future__ import annotations

from torch import Tensor

from condense.data.pixels import normalise
from condense.engine.catalog import ImportedOptions
from condense.engine.components import Initializer, InitialRequest
from condense.errors import DataError, OptionError
from condense.storage import artifact
from condense.storage.hub import located
from condense.storage.manifest import content_hash


class Imported(Initializer):
    """The images and weights of an artifact, class by class.

    Raises OptionError without a path, StorageError if no artifact is there, and DataError if its images are not those
    that `content` is the hash of.
    """

    def __init__(self, options: ImportedOptions) -> None:
        if not options.path:
            raise OptionError(
                "which distilled dataset? Give its folder: --set initializer.path=PATH, or imported:PATH as a row of "
                "`condense compare`"
            )
        folder = artifact.find(located(options.path))
        if options.content and content_hash(folder) != options.content:
            raise DataError(f"the images in {folder} have changed since the work on them began; begin again")
        self.options = options
        self._data = data = artifact.load(folder)
        if len(data) != len(data.classes) * data.ipc:
            raise DataError(
                f"{options.path} has classes with fewer than {data.ipc} images; all must have as many"
            )

    def images(self, request: InitialRequest) -> Tensor:
        data, real = self._data, request.dataset
        chosen = data.images[data.labels == request.label]
        if data.classes != real.classes:
            raise DataError(
                f"{self.options.path} has the classes {', '.join(data.classes[:3])}, ... and {real.name} has "
                f"{', '.join(real.classes[:3])}, ...: not the same dataset"
            )
        if len(chosen) != request.ipc:
            raise DataError(
                f"{self.options.path} has {len(chosen)} images of class {real.classes[request.label]!r}, not the "
                f"{request.ipc} asked for"
            )
        if tuple(chosen.shape[1:]) != (real.channels, real.size, real.size):
            raise DataError(
                f"the images in {self.options.path} are {tuple(chosen.shape[1:])}, and those of {real.name} are "
                f"{(real.channels, real.size, real.size)} (channels, height, width)"
            )
        return normalise(chosen, real.mean, real.std)

    def slot_weights(self) -> Tensor:
        """Return the weights of the artifact, (K, ipc)."""
        return self._data.weights.view(len(self._data.classes), -1)
