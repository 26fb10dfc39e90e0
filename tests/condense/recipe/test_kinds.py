"""Kinds of images: found in a folder, written into its options, and what they choose."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from condense.data.dataset import DatasetRequest
from condense.data.folder import load_folder
from condense.data.kinds import kind_of_folder
from condense.data.options import FolderOptions
from condense.engine.plan import make_plan
from condense.errors import OptionError, PluginError
from condense.recipe.config import RunConfig
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import config_from_dict, configure
from condense.recipe.specs import IMAGE_KINDS, DatasetSpec

AUTO = FolderOptions()


@pytest.fixture(scope="module")
def installed() -> Registry:
    return load_registry(environment={})


def fill(root: Path, *images: tuple[str, tuple[int, int]], folders: tuple[str, ...] = ("a", "b")) -> Path:
    """Write an image of each mode and size into every class folder."""
    for name in folders:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number, (mode, size) in enumerate(images):
            Image.new(mode, size).save(root / name / f"{number}.png")
    return root


GREY, COLOUR, LARGE = ("L", (28, 28)), ("RGB", (32, 32)), ("RGB", (200, 150))


def configured(
    installed: Registry, root: Path, *settings: tuple[str, Any], method: str = "wmdd"
) -> RunConfig:
    return configure(installed, method=method, dataset=f"folder:{root}", settings=settings)


# What kind a folder is.


@pytest.mark.parametrize(
    "images",
    [
        [GREY],
        [COLOUR],
        [LARGE],
        [GREY, COLOUR],
        [("L", (28, 40))],
        [("L", (28, 40)), ("L", (28, 50))],
        [("L", (40, 28)), ("L", (28, 40))],
        [("P", (28, 28))],
        [("RGB", (127, 127))],
        [("RGB", (128, 128))],
    ],
)
def test_the_kind_agrees_with_the_size_and_the_colours_that_are_loaded(
    images: list[tuple[str, tuple[int, int]]], tmp_path: Path
) -> None:
    fill(tmp_path, *images, *images)
    request = DatasetRequest(name="folder", argument=str(tmp_path), data_dir=tmp_path, seed=0)
    loaded = load_folder(AUTO, request)
    small = "small-grey" if loaded.channels == 1 else "small-colour"
    assert kind_of_folder(AUTO, str(tmp_path)) == ("photographs" if loaded.size >= 128 else small)


def write_text(root: Path) -> None:
    (root / "a").mkdir(parents=True)
    (root / "a" / "notes.txt").write_text("no image")


def write_hidden(root: Path) -> None:
    fill(root, GREY, folders=(".hidden",))
    (root / "a").mkdir()


@pytest.mark.parametrize(
    "prepare",
    [
        lambda root: None,  # nothing is there
        lambda root: root.mkdir(),
        lambda root: (root / "a").mkdir(parents=True),
        lambda root: root.write_text("a file"),
        write_text,
        write_hidden,
    ],
)
def test_a_folder_without_images_counts_as_photographs(
    prepare: Callable[[Path], Any], tmp_path: Path, installed: Registry
) -> None:
    """Loading it says what is wrong; before that, settings can still be listed."""
    root = tmp_path / "images"
    prepare(root)
    assert kind_of_folder(AUTO, str(root)) == "photographs"
    assert configured(installed, root).recipe.dataset.options["like"] == "photographs"


def png_with(kind: bytes, data: bytes) -> bytes:
    """A PNG file of 28x28 grey pixels, cut off after a chunk of another kind."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0))
        + chunk(kind, data)
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a no",
        b"\x89PNG\r\n\x1a\ncut off",
        # A text of 2 MiB, more than PIL takes.
        png_with(b"zTXt", b"title\0\0" + zlib.compress(b"x" * 2**21)),
    ],
    ids=["empty", "gif", "cut", "text"],
)
def test_files_that_are_no_images_are_passed_over(content: bytes, tmp_path: Path) -> None:
    fill(tmp_path, GREY)
    (tmp_path / "a" / "broken.png").write_bytes(content)
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere")
    assert kind_of_folder(AUTO, str(tmp_path)) == "small-grey"


