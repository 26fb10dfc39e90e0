"""The options of augmentation: what is refused, and that they cost no import of torch."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from condense.recipe.training import SIAMESE_OPERATIONS, Augment


def test_everything_is_off_by_default() -> None:
    options = Augment()
    assert options.shuffle_patches == 0
    assert options.crop_scale is None
    assert not options.flip
    assert options.jitter == 0
    assert options.siamese == ()
    assert options.cutmix == 0


def test_usual_settings_are_accepted() -> None:
    Augment(crop_scale=(0.08, 1.0), flip=True, jitter=1 / 7, siamese=SIAMESE_OPERATIONS, cutmix=1.0)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("shuffle_patches", -1, "shuffle_patches is a number of rows and columns, or 0"),
        ("crop_scale", (0.0, 1.0), "crop_scale"),
        ("crop_scale", (0.5, 0.4), "least <= greatest"),
        ("crop_scale", (0.5, 1.1), "<= 1"),
        ("crop_scale", (0.5,), "two numbers"),
        ("crop_scale", (math.nan, 1.0), "crop_scale"),
        ("crop_ratio", (-1.0, 1.0), "crop_ratio"),
        ("crop_ratio", (1.0, math.inf), "crop_ratio"),
        ("jitter", -0.1, "jitter"),
        ("jitter", 32.0, "share of the side"),
        ("jitter", math.nan, "jitter"),
        ("cutmix", -1.0, "cutmix"),
        ("cutmix", math.inf, "cutmix"),
        ("cutmix", math.nan, "cutmix"),
        ("cutmix_probability", 0.0, "cutmix_probability must lie in"),
        ("cutmix_probability", 1.5, "cutmix_probability must lie in"),
        ("cutmix_probability", math.nan, "cutmix_probability must be a finite number"),
        ("siamese_always", "color", "a list of texts, not 'color'"),
        ("siamese_always", ("flip", "flip"), "at most once"),
        ("siamese", "color", "a list of texts, not 'color'"),
        ("siamese", ("flip", "flip"), "at most once"),
    ],
)
def test_a_bad_value_is_refused_by_name(option: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Augment(**{option: value})  # type: ignore[arg-type]


def test_an_unknown_operation_lists_the_valid_ones_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'color'\?") as caught:
        Augment(siamese=("colour",))
    assert all(name in str(caught.value) for name in SIAMESE_OPERATIONS)


def test_the_options_do_not_import_torch() -> None:
    code = "import sys, condense.recipe.training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
