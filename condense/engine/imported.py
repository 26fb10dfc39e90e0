"""The initializer that takes the images of a distilled dataset made elsewhere."""

from __future__ import annotations

from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import Coder
from condense.data.pixels import normalise
from condense.engine.catalog import ImportedOptions
from condense.engine.components import Initializer, InitialRequest
from condense.errors import DataError, OptionError
from condense.recipe.specs import Origin
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
        if len(data.images) != len(data.classes) * data.ipc:
            raise DataError(
                f"{options.path} has classes with fewer than {data.ipc} images; all must have as many"
            )

    def images(self, request: InitialRequest) -> Tensor:
        """Return the decoded images of the class, (request.ipc, C, H, W)."""
        coder = self._data.coder
        return coder.decode(
            self.stored(request.label, request.ipc // coder.images_per_stored, request.dataset, coder)
        )

    def stored(self, label: int, ipc: int, real: RealDataset, coder: Coder) -> Tensor:
        """Return the images of a class as they are stored, (ipc, C, H, W) float32, normalised as `real` is.

        Raises DataError if they are not `ipc` images of this dataset, or if `coder` stores images in another form.
        """
        data = self._data
        chosen = data.images[data.stored_labels == label]
        if data.coder.use != coder.use:
            raise DataError(
                f"{self.options.path} stores images as {data.coder.text}, and the recipe as {coder.text}; choose the "
                "former with --set parametrization=..."
            )
        if data.classes != real.classes:
            raise DataError(
                f"{self.options.path} has the classes {', '.join(data.classes[:3])}, ... and {real.name} has "
                f"{', '.join(real.classes[:3])}, ...: not the same dataset"
            )
        if len(chosen) != ipc:
            raise DataError(
                f"{self.options.path} has {len(chosen)} images of class {real.classes[label]!r}, not the {ipc} asked "
                "for"
            )
        if tuple(chosen.shape[1:]) != (real.channels, real.size, real.size):
            raise DataError(
                f"the images in {self.options.path} are {tuple(chosen.shape[1:])}, and those of {real.name} are "
                f"{(real.channels, real.size, real.size)} (channels, height, width)"
            )
        return normalise(chosen, real.mean, real.std)

    @property
    def origin(self) -> Origin:
        """What the images of the artifact are."""
        return self._data.origin

    def slot_weights(self) -> Tensor:
        """Return the weights of the artifact, (K, decoded images per class)."""
        return self._data.weights.view(len(self._data.classes), -1)