@pytest.mark.parametrize(("where", "call"), [(os, "scandir"), (Path, "is_dir")])
def test_a_folder_that_may_not_be_read_counts_as_photographs(
    where: Any, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, GREY)

    def forbidden(path: str | Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(where, call, forbidden)
    assert kind_of_folder(AUTO, str(tmp_path)) == "photographs"


# What a kind chooses.

KINDS_AND_IMAGES = [("small-grey", GREY), ("small-colour", COLOUR), ("photographs", LARGE)]


@pytest.mark.parametrize(("kind", "image"), KINDS_AND_IMAGES)
def test_a_folder_keeps_its_kind_in_its_options(
    kind: str, image: tuple[str, tuple[int, int]], tmp_path: Path, installed: Registry
) -> None:
    config = configured(installed, fill(tmp_path / "images", image))
    assert config.recipe.dataset.options["like"] == kind
    # The settings say it from here on, also where the images are not.
    shutil.rmtree(tmp_path / "images")
    again = config_from_dict(json.loads(json.dumps(config.to_dict())), installed)
    assert again == config


@pytest.mark.parametrize("method", ["wmdd", "dm", "sre2l"])
@pytest.mark.parametrize("image", [GREY, COLOUR, LARGE])
def test_a_kind_brings_a_teacher_that_fits_the_images(
    image: tuple[str, tuple[int, int]], method: str, tmp_path: Path, installed: Registry
) -> None:
    found = configured(installed, fill(tmp_path, image), method=method).recipe.teacher
    if image is LARGE:
        assert found == configure(installed, method=method, dataset="imagenette").recipe.teacher
    else:
        assert (found.model.name, found.model.options["width"], found.epochs) == ("convnet", 64, 30)
        assert not found.augment.flip


def test_small_grey_images_bring_the_settings_of_the_method_for_them(
    tmp_path: Path, installed: Registry
) -> None:
    found = configured(installed, fill(tmp_path, GREY)).recipe
    like = configure(installed, method="wmdd", dataset="mnist").recipe
    assert (found.recover, found.regularizers) == (like.recover, like.regularizers)
    other = configured(installed, fill(tmp_path / "large", LARGE)).recipe
    assert found.recover != other.recover


@pytest.mark.parametrize("like", IMAGE_KINDS)
@pytest.mark.parametrize("image", [GREY, LARGE])
def test_a_kind_that_is_named_wins_over_the_one_that_is_found(
    like: str, image: tuple[str, tuple[int, int]], tmp_path: Path, installed: Registry
) -> None:
    config = configured(installed, fill(tmp_path, image), ("dataset.like", like))
    assert config.recipe.dataset.options["like"] == like
    same = configured(installed, fill(tmp_path / "same", dict(KINDS_AND_IMAGES)[like]))
    assert config.recipe.teacher == same.recipe.teacher
    assert config.recipe.recover == same.recipe.recover


def test_asking_for_what_is_found_anyway_changes_nothing(tmp_path: Path, installed: Registry) -> None:
    fill(tmp_path, GREY)
    config = configured(installed, tmp_path)
    for like in ("auto", "small-grey"):
        asked = configured(installed, tmp_path, ("dataset.like", like))
        assert asked == config
        assert asked.recipe.hash == config.recipe.hash


def test_a_size_that_is_set_counts_for_the_kind(tmp_path: Path, installed: Registry) -> None:
    options = configured(installed, fill(tmp_path, LARGE), ("dataset.size", "64")).recipe.dataset.options
    assert (options["size"], options["like"]) == (64, "small-colour")


def test_a_kind_that_does_not_exist(tmp_path: Path, installed: Registry) -> None:
    with pytest.raises(
        OptionError, match=r"dataset\.like=small: must be one of auto, small-grey, small-colour"
    ):
        configured(installed, fill(tmp_path, GREY), ("dataset.like", "small"))


@pytest.mark.parametrize(
    ("image", "named"), [(GREY, "small grey images"), (COLOUR, "small colour images"), (LARGE, "photographs")]
)
def test_a_plan_says_which_kind_a_folder_was_taken_for(
    image: tuple[str, tuple[int, int]], named: str, tmp_path: Path, installed: Registry
) -> None:
    plan = make_plan(configured(installed, fill(tmp_path, image)), installed)
    [note] = [note for note in plan.notes if "dataset.like" in note]
    assert note.startswith(f"settings for {named} are used; --set dataset.like=KIND ")


def test_a_plan_says_nothing_of_a_dataset_whose_kind_is_known(installed: Registry) -> None:
    for dataset in ("fashion-mini", "imagenette"):
        plan = make_plan(configure(installed, method="wmdd", dataset=dataset), installed)
        assert not [note for note in plan.notes if "dataset.like" in note]


# Datasets of plugins.


@dataclass(frozen=True, kw_only=True)
class LikeOptions:
    like: str = "auto"


def dataset_spec(**changes: Any) -> DatasetSpec:
    return DatasetSpec(**{"name": "mine", "summary": "x", "build": "builtins:dict", **changes})


@pytest.mark.parametrize("like", ["", "small", "photograph", "module.function"])
def test_a_dataset_that_is_like_nothing_there_is(like: str) -> None:
    with pytest.raises(ValueError, match="is neither 'module:function' nor one of small-grey, small-colour"):
        dataset_spec(like=like)


def test_a_dataset_that_finds_its_kind_needs_an_option_to_keep_it() -> None:
    with pytest.raises(
        ValueError, match=r"DatasetSpec 'mine' finds the kind .* need a field 'like' to keep it"
    ):
        dataset_spec(like="builtins:max")


def test_a_dataset_says_its_kind_or_names_a_function_that_does() -> None:
    assert dataset_spec().kind_of(None, "") == "photographs"
    assert dataset_spec(like="small-grey").kind_of(None, "") == "small-grey"
    finding = dataset_spec(like="condense.data.kinds:kind_of_folder", options=FolderOptions)
    assert finding.kind_of(FolderOptions(like="small-colour"), "x") == "small-colour"


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ("builtins:max", "'builtins:max' must give one of small-grey, small-colour, photographs, not 'b'"),
        ("builtins:int", "'builtins:int' failed: TypeError: "),
        ("builtins:gone", "'mine' cannot be built from 'builtins:gone'"),
        ("no_such_module_either:kind", "'mine' cannot be built from 'no_such_module_either:kind'"),
    ],
)
def test_a_function_that_gives_no_kind(like: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        dataset_spec(like=like, options=LikeOptions).kind_of("a", "b")
