"""`hf:`: an imagefolder, parquet and saved datasets, made small and read by `datasets`; and a hub that is not there."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from PIL import Image

import condense
from condense.data.dataset import DatasetRequest, MemoryImages, RealDataset
from condense.data.hub_dataset import load_hub
from condense.data.hub_source import EncodedImages, open_splits
from condense.data.images import FolderImages
from condense.data.kinds import kind_of_hub
from condense.data.options import HubOptions
from condense.errors import DataError, OptionError
from condense.recipe.config import dataset_label
from condense.recipe.registry import default_registry

NAMES = ["zebra", "ant", "mole"]  # Not in alphabetical order: the order is the dataset's own.


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what `datasets` prepares in the test's own folder, and let it ask no hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def image(label: int, row: int, size: int = 12) -> Image.Image:
    """Red says the class, green the row."""
    return Image.new("RGB", (size, size), (80 * label, row, 7))


def table(labels: Sequence[Any], *, feature: Any = None, start: int = 0, **more: Any) -> datasets.Dataset:
    """Rows with an image and a label. feature: the type of the labels; by default classes with NAMES."""
    feature = datasets.ClassLabel(names=NAMES) if feature is None else feature
    kinds = {"image": datasets.Image(), "label": feature} | {name: datasets.Value("string") for name in more}
    number = {value: index for index, value in enumerate(dict.fromkeys(labels))}
    images = [
        image(value if isinstance(value, int) else number[value], start + row)
        for row, value in enumerate(labels)
    ]
    return datasets.Dataset.from_dict(
        {"image": images, "label": list(labels), **more}, features=datasets.Features(kinds)
    )


def both(**splits: datasets.Dataset) -> datasets.DatasetDict:
    return datasets.DatasetDict(splits)


USUAL = {"train": [2, 0, 1, 1, 0, 2], "test": [0, 1, 2]}


def saved(folder: Path) -> Path:
    both(**{name: table(labels) for name, labels in USUAL.items()}).save_to_disk(str(folder))
    return folder


def parquet(folder: Path) -> Path:
    folder.mkdir()
    for name, labels in USUAL.items():
        table(labels).to_parquet(str(folder / f"{name}-00000-of-00001.parquet"))
    return folder


def imagefolder(folder: Path) -> Path:
    for name, labels in USUAL.items():
        for row, label in enumerate(labels):
            file = folder / name / NAMES[label] / f"{row}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            image(label, row).save(file)
    return folder


def load(path: Path | str, seed: int = 0, **options: Any) -> RealDataset:
    request = DatasetRequest(name=f"hf:{path}", argument=str(path), data_dir=Path("nowhere"), seed=seed)
    return load_hub(HubOptions(**options), request)


def colours(dataset: RealDataset, split: str) -> list[tuple[str, list[int]]]:
    """The class of every image, and its colour."""
    part = getattr(dataset, split)
    pixels = part.images.read(torch.arange(len(part)))
    assert bool((pixels == pixels[:, :, :1, :1]).all())
    return [
        (dataset.classes[label], one)
        for label, one in zip(part.labels.tolist(), pixels[:, :, 0, 0].tolist(), strict=True)
    ]


@pytest.mark.parametrize("make", [saved, parquet])
def test_images_labels_and_names_in_the_order_of_the_dataset(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    dataset = load(make(tmp_path / "animals"))
    assert dataset.classes == tuple(NAMES)
    assert dataset.train.labels.tolist() == USUAL["train"]
    assert colours(dataset, "train") == [
        (NAMES[label], [80 * label, row, 7]) for row, label in enumerate(USUAL["train"])
    ]
    assert colours(dataset, "test") == [
        (NAMES[label], [80 * label, row, 7]) for row, label in enumerate(USUAL["test"])
    ]
    assert (dataset.size, dataset.channels) == (12, 3)
    assert dataset.mean[2] == pytest.approx(7 / 255)
    assert dataset.notes == ()


def test_an_imagefolder(tmp_path: Path) -> None:
    dataset = load(imagefolder(tmp_path / "animals"))
    assert dataset.classes == ("ant", "mole", "zebra")
    assert sorted(colours(dataset, "train")) == sorted(
        (NAMES[label], [80 * label, row, 7]) for row, label in enumerate(USUAL["train"])
    )


def test_one_parquet_file_is_split_by_the_seed(tmp_path: Path) -> None:
    file = tmp_path / "animals.parquet"
    table([0, 1, 2] * 10).to_parquet(str(file))
    found = [load(file, seed=seed) for seed in (0, 0, 1)]
    held = [colours(dataset, "test") for dataset in found]
    assert held[0] == held[1] != held[2]
    for dataset in found:
        assert sorted(dataset.test.labels.tolist()) == [0, 0, 1, 1, 2, 2]  # a fifth of each class
        together = colours(dataset, "train") + colours(dataset, "test")
        assert sorted(colour[1] for _, colour in together) == list(range(30))
        assert all(NAMES[colour[0] // 80] == name for name, colour in together)
    assert "20% of each class, drawn by seed 0, is held out (24 training, 6 test images)" in found[0].notes[0]


@pytest.mark.parametrize(
    ("labels", "feature", "classes"),
    [
        (["b", "a", "c", "b", "a", "c"], "string", ("a", "b", "c")),
        ([10, 9, 2, 10, 9, 2], "int64", ("2", "9", "10")),
    ],
)
def test_labels_without_names_are_sorted(
    labels: list[Any], feature: str, classes: tuple[str, ...], tmp_path: Path
) -> None:
    rows = datasets.Dataset.from_dict(
        {"image": [image(0, row) for row in range(6)], "label": labels},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.Value(feature)}),
    )
    both(train=rows, test=rows).save_to_disk(str(tmp_path / "d"))
    dataset = load(tmp_path / "d")
    assert dataset.classes == classes
    assert [dataset.classes[label] for label in dataset.train.labels.tolist()] == list(map(str, labels))


def test_images_are_decoded_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of memory, nothing but the rows that are read is decoded."""
    dataset = load(saved(tmp_path / "animals"), memory_limit_gib=0.0)
    assert isinstance(dataset.train.images, FolderImages)
    assert isinstance(load(tmp_path / "animals").train.images, MemoryImages)
    read: list[Any] = []
    get = EncodedImages._file
    monkeypatch.setattr(EncodedImages, "_file", lambda self, row: read.append(row) or get(self, row))
    pixels = dataset.train.images.read(torch.tensor([4, 1]))
    assert sorted(read) == [1, 4]
    assert pixels[:, :, 0, 0].tolist() == [[0, 4, 7], [0, 1, 7]]


