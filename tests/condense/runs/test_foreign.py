"""Evaluations and repeated runs say what settings of somebody else ask for, and do that only after a yes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import condense
from condense.errors import CondenseError, OptionError, StorageError
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.runs.foreign import check_run_wishes
from condense.storage.seal import is_sealed

STUDENT = "convnet(width=4,depth=2)"


@pytest.fixture(scope="module")
def registry(make_dataset: Any, make_registry: Any) -> Registry:
    found: Registry = make_registry(make_dataset())
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A run that was made here."""
    out = tmp_path_factory.mktemp("made")
    settings = {"protocol.labels": "hard", "protocol.epochs": 1}
    options: dict[str, Any] = {
        "dataset": "tiny",
        "ipc": 1,
        "students": 0,
        "device": "cpu",
        "registry": registry,
    }
    return condense.run(method="random", out=out, name="run", settings=settings, **options).path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def artifact(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "distilled", tmp_path / "alone")
    return tmp_path / "alone"


def edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content["settings"])
    path.write_text(json.dumps(content))


def evaluate(path: Path, registry: Registry, **options: Any) -> Any:
    return condense.evaluate(path, students=1, device="cpu", registry=registry, **options)


def asks_for(change: Callable[[Any], object], artifact: Path, registry: Registry, text: str) -> None:
    edit(artifact / "distilled.json", change)
    with pytest.raises(
        OptionError, match=rf"the settings that came with .*alone ask for {text}.*, or say --yes"
    ):
        evaluate(artifact, registry)


def test_many_epochs_need_a_yes_or_a_choice(artifact: Path, registry: Registry) -> None:
    asks_for(
        lambda found: found["evaluation"]["protocol"].update(epochs=10**12),
        artifact,
        registry,
        r"1000000000000 epochs \(more than 10000\)\. Choose yourself with --set protocol\.epochs=N",
    )
    assert (
        evaluate(artifact, registry, settings={"protocol.epochs": 1}, student=STUDENT).score.students[0].steps
        == 1
    )


def test_a_yes_is_enough(artifact: Path, registry: Registry) -> None:
    edit(artifact / "distilled.json", lambda found: found["evaluation"]["protocol"].update(batch_size=10**9))
    with pytest.raises(OptionError, match="1000000000 images in a batch"):
        evaluate(artifact, registry, student=STUDENT)
    assert evaluate(artifact, registry, student=STUDENT, yes=True).score.students[0].steps == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("folder:pets", "real images in a folder, 'folder:pets'"),
        ("folder:/etc", "real images in a folder, 'folder:/etc'"),
        ("hf:evil/images", "a dataset of the Hugging Face hub, 'hf:evil/images'"),
        ("hf:/etc", "a dataset of the Hugging Face hub, 'hf:/etc'"),
    ],
)
def test_a_dataset_that_is_read_or_fetched(name: str, text: str, artifact: Path, registry: Registry) -> None:
    asks_for(lambda found: found["recipe"]["dataset"].update(name=name), artifact, registry, text)
    assert evaluate(artifact, registry, dataset="tiny", student=STUDENT).score.students


def test_a_dataset_that_is_downloaded(artifact: Path, registry: Registry, tmp_path: Path) -> None:
    edit(artifact / "distilled.json", lambda found: found["recipe"]["dataset"].update(name="cifar10"))
    with pytest.raises(CondenseError, match="nothing is fetched that nobody named: name it with --dataset"):
        evaluate(artifact, registry, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("timm:local-dir:/etc", {}, "a network in a folder, 'timm:local-dir:/etc'"),
        ("hf-hub:evil/net", {}, "a network of the Hugging Face hub, 'hf-hub:evil/net'"),
        ("timm:hf-hub:evil/net", {}, "a network of the Hugging Face hub"),
        ("torchvision:resnet18", {"pretrained": True}, "the pretrained weights of 'torchvision:resnet18'"),
        ("ensemble", {"members": ["convnet", "hf-hub:evil/net"]}, "a network of the Hugging Face hub"),
    ],
)
def test_networks_from_elsewhere(
    name: str, options: dict[str, Any], text: str, artifact: Path, registry: Registry
) -> None:
    model = {"name": name, "options": options}
    asks_for(lambda found: found["evaluation"].update(student={"model": model}), artifact, registry, text)
    assert evaluate(artifact, registry, student=STUDENT).score.students


