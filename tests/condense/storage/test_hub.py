"""Pushing to a stand-in for the hub, fetching from it, and what it refuses."""

from __future__ import annotations

import fnmatch
import inspect
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

import condense
from condense.errors import StorageError
from condense.storage import hub
from condense.storage.artifact import save
from condense.storage.distilled import DistilledDataset
from condense.storage.files import file_hash


@dataclass
class Hub:
    """A stand-in for HfApi that keeps repositories in a folder. Without tags, a revision is a commit.

    fails: what a call of some name raises. sizes: what it says of files instead of their sizes.
    fetched: the files that were downloaded, and not there before.
    """

    root: Path
    private: dict[str, bool] = field(default_factory=dict)
    fails: dict[str, Exception] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    sizes: dict[str, int | None] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found

        def call(*words: Any, **more: Any) -> Any:
            # The real client takes these arguments too.
            inspect.signature(getattr(huggingface_hub.HfApi, name)).bind(self, *words, **more)
            assert name == "whoami" or more["repo_type"] == "dataset"
            if name in self.fails:
                raise self.fails[name]
            return found(*words, **more)

        return call

    def whoami(self) -> dict[str, str]:
        return {"name": "me"}

    def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool, repo_type: str) -> Any:
        assert exist_ok
        name = repo_id if "/" in repo_id else f"me/{repo_id}"
        self.private.setdefault(name, bool(private))
        (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / name / ".gitattributes").touch()
        return huggingface_hub.RepoUrl(f"https://huggingface.co/datasets/{name}")

    def repo_info(
        self, repo_id: str, *, repo_type: str, revision: str | None = None, files_metadata: bool = False
    ) -> Any:
        folder = self.root / repo_id
        files = [
            SimpleNamespace(
                rfilename=name,
                size=self.sizes.get(name, (folder / name).stat().st_size) if files_metadata else None,
            )
            for name in self.list_repo_files(repo_id, repo_type=repo_type)
        ]
        private = self.private.get(repo_id, False)
        return SimpleNamespace(id=repo_id, private=private, sha=revision or "main", siblings=files)

    def list_repo_files(self, repo_id: str, *, repo_type: str) -> list[str]:
        folder = self.root / repo_id
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str,
        repo_type: str,
        commit_message: str,
        delete_patterns: list[str],
    ) -> None:
        for name in self.list_repo_files(repo_id, repo_type=repo_type):
            if any(fnmatch.fnmatch(name, pattern) for pattern in delete_patterns):
                (self.root / repo_id / name).unlink()
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        self.messages.append(commit_message)

    def snapshot_download(
        self,
        repo_id: str,
        *,
        repo_type: str,
        revision: str | None,
        allow_patterns: list[str],
        local_files_only: bool = False,
    ) -> str:
        cached = self.root.parent / "snapshots" / repo_id / (revision or "main")
        if local_files_only:
            if not cached.is_dir():
                raise errors.LocalEntryNotFoundError("not in the cache")
            return str(cached)
        for name in self.list_repo_files(repo_id, repo_type=repo_type):
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (cached / name).parent.mkdir(parents=True, exist_ok=True)
                self.fetched += [] if (cached / name).exists() else [name]
                shutil.copy(self.root / repo_id / name, cached / name)
        cached.mkdir(parents=True, exist_ok=True)
        return str(cached)


def response(status: int) -> Any:
    """What the client's own errors are made of."""
    return SimpleNamespace(status_code=status, headers={}, request=None, url="https://huggingface.co")


def http_error(status: int, kind: type[Exception] = errors.HfHubHTTPError) -> Exception:
    return kind("refused", response=response(status))  # type: ignore[call-arg]


@pytest.fixture
def the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path / "hub")
    monkeypatch.setattr(hub, "hub_api", lambda: made)
    return made


