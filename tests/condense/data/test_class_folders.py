"""Folders that others named, matched with classes."""

from __future__ import annotations

import pytest

from condense.data.class_folders import match_folders
from condense.errors import DataError

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION = ("T-shirt/top", "Trouser", "Ankle boot")
IMAGENET = ("n01440764 tench", "n01443537 goldfish", "n02102040 springer")
IMAGENETTE = ("tench", "English springer", "cassette player")
IDS = ("n01440764", "n02102040", "n02979186")


def matched(folders: list[str], classes: tuple[str, ...]) -> list[str]:
    """The class that each folder was matched with."""
    numbers, _ = match_folders(folders, classes)
    assert list(numbers) == folders
    return [classes[numbers[folder]] for folder in folders]


def test_names_are_matched_whatever_their_order() -> None:
    folders = sorted(CIFAR, reverse=True)
    assert matched(folders, CIFAR) == folders
    assert match_folders(folders, CIFAR)[1] == "by the names of the classes"


def test_names_may_be_written_as_files_are() -> None:
    assert matched(["ankle_boot", "t-shirt-top", "trouser"], FASHION) == [FASHION[2], FASHION[0], FASHION[1]]
    assert matched(["日本", "cafe", "B"], ("b", "café", "日本")) == ["日本", "café", "b"]


@pytest.mark.parametrize("form", ["{:05d}", "new{:03d}", "class_{}", "{}", "c{:02d}"])
def test_numbers_are_those_of_the_labels(form: str) -> None:
    """RDED writes 00007, SRe2L new007. A plain sort would put class_10 before class_2."""
    classes = tuple(f"name {number}" for number in range(12))
    folders = sorted(form.format(number) for number in range(12))
    numbers, how = match_folders(folders, classes)
    assert all(form.format(number) == folder for folder, number in numbers.items())
    assert how == "by the numbers of the classes"


def test_digits_that_are_names_are_names() -> None:
    digits = ("zero is 0", *(str(digit) for digit in range(1, 10)))
    backwards = tuple(str(9 - digit) for digit in range(10))
    assert matched([str(digit) for digit in range(10)], backwards) == [str(digit) for digit in range(10)]
    assert matched([str(digit) for digit in range(10)], digits)[0] == "zero is 0"


def test_wordnet_ids() -> None:
    folders = ["n02102040", "n01440764", "n01443537"]
    assert matched(folders, IMAGENET) == [IMAGENET[2], IMAGENET[0], IMAGENET[1]]
    # Where the classes do not hold the ids, they are in their order.
    assert matched(list(reversed(IDS)), IMAGENETTE) == list(reversed(IMAGENETTE))
    assert match_folders(IDS, IMAGENETTE)[1] == "by the WordNet ids of the classes"
    with pytest.raises(DataError, match="none of the classes"):
        match_folders(["n02102040", "n01440764", "n09999999"], IMAGENET)


def test_numbers_before_names_must_agree_with_them() -> None:
    assert matched(["0-airplane", "1-automobile"], CIFAR[:2]) == list(CIFAR[:2])
    assert matched(["01_automobile", "00_airplane"], CIFAR[:2]) == ["automobile", "airplane"]
    with pytest.raises(DataError):
        match_folders(["0-automobile", "1-airplane"], CIFAR[:2])


@pytest.mark.parametrize(
    ("folders", "text"),
    [
        (["1", "2", "3"], "numbered from 1 .* a guess; rename the folders"),
        (["0", "1"], r"2 class folders do not fit the 3 classes .*\(T-shirt/top, Trouser, Ankle boot\)"),
        (["0", "1", "new2"], "'0' is none of the classes"),
        (["0", "00", "1"], "do not fit"),
        (["trouser", "ankle boot", "hat"], "'hat' is none of the classes"),
        (["trouser", "ankle boot"], "some classes have no folder"),
        (["trouser", "Trouser", "ankle boot"], "do not fit"),
        (IDS[:2], "do not fit"),
    ],
)
def test_what_could_mean_anything_is_refused(folders: list[str], text: str) -> None:
    with pytest.raises(DataError, match=text):
        match_folders(folders, FASHION)