def test_a_teacher_from_elsewhere(artifact: Path, registry: Registry) -> None:
    model = {"name": "hf-hub:evil/net", "options": {"pretrained": True}}
    asks_for(
        lambda found: found["recipe"]["teacher"].update(model=model),
        artifact,
        registry,
        "a network of the Hugg",
    )
    assert evaluate(artifact, registry, settings={"teacher.model": "convnet"}, student=STUDENT).score.students


@pytest.mark.parametrize("width", [10**5, 10**9, 10**30])
def test_a_network_that_is_too_wide(width: int, artifact: Path, registry: Registry) -> None:
    model = {"name": "convnet", "options": {"width": width}}
    edit(artifact / "distilled.json", lambda found: found["evaluation"].update(student={"model": model}))
    with pytest.raises(OptionError, match=r"convnet.*width"):
        evaluate(artifact, registry)


@pytest.mark.parametrize("recover", [None, [], "x", ...])
def test_a_recipe_without_its_parts(recover: object, artifact: Path, registry: Registry) -> None:
    def change(found: Any) -> None:
        del found["recipe"]["recover"]
        if recover is not ...:
            found["recipe"]["recover"] = recover

    edit(artifact / "distilled.json", change)
    with pytest.raises(OptionError, match="these are not the settings of a run: recover"):
        evaluate(artifact, registry)


@pytest.mark.parametrize("dataset", [3, "x", None, [], ...])
def test_a_run_json_that_does_not_say_what_was_run(dataset: object, run: Path, registry: Registry) -> None:
    def change(found: Any) -> None:
        del found["recipe"]["dataset"]
        if dataset is not ...:
            found["recipe"]["dataset"] = dataset

    edit(run / "run.json", change)
    with pytest.raises(OptionError, match=r"run\.json: these are not the settings of a run: recipe\.dataset"):
        evaluate(run, registry)
    # Beside an artifact that was named itself it may belong to something else.
    assert evaluate(run / "distilled", registry, student=STUDENT).score.students


def test_runs_that_were_made_here_need_no_yes(run: Path, registry: Registry) -> None:
    assert is_sealed(json.loads((run / "run.json").read_text()))
    assert evaluate(run, registry, student=STUDENT).score.students
    # Nobody else can write other settings and the seal that fits them.
    edit(run / "run.json", lambda found: found["recipe"]["dataset"].update(name="folder:/etc"))
    assert not is_sealed(json.loads((run / "run.json").read_text()))
    with pytest.raises(OptionError, match="real images in a folder, 'folder:/etc'"):
        evaluate(run, registry)


def repeat_asks_for(change: Callable[[Any], object], run: Path, registry: Registry, text: str) -> None:
    """Without a yes, neither a new run nor one that goes on begins."""
    edit(run / "run.json", change)
    for resume in (False, True):
        with pytest.raises(
            OptionError, match=rf"the settings that came with .*run ask for {text}.*, or say --yes"
        ):
            condense.repeat(run, out=run.parent, name="again", resume=resume, registry=registry)
    assert not (run.parent / "again").exists()