def test_bytes_in_a_plain_parquet_are_images(tmp_path: Path) -> None:
    """Other programs write the bytes of files without saying that they are images."""

    def encoded(row: int) -> bytes:
        file = io.BytesIO()
        image(0, row).save(file, "PNG")
        return file.getvalue()

    rows = {"picture": [encoded(row) for row in range(4)], "label": ["x", "y"] * 2}
    file = tmp_path / "d.parquet"
    datasets.Dataset.from_dict(rows).to_parquet(str(file))
    dataset = load(file)
    assert dataset.classes == ("x", "y")
    assert sorted(colour[1] for _, colour in colours(dataset, "train") + colours(dataset, "test")) == [
        0,
        1,
        2,
        3,
    ]


def test_a_test_split_without_labels_is_passed_over(tmp_path: Path) -> None:
    """The hub's ImageNet has the label -1 for all of its test images."""
    labels = {"train": [0, 1, 2], "test": [-1, -1], "validation": [2, 1, 0]}
    splits = {
        name: table([max(0, value) for value in values]).map(
            lambda row, i, values=values: {"label": values[i]}, with_indices=True
        )
        for name, values in labels.items()
    }
    both(**splits).save_to_disk(str(tmp_path / "d"))
    dataset = load(tmp_path / "d")
    assert dataset.test.labels.tolist() == [2, 1, 0]
    assert dataset.notes == ("not used: test; validation is the test split",)
    with pytest.raises(DataError, match=r"row 0 of test has no label.*--set dataset\.test=NAME"):
        load(tmp_path / "d", test="test")


def test_splits_and_columns_by_name(tmp_path: Path) -> None:
    rows = table([0, 1, 2], other=["x", "y", "z"])
    both(a=rows, b=rows).save_to_disk(str(tmp_path / "d"))
    dataset = load(tmp_path / "d", train="b", test="a", label="other")
    assert dataset.classes == ("x", "y", "z")
    with pytest.raises(
        DataError, match=r"has the splits a, b and none is called train; .*dataset\.train=NAME"
    ):
        load(tmp_path / "d")
    with pytest.raises(DataError, match=r"dataset\.test=c: .* has no such split\. .*There are: a, b"):
        load(tmp_path / "d", train="a", test="c")
    with pytest.raises(DataError, match=r"'a' .* cannot be the training split and the test split"):
        load(tmp_path / "d", train="a", test="a")
    with pytest.raises(
        DataError, match=r"dataset\.label=colour: .* has no such column\. There are: image \(Image\)"
    ):
        load(tmp_path / "d", train="a", label="colour")
    with pytest.raises(DataError, match=r"column 'label' .* holds no images: label \(ClassLabel\)"):
        load(tmp_path / "d", train="a", image="label", label="other")


def test_two_columns_of_classes_are_not_guessed(tmp_path: Path) -> None:
    rows = table([0, 1, 2]).add_column("coarse", [0, 1, 1], feature=datasets.ClassLabel(names=["p", "q"]))
    both(train=rows, test=rows).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(DataError) as caught:
        load(tmp_path / "d")
    assert "has 2 columns that could be the label (label, coarse); say which with" in str(caught.value)
    assert "Its columns: image (Image), label (ClassLabel), coarse (ClassLabel)" in str(caught.value)
    assert load(tmp_path / "d", label="coarse").classes == ("p", "q")


