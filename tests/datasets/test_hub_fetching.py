"""`hf:` where nothing may be fetched, and where no hub answers: no request is made, or one, and the cache is read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
from click.testing import CliRunner
from condense_cli.main import cli
from huggingface_hub.errors import OfflineModeIsEnabled
from PIL import Image

import condense
from condense.data.fetching import fetching_nothing, may_fetch
from condense.data.hub_client import answers, refusing_requests
from condense.data.hub_source import NotFetchedError, open_splits
from condense.data.kinds import kind_of_hub, unfetched_note
from condense.data.options import HubOptions
from condense.engine.plan import make_plan
from condense.recipe.registry import default_registry
from condense.recipe.resolve import configure

USUAL = HubOptions()


class NoRouteError(Exception):
    """What stands for the errors of the HTTP library."""


@pytest.fixture(autouse=True)
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the addresses that the hub's client is asked for. All of them fail, as without a network."""
    asked: list[str] = []

    def fail(request: Any) -> None:
        asked.append(str(request.url))
        raise NoRouteError

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for place in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(place, "HF_HUB_OFFLINE", False)
    client = huggingface_hub.get_session()
    before = client.event_hooks
    client.event_hooks = {"request": [fail]}
    yield asked
    client.event_hooks = before


@pytest.fixture
def cached(tmp_path: Path, requests: list[str]) -> None:
    """Put the dataset owner/animals into the cache, as `datasets` leaves it there."""
    for row, name in enumerate(("ant", "mole")):
        file = tmp_path / "files" / "train" / name / "0.png"
        file.parent.mkdir(parents=True)
        Image.new("RGB", (12, 12), (80 * row, 0, 0)).save(file)
    datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "files"))
    [made] = (tmp_path / "cache" / "imagefolder").glob("default-*/0.0.0/*/dataset_info.json")
    place = tmp_path / "cache" / "owner___animals" / "default" / "0.0.0" / made.parent.name
    shutil.copytree(made.parent, place)
    (place / "imagefolder-train.arrow").rename(place / "animals-train.arrow")
    requests.clear()  # `datasets` counts how often it reads a folder


def test_the_state_lasts_as_long_as_the_block() -> None:
    assert may_fetch()
    with fetching_nothing():
        with fetching_nothing(when=False):
            assert not may_fetch()
        assert not may_fetch()
    assert may_fetch()


def test_a_client_that_refuses_asks_for_nothing(requests: list[str]) -> None:
    api = huggingface_hub.HfApi()
    with refusing_requests(), pytest.raises(OfflineModeIsEnabled):
        api.dataset_info("owner/animals")
    assert requests == []
    with pytest.raises(NoRouteError):
        api.dataset_info("owner/animals")


def test_a_hub_without_a_route_does_not_answer_and_is_asked_once(requests: list[str]) -> None:
    assert not answers("owner/animals")
    with pytest.raises(NotFetchedError, match="and the hub cannot be reached: where there is a network, run"):
        open_splits("owner/animals", USUAL)
    assert requests == [f"{huggingface_hub.constants.ENDPOINT}/api/datasets/owner/animals"] * 2


def test_a_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise huggingface_hub.errors.HFValidationError

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refused)
    assert answers("owner/animals")


@pytest.mark.usefixtures("cached")
def test_without_a_network_the_cache_is_read(requests: list[str]) -> None:
    splits = open_splits("owner/animals", USUAL)
    assert splits.train.class_names == ("ant", "mole")
    assert len(requests) == 1


@pytest.mark.usefixtures("cached")
def test_a_dry_run_reads_the_cache_and_asks_nothing(requests: list[str]) -> None:
    with fetching_nothing():
        assert kind_of_hub(USUAL, "owner/animals") == "small-colour"
        assert unfetched_note("hf:owner/animals", USUAL, "small-colour") == ""
    assert requests == []


def test_a_dry_run_of_what_is_not_here_says_so(requests: list[str]) -> None:
    with fetching_nothing():
        config = configure(default_registry(), method="wmdd", dataset="hf:owner/animals")
        notes = make_plan(config, default_registry()).notes
        named = configure(
            default_registry(),
            method="wmdd",
            dataset="hf:owner/animals",
            settings={"dataset.like": "small-grey"},
        )
    assert config.recipe.dataset.options["like"] == "photographs"
    assert notes[0] == (
        "hf:owner/animals is not in Hugging Face's cache and nothing is fetched now, so its images are taken for "
        "photographs; --set dataset.like=KIND chooses the settings for another kind"
    )
    assert named.recipe.dataset.options["like"] == "small-grey"
    assert requests == []


def test_a_plan_says_that_counts_are_not_known(requests: list[str]) -> None:
    with pytest.raises(
        NotFetchedError, match=r"a plan or a dry run fetches nothing, so it is not known how many"
    ):
        condense.plan(method="wmdd", dataset="hf:owner/animals", throughput="forward=1,backward=1")
    assert requests == []


@pytest.mark.parametrize("words", [("run", "--method", "wmdd"), ("compare", "wmdd")])
def test_dry_runs_of_commands_ask_nothing(
    words: tuple[str, ...], requests: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = (*words, "--dataset", "hf:owner/animals", "--ipc", "1", "--dry-run")
    result = CliRunner().invoke(cli, words, prog_name="condense")
    assert result.exit_code == 0, result.output
    assert "nothing is fetched now" in " ".join(result.stdout.split())
    assert requests == []