@pytest.mark.parametrize(
    ("group", "name", "change", "text"),
    [
        ("recipe", "recover", {"iterations": 10**9}, r"recover\.iterations=1000000000 \(more than 200000\)"),
        ("recipe", "teacher", {"epochs": 10**9}, r"teacher\.epochs=1000000000 \(more than 10000\)"),
        ("recipe", "teacher", {"checkpoint": "/etc/passwd"}, "the weights of a teacher, '/etc/passwd'"),
        ("recipe", "dataset", {"name": "folder:/etc"}, "real images in a folder, 'folder:/etc'"),
        ("recipe", "dataset", {"name": "hf:evil/images"}, "a dataset of the Hugging Face hub"),
        (
            "recipe",
            "initializer",
            {"name": "imported", "options": {"path": "/etc"}},
            "distilled images, '/etc'",
        ),
        ("recipe", "pool", {"model": {"name": "hf-hub:evil/net", "options": {}}}, "a network of the Hugg"),
        (
            "recipe",
            "teacher",
            {"model": {"name": "torchvision:resnet18", "options": {"pretrained": True}}},
            "the pretrained weights of 'torchvision:resnet18'",
        ),
        ("evaluation", "protocol", {"epochs": 10**9}, r"1000000000 epochs \(more than 10000\)"),
    ],
)
def test_a_run_that_is_repeated(
    group: str, name: str, change: dict[str, Any], text: str, run: Path, registry: Registry
) -> None:
    repeat_asks_for(lambda found: found[group][name].update(change), run, registry, text)


def test_numbers_of_a_run_that_is_repeated(run: Path, registry: Registry) -> None:
    def change(found: Any) -> None:
        found["recipe"]["ipc"] = 10**5
        found["evaluation"]["students"] = 9999

    repeat_asks_for(change, run, registry, r"ipc=100000 \(more than 1000\); 9999 students \(more than 100\)")


def test_a_repeated_run_needs_a_yes_or_a_data_folder_of_ones_own(
    run: Path, registry: Registry, tmp_path: Path
) -> None:
    repeat_asks_for(
        lambda found: found["machine"].update(data_dir="/etc"),
        run,
        registry,
        r"the folder of datasets '/etc'\. Choose yourself with --data-dir DIR",
    )
    chosen = condense.repeat(run, out=tmp_path, name="one", data_dir=tmp_path / "data", registry=registry)
    assert chosen.config.machine.data_dir == str(tmp_path / "data")
    allowed = condense.repeat(run, out=tmp_path, name="two", yes=True, registry=registry)
    assert allowed.config.machine.data_dir == "/etc"
    # The new runs are this user's own.
    assert is_sealed(json.loads((tmp_path / "two" / "run.json").read_text()))


def test_a_repeated_run_fetches_no_dataset(run: Path, registry: Registry, tmp_path: Path) -> None:
    edit(run / "run.json", lambda found: found["recipe"]["dataset"].update(name="cifar10"))
    with pytest.raises(CondenseError, match=r"nothing is fetched that nobody named.* say --yes"):
        condense.repeat(run, out=tmp_path, name="again", data_dir=tmp_path, registry=registry)


def test_a_run_that_goes_on_writes_through_no_link(run: Path, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (run / "metrics.jsonl").unlink(missing_ok=True)
    (run / "metrics.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError, match="is a link that leads out of"):
        condense.repeat(run, resume=True, registry=registry)
    assert (tmp_path / "precious").read_text() == "mine"


def test_the_name_of_a_method_leads_to_no_other_folder(
    artifact: Path, registry: Registry, tmp_path: Path
) -> None:
    content = json.loads((artifact / "distilled.json").read_text())
    (artifact / "distilled.json").write_text(json.dumps({**content, "method": "../../evil\x1b[2J"}))
    found = evaluate(artifact, registry, student=STUDENT, out=tmp_path / "a" / "b" / "tables")
    assert found.table.parent == tmp_path / "a" / "b" / "tables" and found.table.is_file()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert "\x1b" not in found.table.read_text()


@pytest.mark.parametrize("dataset", ["fashion-mini", "cifar10", "imagenette"])
def test_shipped_methods_stay_below_the_bounds(dataset: str) -> None:
    """What somebody else runs as it is published needs no yes."""
    registry = load_registry()
    for offer in registry.offers("method"):
        config = configure(registry, method=offer.spec.name, dataset=dataset, ipc=50)
        check_run_wishes(Path("run"), config, registry, chosen=())