def test_two_columns_of_images_and_none(tmp_path: Path) -> None:
    rows = table([0, 1, 2])
    two = rows.map(lambda row: {"mask": row["image"]})
    both(train=two).save_to_disk(str(tmp_path / "two"))
    with pytest.raises(DataError, match=r"2 columns that could be the image \(image, mask\)"):
        load(tmp_path / "two")
    both(train=rows.remove_columns("image")).save_to_disk(str(tmp_path / "none"))
    with pytest.raises(DataError, match="has no column that is clearly the image"):
        load(tmp_path / "none")


def test_damage_names_the_row(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": b"no image", "path": None}] * 2, "label": ["a", "b"]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")}),
    )
    both(train=rows, test=rows).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(DataError, match=r"split train, row 0 is not an image \(readable are"):
        load(tmp_path / "d")
    empty = rows.map(lambda row: {"image": None})
    both(train=empty, test=empty).save_to_disk(str(tmp_path / "e"))
    with pytest.raises(DataError, match="split train, row 0 has no image: remove the row"):
        load(tmp_path / "e")
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(DataError, match=r"text\.txt is neither a folder nor a \.parquet file"):
        load(tmp_path / "text.txt")
    with pytest.raises(DataError, match="nothing does not exist; hf:OWNER/NAME without a dot"):
        load(tmp_path / "nothing")


def test_without_the_hub_one_sentence_says_what_to_do() -> None:
    with pytest.raises(DataError) as caught:
        load("owner/animals")
    assert str(caught.value) == (
        "the dataset 'owner/animals' is not in Hugging Face's cache and the hub cannot be reached: where there is a "
        "network, run `hf download owner/animals --repo-type dataset --local-dir animals`, put the folder here, and "
        "use --dataset hf:./animals"
    )


def test_names_and_configurations_reach_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(*words: Any, **more: Any) -> datasets.DatasetDict:
        asked.append((words, more))
        if words[1] is None:
            raise ValueError("Config name is missing.\nPlease pick one among ['small', 'large']")
        return both(train=table([0, 1, 2]), test=table([0, 1, 2]))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"Please pick one among .* --set dataset\.config=NAME\.$"):
        load("owner/animals")
    dataset = load("owner/animals", config="small", revision="v1")
    assert asked[-1] == (("owner/animals", "small"), {"revision": "v1"})
    assert dataset.source == "https://huggingface.co/datasets/owner/animals"


def test_code_of_a_dataset_is_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "animals"
    folder.mkdir()
    (folder / "animals.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DataError, match="`datasets` cannot read"):
        load(folder)
    assert not (tmp_path / "ran").exists()


def test_the_licence_in_the_card(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "animals")
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Animals\n")
    assert load(folder).licence == "cc-by-4.0"
    (folder / "README.md").write_text("# No head\n")
    assert load(folder).licence == ""


def test_the_kind_is_found_from_the_images(tmp_path: Path) -> None:
    folder = saved(tmp_path / "animals")
    assert kind_of_hub(HubOptions(), str(folder)) == "small-colour"
    assert kind_of_hub(HubOptions(size=128), str(folder)) == "photographs"
    assert kind_of_hub(HubOptions(like="small-grey"), "owner/never-fetched") == "small-grey"


def test_what_goes_into_files_keeps_a_name_and_drops_a_folder() -> None:
    assert dataset_label("hf:owner/animals") == "hf:owner/animals"
    for path in ("/home/me/animals", "./animals", "~/data/animals"):
        assert dataset_label(f"hf:{path}") == "hf:./animals"


def test_a_missing_package_is_named() -> None:
    program = (
        "import sys; sys.modules['datasets'] = None\n"
        "from condense.data.hub_source import open_splits; from condense.data.options import HubOptions\n"
        "open_splits('owner/animals', HubOptions())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "need the package 'datasets', which is not installed here; install it: pip install" in done.stderr
    assert "'condense-toolkit[hf]'" in done.stderr


def test_reading_imports_no_torch(tmp_path: Path) -> None:
    """The kind is found before a run starts, and for listings."""
    program = (
        "import sys; from condense.data.kinds import kind_of_hub; from condense.data.options import HubOptions\n"
        f"kind_of_hub(HubOptions(), {str(saved(tmp_path / 'animals'))!r}); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_setting_that_has_no_effect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.revision=v1 has no effect on files"):
        load(tmp_path, revision="v1")
    with pytest.raises(OptionError, match="splitt"):
        condense.run(method="wmdd", dataset="hf:owner/animals", settings={"dataset.splitt": "x"})


def test_open_splits_needs_a_name() -> None:
    with pytest.raises(DataError, match="which dataset"):
        open_splits("", HubOptions())
    assert default_registry().dataset("hf:owner/animals")[1] == "owner/animals"


@pytest.mark.slow
@pytest.mark.parametrize("make", [saved, parquet, imagefolder])
def test_a_run_of_wmdd(make: Callable[[Path], Path], tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    result = run_wmdd(f"hf:{make(tmp_path / 'animals')}")
    distilled = condense.load(result.path)
    assert set(distilled.classes) == set(NAMES)
    assert distilled.images.shape == (3, 3, 12, 12)
    assert distilled.dataset == "hf:./animals"