def data(**changes: Any) -> DistilledDataset:
    fields: dict[str, Any] = {
        "images": torch.arange(4 * 64, dtype=torch.uint8).reshape(4, 1, 8, 8),
        "labels": torch.tensor([0, 0, 1, 1]),
        "slots": torch.tensor([0, 1, 0, 1]),
        "weights": torch.tensor([0.25, 0.75, 0.5, 0.5]),
        "classes": ("b", "a"),
        "mean": (0.5,),
        "std": (0.5,),
        "ipc": 2,
        "name": "wmdd-mini-2ipc",
        "licence": "MIT",
        "settings": {"recipe": {"dataset": {"name": "fashion-mini"}}},
    }
    return DistilledDataset(**(fields | changes))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with an artifact and other files."""
    save(data(), tmp_path / "run" / "distilled")
    (tmp_path / "run" / "report.html").write_text("private")
    (tmp_path / "run" / "distilled" / "notes.txt").write_text("private")
    return tmp_path / "run"


def test_what_is_pushed_can_be_loaded(run: Path, the_hub: Hub) -> None:
    found = condense.push(run, "me/mini")
    assert (found.name, found.private, found.images, found.licence) == ("me/mini", False, 4, "MIT")
    assert found.url == "https://huggingface.co/datasets/me/mini"
    assert the_hub.messages == ["wmdd-mini-2ipc, made by condense"]
    files = the_hub.list_repo_files("me/mini", repo_type="dataset")
    assert set(files) == {
        *(".gitattributes", "README.md", "distilled.json", "metadata.csv"),
        *(f"images/{name}/{slot}.png" for name in ("0-b", "1-a") for slot in ("000", "001")),
    }
    for name in ("hf:me/mini", "hf:me/mini@v1"):
        again = condense.load(name)
        assert torch.equal(again.images, data().images)
        assert torch.equal(again.weights, data().weights)
        assert again.classes == ("b", "a")


def test_pushing_again_replaces_every_file(run: Path, the_hub: Hub, tmp_path: Path) -> None:
    condense.push(run, "mini", message="first")
    (the_hub.root / "me/mini/extra.md").write_text("somebody added this")
    kept = [0, 2]
    save(
        replace(
            data(),
            images=data().images[kept],
            labels=torch.tensor([0, 1]),
            slots=torch.tensor([0, 0]),
            weights=torch.ones(2),
        ),
        tmp_path / "small",
    )
    condense.push(tmp_path / "small", "hf:me/mini", message="second")
    assert the_hub.messages == ["first", "second"]
    assert len(condense.load("hf:me/mini")) == 2
    assert (the_hub.root / "me/mini/extra.md").exists()


@pytest.mark.parametrize(("asked", "is_private"), [(None, False), (True, True), (False, False)])
def test_who_sees_it(asked: bool | None, is_private: bool, run: Path, the_hub: Hub) -> None:
    assert condense.push(run, "me/mini", private=asked).private is is_private
    if asked is not None:
        now, wanted = ("private", "public") if asked else ("public", "private")
        with pytest.raises(StorageError, match=f"on the hub already and is {now}; .* make it {wanted}"):
            condense.push(run, "me/mini", private=not asked)
    assert len(the_hub.messages) == 1


def test_a_teacher_that_answers_in_training_goes_up_too(tmp_path: Path, the_hub: Hub) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "teacher.safetensors").write_bytes(b"weights")
    online = data(label_mode="online", teacher_hash=file_hash(run / "teacher.safetensors"), teacher_bytes=7)
    save(online, run / "distilled")
    for path in (run, run / "distilled"):
        assert condense.push(path, "me/mini").teacher
    assert (the_hub.root / "me/mini/teacher.safetensors").read_bytes() == b"weights"
    assert (hub.located("hf:me/mini") / "teacher.safetensors").is_file()
    without = condense.push(run, "me/mini", teacher=False)
    assert (without.teacher, without.needs_teacher) == (False, True)
    assert not (the_hub.root / "me/mini/teacher.safetensors").exists()
    (run / "teacher.safetensors").write_bytes(b"of another run")
    assert not condense.push(run, "me/mini").teacher


@pytest.mark.parametrize("file", ["README.md", "metadata.csv", "images/1-a/001.png"])
def test_an_incomplete_artifact_stays_here(file: str, run: Path, the_hub: Hub) -> None:
    (run / "distilled" / file).unlink()
    with pytest.raises(StorageError, match=r"is incomplete|1-a holds 1 images"):
        condense.push(run, "me/mini")
    assert not the_hub.private


@pytest.mark.parametrize(
    "path",
    [
        "/data/pets",
        "folder:/data/pets",
        "~/pets",
        "hf:./data/pets",
        "../pets",
        "C:\\pets",
        "folder:C:/pets",
        "\\\\host\\a",
    ],
)
def test_a_path_of_this_machine_stays_here(path: str, run: Path, the_hub: Hub) -> None:
    file = run / "distilled" / "distilled.json"
    content = json.loads(file.read_text())
    content["settings"]["recipe"]["teacher"] = {"more": [path]}
    file.write_text(json.dumps(content))
    with pytest.raises(StorageError, match="a path of this machine that would become public"):
        condense.push(run, "me/mini")
    assert not the_hub.private


def test_the_home_folder_in_a_card_stays_here(
    run: Path, the_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    card = run / "distilled" / "README.md"
    card.write_text(card.read_text() + "\nmade in /home/someone/runs\n")
    with pytest.raises(StorageError, match=r"README\.md names the folder /home/someone"):
        condense.push(run, "me/mini")


@pytest.mark.parametrize(
    "text",
    ["https://example.org/a", "hf:owner/birds", "folder:pets", "hf:./pets", "SGD 0.1, cosine", "a/b: c"],
)
def test_addresses_and_names_are_no_paths(text: str, run: Path, the_hub: Hub) -> None:
    save(replace(data(), source=text, dataset=text), run / "distilled", overwrite=True)
    assert condense.push(run, "me/mini").images == 4


def test_another_kind_of_repository_is_not_touched(run: Path, the_hub: Hub) -> None:
    folder = the_hub.root / "me/mini"
    folder.mkdir(parents=True)
    (folder / "train.parquet").touch()
    with pytest.raises(
        StorageError, match=r"me/mini is on the hub already .* it holds train\.parquet; choose"
    ):
        condense.push(run, "me/mini")
    assert not the_hub.messages
    with pytest.raises(
        StorageError, match=r"hf:me/mini is not a distilled dataset .* `condense import` takes"
    ):
        condense.load("hf:me/mini")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            "whoami",
            errors.LocalTokenNotFoundError("no token"),
            "log in with `hf auth login`, or set HF_TOKEN",
        ),
        ("whoami", http_error(401), "log in with `hf auth login`"),
        ("whoami", ConnectionError("no route"), r"the hub cannot be reached.*\(no route\)"),
        ("whoami", errors.OfflineModeIsEnabled("offline"), "without HF_HUB_OFFLINE"),
        (
            "create_repo",
            http_error(403),
            "does not let you write to 'you/mini': choose a name below your own",
        ),
        ("upload_folder", http_error(403), "does not let you write to 'you/mini'"),
        ("create_repo", errors.HFValidationError("bad"), "'you/mini' is not a name on the hub"),
        ("upload_folder", http_error(500), "'you/mini' on the hub: refused"),
    ],
)
def test_what_the_hub_refuses_is_said(
    call: str, error: Exception, text: str, run: Path, the_hub: Hub
) -> None:
    the_hub.fails[call] = error
    with pytest.raises(StorageError, match=text):
        condense.push(run, "you/mini")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            http_error(401, errors.RepositoryNotFoundError),
            "there is no dataset 'you/mini' on the hub, or it is",
        ),
        (errors.LocalEntryNotFoundError("no network"), "cannot be reached, and 'you/mini' is not in"),
    ],
)
def test_what_cannot_be_fetched_is_said(error: Exception, text: str, the_hub: Hub) -> None:
    the_hub.fails["repo_info"] = error
    with pytest.raises(StorageError, match=text):
        condense.load("hf:you/mini")


def test_without_a_network_the_cache_is_read(run: Path, the_hub: Hub) -> None:
    condense.push(run, "me/mini")
    condense.load("hf:me/mini")
    before = list(the_hub.fetched)
    the_hub.fails["repo_info"] = ConnectionError("no route")
    assert torch.equal(condense.load("hf:me/mini").images, data().images)
    assert the_hub.fetched == before


@pytest.mark.parametrize(
    ("file", "size", "fetched", "text"),
    [
        (
            "distilled.json",
            10**12,
            [],
            r"distilled\.json of hf:me/mini has 1\.0 TB, and at most 268\.4 MB can be",
        ),
        ("distilled.json", None, [], r"does not say how large distilled\.json of hf:me/mini is"),
        (
            "README.md",
            10**12,
            ["distilled.json"],
            r"README\.md of hf:me/mini has 1\.0 TB, and at most 268\.4 MB",
        ),
        (
            "images/1-a/001.png",
            2 * 10**6,
            ["distilled.json"],
            r"001\.png of hf:me/mini has 2\.0 MB, and at most 1\.0 MB",
        ),
        (
            "images/1-a/more.bin",
            10**12,
            ["distilled.json"],
            r"more\.bin of hf:me/mini has 1\.0 TB, and at most 1\.0 MB",
        ),
        ("labels.safetensors", 10**12, ["distilled.json"], r"labels\.safetensors of hf:me/mini has 1\.0 TB"),
        (
            "teacher.safetensors",
            10**15,
            ["distilled.json"],
            r"teacher\.safetensors of hf:me/mini has 1000\.0 TB",
        ),
    ],
)
def test_what_is_too_large_is_not_fetched(
    file: str, size: int | None, fetched: list[str], text: str, run: Path, the_hub: Hub
) -> None:
    condense.push(run, "me/mini")
    (the_hub.root / "me/mini" / file).touch()
    the_hub.sizes[file] = size
    with pytest.raises(StorageError, match=f"{text}.*not fetched"):
        condense.load("hf:me/mini")
    assert the_hub.fetched == fetched


def test_files_beyond_the_memory_are_not_fetched(
    run: Path, the_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    condense.push(run, "me/mini")
    # The images themselves, 64 pixels each, fit.
    monkeypatch.setattr(hub, "physical_memory", lambda: 2000)
    with pytest.raises(
        StorageError, match=r"hf:me/mini has .* in 7 files, more than the memory .* not fetched"
    ):
        condense.load("hf:me/mini")
    assert the_hub.fetched == ["distilled.json"]


def test_a_dataset_that_changes_while_it_is_looked_at(
    run: Path, the_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    condense.push(run, "me/mini")
    known = the_hub.repo_info("me/mini", repo_type="dataset", files_metadata=True)
    monkeypatch.setattr(hub, "hub_api", lambda: the_hub)
    monkeypatch.setattr(
        Hub, "repo_info", lambda *_, **__: SimpleNamespace(**{**vars(known), "sha": "earlier"})
    )
    with pytest.raises(StorageError, match="hf:me/mini was changed while it was looked at; try again"):
        condense.load("hf:me/mini")
    assert the_hub.fetched == ["distilled.json"]


def test_the_real_client_without_a_network(
    monkeypatch: pytest.MonkeyPatch, run: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(StorageError, match="is not in Hugging Face's cache"):
        condense.load("hf:you/mini")
    with pytest.raises(StorageError, match="is not a name on the hub"):
        condense.load("hf:you/mini/more")
    with pytest.raises(StorageError, match=r"hf:\./mini is a path; write it without hf:"):
        condense.load("hf:./mini")


def test_evaluate_a_pushed_dataset(
    tmp_path: Path, the_hub: Hub, make_registry: Callable[..., Any], make_dataset: Callable[..., Any]
) -> None:
    registry = make_registry(make_dataset())
    settings = {"protocol.epochs": 1, "student.model": "convnet", "student.model.width": 8}
    made = condense.run(
        method="random",
        dataset="tiny",
        ipc=2,
        students=1,
        settings={**settings, "student.model.depth": 2},
        out=tmp_path / "runs",
        registry=registry,
    )
    assert made.distilled.label_mode == "online"
    pushed = condense.push(made.path, "me/tiny")
    assert pushed.teacher
    # The fetched copy brings its teacher along, and nothing else of the run.
    again = condense.evaluate("hf:me/tiny", students=1, registry=registry)
    assert again.score.mean == made.accuracy
    assert again.distilled.classes == made.distilled.classes
