"""A row whose images come from an artifact: shown beside the others, found again, and never mistaken."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.comparison.imported import public_name
from condense.errors import CondenseError, OptionError

Site = Any  # these are in conftest.py, which tests cannot import
Spy = Any


@pytest.fixture
def published(site: Site, tmp_path: Path) -> Path:
    """An artifact in a private folder, imported from a file with two images per class."""
    dataset = condense.run(
        method="random", dataset="tiny", ipc=2, students=0, registry=site.registry, out=tmp_path / "made"
    ).distilled
    torch.save((255 - dataset.images, dataset.labels), tmp_path / "published.pt")
    return condense.import_distilled(
        tmp_path / "published.pt",
        dataset="tiny",
        method="mtt",
        out=tmp_path / "private",
        name="images",
        registry=site.registry,
    ).path


def test_it_stands_beside_our_methods(site: Site, spy: Spy, published: Path) -> None:
    result = site.compare("random", f"imported:{published}", ipc=2, seeds=2)
    assert not result.failures
    assert [row.label for row in result.outcome.rows] == ["random", "mtt (imported)"]
    # Its images are the same for every seed, and students differ.
    cells = [Path(result.path / one.path) for one in result.outcome.distilled if one.row == "mtt (imported)"]
    for cell in cells:
        assert torch.equal(condense.load(cell).images, condense.load(published).images)
    assert len(spy.students) == 4
    # Nobody says how long others took.
    line = result.summary.line("mtt (imported)", 2, "fkd@1")
    assert (line.distil_seconds, line.seeds) == (None, 2)
    assert result.summary.line("random", 2, "fkd@1").distil_seconds is not None


def test_no_file_says_where_it_lay(site: Site, published: Path) -> None:
    result = site.compare("random", f"imported:{published}", ipc=2)
    text = (result.path / "compare.json").read_text()
    assert str(published.parent) not in text
    data = json.loads(text)
    assert "imported:images" in json.dumps(data)
    for cell in result.outcome.distilled:
        assert str(published.parent) not in (result.path / cell.path / "distilled/distilled.json").read_text()


def test_it_is_known_by_its_content(site: Site, spy: Spy, published: Path, tmp_path: Path) -> None:
    first = site.compare("random", f"imported:{published}", ipc=2)
    done = (len(spy.runs), len(spy.students))
    moved = shutil.copytree(published, tmp_path / "elsewhere")
    second = site.compare("random", f"imported:{moved}", ipc=2)
    assert (len(spy.runs), len(spy.students)) == done
    assert second.path == first.path
    data = condense.load(moved)
    changed = data.images.clone()
    changed[0, 0, 0, 0] ^= 1
    condense.save(replace(data, images=changed), moved, overwrite=True)
    third = site.compare("random", f"imported:{moved}", ipc=2)
    assert third.path != first.path
    assert spy.runs == ["random", "imported", "imported"]


def test_what_does_not_fit_is_refused_before_any_work(site: Site, spy: Spy, published: Path) -> None:
    row = f"imported:{published}"
    for words, terms, text in (
        ([row], {"ipc": 1}, r"mtt \(imported\) has 2 images per class, not 1; use --ipc 2"),
        ([row], {"ipc": (2, 1)}, "not 1; use --ipc 2"),
        (
            [row],
            {"ipc": 2, "dataset": "fashion-mini"},
            "stands for tiny, and the comparison is on fashion-mini",
        ),
        (["imported"], {}, r"which distilled dataset\? Name it as a row: imported:PATH"),
        (["imported:nowhere"], {}, "there is no folder nowhere"),
        ([row, row], {"ipc": 2}, r"the row 'mtt \(imported\)' stands twice"),
        ([row], {"ipc": 2, "settings": {"recover.lr": 1.0}}, "'recover.lr' changes nothing"),
    ):
        with pytest.raises(CondenseError, match=text):
            site.design(*words, **terms)
    assert not spy.runs
    with pytest.raises(OptionError, match="which distilled dataset"):
        site.design("imported", settings={"imported:initializer.path": str(published)}, ipc=2)


def test_soft_labels_of_its_own_are_mentioned(site: Site, tmp_path: Path, published: Path) -> None:
    data = condense.load(published)
    torch.save((data.images, torch.eye(3)[data.labels] * 3), tmp_path / "soft.pt")
    soft = condense.import_distilled(
        tmp_path / "soft.pt", dataset="tiny", method="datm", out=tmp_path, registry=site.registry
    )
    notes = site.design("random", f"imported:{soft.path}", ipc=2).notes
    assert any("has soft labels of its own, which are not used" in note for note in notes)
    assert not any(
        "soft labels" in note for note in site.design("random", f"imported:{published}", ipc=2).notes
    )


def test_names_that_go_into_files() -> None:
    assert public_name("wmdd") == "wmdd"
    assert public_name("imported:/home/me/runs/mtt") == "imported:mtt"
    assert public_name("imported:hf:owner/mtt") == "imported:hf:owner/mtt"


def test_images_that_hold_several_stay_as_they_are_stored(site: Site, tmp_path: Path) -> None:
    """Whatever made them small: the same files, decoded alike, with the weights of the decoded images."""
    settings = {"parametrization": "mosaic", "parametrization.reduce": "sample"}
    made = condense.run(
        method="random",
        dataset="tiny",
        ipc=1,
        students=0,
        settings=settings,
        registry=site.registry,
        out=tmp_path / "made",
    )
    result = site.compare("random", f"imported:{made.path}", ipc=1)
    assert not result.failures
    [row] = [row for row in result.outcome.rows if row.method == "imported"]
    assert row.settings == settings | {"parametrization.factor": 2}
    [cell] = [one for one in result.outcome.distilled if one.row == row.label]
    found = condense.load(result.path / cell.path)
    assert torch.equal(found.images, made.distilled.images)
    assert found.parametrization == made.distilled.parametrization
    assert len(found) == 12


def test_rows_of_packed_real_images(site: Site) -> None:
    """Real images in a mosaic beside those that are stored as they are."""
    found = site.compare("random", "medoids", ipc=1, settings={"medoids:parametrization": "mosaic"})
    assert not found.failures
    sizes = {one.row: len(condense.load(found.path / one.path)) for one in found.outcome.distilled}
    assert sizes == {"random": 3, "medoids": 12}


def test_a_form_that_needs_more_real_images_than_there_are_is_refused_before_any_work(
    site: Site, spy: Spy
) -> None:
    result = site.compare("random", "medoids", ipc=2, settings={"medoids:parametrization": "mosaic"})
    [failed] = result.failures
    assert failed.row == "medoids"
    assert "which hold 4 images each, 8 together, and the smallest class" in failed.failure
    assert spy.runs == ["random"]
