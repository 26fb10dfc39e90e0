"""The dataset card of an artifact: what people read, and the fields that the Hugging Face hub filters by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from condense.recipe.config import HUB, is_path
from condense.recipe.method import IDENTITY
from condense.recipe.specs import Origin
from condense.storage.distilled import DistilledDataset
from condense.storage.manifest import Manifest
from condense.storage.templates import template

# The licence names that Hugging Face knows; any other text goes to `license_name`.
_LICENCES = {
    *("mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "unlicense", "cc0-1.0", "odbl", "pddl"),
    *("cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
    "unknown",
}
# What the method did, by what the images are.
_HOW: Mapping[Origin, str] = {"synthetic": "made", "real": "chosen", "crops": "made", "": "made"}
_LIMITS = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card_text(manifest: Manifest, data: DistilledDataset) -> str:
    """Return README.md: YAML between two lines of ---, then Markdown with code that trains on the images."""
    count, held = len(data.images), data.coder.images_per_stored
    temperature = data.protocol.get("temperature")
    licence = licence_id(manifest.licence)
    card = template("storage/card.md.j2", quoted=_quoted, line=_line)
    return card.render(
        data=manifest,
        count=count,
        held=held,
        form=_form(data),
        what=_what(data),
        how=_HOW[data.origin],
        stored_as=data.coder.text,
        unfolding=data.coder.parametrization.unfolding().strip("\n"),
        licence=licence,
        licence_name=_slug(manifest.licence)[:60].strip("-.") or "other" if licence == "other" else "",
        tags=_tags(manifest),
        sources=_sources(manifest.dataset),
        size_category=next((text for limit, text in _LIMITS if count < limit), "1M<n<10M"),
        temperature=float(temperature) if isinstance(temperature, int | float) else 1.0,
        epochs=min(20, max(1, 2000 // count)),
    )


def _quoted(text: str) -> str:
    """Return a text for the front matter, which is YAML."""
    return json.dumps(text, ensure_ascii=False)


def _line(text: str) -> str:
    """Return a text as one line of Markdown."""
    return " ".join(text.split())


def _form(data: DistilledDataset) -> str:
    """Return how people without the code get at the images: "plain", "unfolded" by a few lines, or "decoded"."""
    if data.parametrization.name == IDENTITY:
        return "plain"
    return "unfolded" if data.coder.parametrization.unfolding() else "decoded"


def _what(data: DistilledDataset) -> str:
    """Return what the images are, as the end of a sentence that begins with their number."""
    several, held = len(data.images) > 1, data.coder.images_per_stored
    image, of = "images" if several else "image", f"the training images of `{' '.join(data.dataset.split())}`"
    if data.origin == "real":
        what = f"real {image}" if held == 1 else f"{image}{', each' * several} of {held} real ones"
        return f"{what} from {of}" if data.dataset else what
    if data.origin == "crops":
        return f"{image}, put together from crops of {of if data.dataset else 'real images'}"
    what = f"synthetic {image}" if data.origin == "synthetic" else image
    return f"{what} that stand{'' if several else 's'} for {of}" if data.dataset else what


def licence_id(text: str) -> str:
    """Return the hub's name for a licence: "MIT, copyright ..." gives "mit", an unknown one "other"."""
    for part in (text, text.partition(",")[0]):
        known = re.sub(r"\s+", "-", part.strip().lower())
        if known in _LICENCES:
            return known
    return "other" if text.strip() else "unknown"


def _tags(manifest: Manifest) -> list[str]:
    """Return what people filter by: the field, images per class, the method and the dataset.

    The name of somebody's own folder says nothing to others.
    """
    tags = ["dataset-distillation", "dataset-condensation", "condense", f"ipc-{manifest.ipc}"]
    kind, _, argument = manifest.dataset.partition(":")
    named = argument if kind == HUB and not is_path(argument) else "" if argument else kind
    tags += [tag for tag in (_slug(manifest.method), _slug(named)) if tag]
    return list(dict.fromkeys(tags))


def _sources(dataset: str) -> list[str]:
    """Return the hub's `source_datasets`: "extended|cifar10", or "original" for images that nobody else has."""
    kind, _, argument = dataset.partition(":")
    if kind == HUB and not is_path(argument):
        return [f"extended|{argument}"]
    return ["original"] if argument or not kind else [f"extended|{kind}"]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
