"""`condense run` when all is well."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from click.testing import Result
from condense_cli import evaluate as evaluate_module
from condense_cli import run as run_module
from condense_cli.render.tables import COMPONENTS
from condense_cli.sections import SectionedOption
from PIL import Image

from condense import api
from condense.recipe.registry import load_registry
from condense.recipe.resolve import config_from_dict
from condense.recipe.settings import assign, flatten
from condense.runs import students
from condense.text import setting_text

Invoke = Callable[..., Result]

# The smallest real run: no teacher, one student, one epoch.
TINY = ["run", "--method", "random", "--ipc", "1", "--students", "1", "--device", "cpu"]
TINY += ["--set", "protocol.labels=hard", "--set", "protocol.epochs=1"]
TINY += ["--set", "student.model=convnet", "--set", "student.model.width=8"]


def test_a_pipe_gets_plain_lines_and_one_table(small_run: tuple[Path, Result]) -> None:
    path, result = small_run
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[:2] == ["wmdd on fashion-mini, 1 image per class, seed 0", f"in {path}"]
    for stage in ("squeeze", "measure", "recover", "evaluate"):
        assert any(line.startswith(f"{stage}: ") for line in lines)
        assert any(line.startswith(f"{stage}: done in ") for line in lines)
    assert all(line == line.rstrip() for line in lines)
    assert max(len(line) for line in lines if str(path) not in line) <= 80


def test_the_table_holds_what_run_json_holds(small_run: tuple[Path, Result]) -> None:
    path, result = small_run
    outcome = json.loads((path / "run.json").read_text())["outcome"]
    rows = {" ".join(line.split()) for line in result.stdout.splitlines()}
    for row in outcome["rows"]:
        mean, std = 100 * row["accuracy_mean"], 100 * row["accuracy_std"]
        assert f"{row['label']} {mean:.1f} ± {std:.1f} % 2 students" in rows
    assert f"all real images (the teacher) {100 * outcome['teacher_accuracy']:.1f} %" in rows
    assert "protocol fkd: 1 epoch, 1 step, online labels" in rows
    for place in ("grid.png", "report.html"):
        assert any(line.endswith(str(path / place)) for line in rows)
        assert (path / place).is_file()
    for stage in outcome["seconds"]:
        assert f"{stage} " in result.stdout.partition("  time ")[2]


def test_json_is_alone_on_stdout(condense: Invoke) -> None:
    result = condense(*TINY, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["method"] == "random"
    assert data["rows"][0]["students"] == 1
    assert data["rows"][0]["accuracy_std"] is None
    assert Path(data["path"]) == Path("runs/random-fashion-mini-ipc1-seed0")
    assert "evaluate: done in" in result.stderr


def test_from_repeats_a_run(condense: Invoke) -> None:
    first = condense(*TINY, "--out", "there", "--name", "first")
    assert "one student" in first.stdout
    second = condense("run", "--from", "there/first", "--out", "there", "--name", "second")
    assert second.exit_code == 0, second.output
    before, after = (
        json.loads(Path(f"there/{name}/run.json").read_text())["outcome"] for name in ("first", "second")
    )
    assert before["settings"] == after["settings"]
    assert before["rows"][0]["accuracies"] == after["rows"][0]["accuracies"]


def test_from_asks_for_a_yes_to_the_settings_of_somebody_else(condense: Invoke) -> None:
    assert condense(*TINY, "--out", "there", "--name", "first").exit_code == 0
    file = Path("there/first/run.json")
    content = json.loads(file.read_text())
    content["settings"]["machine"]["data_dir"] = "/etc"
    file.write_text(json.dumps(content))
    again = ("run", "--from", "there/first", "--name", "second", "--dry-run")
    for more in ((), ("--resume",)):
        words = [word for word in again if not more or word not in ("--name", "second")]
        refused = condense(*words, *more)
        assert refused.exit_code == 1
        assert "ask for the folder of datasets '/etc'. Choose yourself with --data-dir DIR" in refused.stderr
    for more, folder in ((("--yes",), "/etc"), (("--data-dir", "mine"), "mine")):
        planned = condense(*again, *more, "--json")
        assert planned.exit_code == 0, planned.output
        assert json.loads(planned.stdout)["settings"]["machine"]["data_dir"] == folder


def test_an_interrupted_run_says_how_to_go_on(condense: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(students, "train_students", stop)
        result = condense(*TINY, "--name", "with space")
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr
    again = shlex.split(result.stderr.partition("go on with: ")[2])
    assert again == ["condense", "run", "--resume", "--from", "runs/with space"]
    result = condense(*again[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1] == "in runs/with space"


def test_an_interruption_before_anything_was_written(
    condense: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "start", stop)
    result = condense(*TINY)
    assert result.exit_code == 130
    assert "Interrupted. Nothing was written yet." in result.stderr


def test_dry_run_shows_the_work_and_writes_nothing(condense: Invoke, tmp_path: Path) -> None:
    result = condense(
        "run", "--method", "wmdd", "--iterations", "7", "--without", "class-batchnorm", "--dry-run"
    )
    assert result.exit_code == 0, result.output
    assert list(tmp_path.iterdir()) == []
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    assert ["recover", "7 iterations a chunk, 10 images per class"] in lines
    assert ["measure", "one pass for barycenter"] in lines
    assert ["recover.iterations", "7"] in lines
    assert ["ipc", "10"] in lines
    assert ["regularizers", "(none)"] in lines
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_dry_run_shows_the_three_groups_of_settings(condense: Invoke) -> None:
    text = condense("run", "--method", "wmdd", "--data-dir", "there", "--dry-run").stdout
    titles = {
        "recipe": "What is distilled (recipe)",
        "evaluation": "How it is judged (evaluation)",
        "machine": "Where it is computed (machine)",
    }
    lines = text.splitlines()
    starts = [lines.index(title) for title in titles.values()]
    assert starts == sorted(starts)
    shown = {
        group: [line.split(maxsplit=1) for line in lines[start:end]]
        for group, start, end in zip(titles, starts, [*starts[1:], None], strict=True)
    }
    own = {
        "recipe": [
            ["method", "wmdd"],
            ["dataset", "fashion-mini"],
            ["ipc", "10"],
            ["seed", "0"],
            ["validation", "0"],
        ],
        "evaluation": [["protocol", "fkd"], ["students", "3"], ["reference", "true"]],
        "machine": [["device", "auto"], ["precision", "auto"], ["data-dir", "there"]],
    }
    keys = {
        "recipe": [
            "initializer",
            "parametrization",
            "targets.barycenter",
            "recover.lr",
            "teacher.model.width",
        ],
        "evaluation": ["protocol.labels", "student.model", "evaluator"],
        "machine": [],
    }
    for group, found in shown.items():
        assert found[1] == ["Options", "of their own"]
        assert found[2 : 2 + len(own[group])] == own[group]
        for other, wanted in keys.items():
            for key in wanted:
                assert (key in [line[0] for line in found if line]) == (group == other)


def test_dry_run_shows_a_pool_where_something_looks_through_one(condense: Invoke) -> None:
    """Its settings have no effect elsewhere, where they are refused."""
    lines = [
        line.split(maxsplit=1)
        for line in condense("run", "--method", "ncfm", "--dry-run").stdout.splitlines()
    ]
    assert ["pool", "train 5 networks (convnet) for 10 epochs"] in lines
    assert ["pool.draw", "interpolated"] in lines
    assert "pool." not in condense("run", "--method", "dm", "--dry-run").stdout
    refused = condense("run", "--method", "dm", "--set", "pool.networks=3", "--dry-run")
    assert refused.exit_code != 0
    assert "pool.networks has no effect: none of mean-embedding looks through a pool" in refused.output


def test_dry_run_gives_the_three_groups_as_json(condense: Invoke) -> None:
    words = ["--students", "2", "--seed", "3", "--device", "cpu", "--data-dir", "there"]
    settings = json.loads(condense("run", "--method", "wmdd", *words, "--dry-run", "--json").stdout)[
        "settings"
    ]
    assert {group: set(fields) for group, fields in settings.items()} == {
        "recipe": {
            *("method", "dataset", "initializer", "targets", "regularizers", "recover", "teacher"),
            *("pool", "parametrization", "select", "judge", "ipc", "seed", "validation"),
        },
        "evaluation": {"protocol", "student", "evaluator", "students", "reference"},
        "machine": {"device", "precision", "data_dir", "loaders", "jpeg_decoder", "keep_minutes", "compile"},
    }
    assert (settings["recipe"]["method"], settings["recipe"]["seed"]) == ("wmdd", 3)
    assert set(settings["recipe"]["targets"]) == {"barycenter", "cross-entropy"}
    assert settings["recipe"]["targets"]["cross-entropy"] == {"weight": 1.0, "options": {}}
    assert settings["evaluation"]["students"] == 2
    machine = {
        "device": "cpu",
        "precision": "auto",
        "data_dir": "there",
        "loaders": None,
        "jpeg_decoder": "cpu",
        "keep_minutes": 5.0,
        "compile": "auto",
    }
    assert settings["machine"] == machine


def test_dry_run_says_what_kind_of_images_a_folder_holds(condense: Invoke, tmp_path: Path) -> None:
    for split, label in product(("train", "val"), ("cat", "dog")):
        folder = tmp_path / "pets" / split / label
        folder.mkdir(parents=True)
        Image.new("L", (16, 16)).save(folder / "one.png")
    words = ["run", "--method", "wmdd", "--dataset", "folder:pets", "--ipc", "1", "--dry-run"]
    text = " ".join(condense(*words).stdout.split())
    assert "settings for small grey images are used" in text
    data = json.loads(condense(*words, "--json").stdout)
    assert data["settings"]["recipe"]["dataset"]["options"]["like"] == "small-grey"
    assert data["settings"]["recipe"]["teacher"]["model"]["name"] == "convnet"
    words += ["--set", "dataset.like=photographs"]
    data = json.loads(condense(*words, "--json").stdout)
    assert data["settings"]["recipe"]["teacher"]["model"]["name"] == "resnet18"


def test_every_setting_shown_can_be_set_as_it_is_shown(condense: Invoke) -> None:
    words = ["run", "--method", "wmdd", "--set", "protocol.augment.siamese=flip,crop", "--dry-run"]
    text = {tuple(line.split(maxsplit=1)) for line in condense(*words).stdout.splitlines()}
    data = json.loads(condense(*words, "--json").stdout)
    registry = load_registry()
    config = config_from_dict(data["settings"], registry)
    changed = config
    for key, value in flatten(config).items():
        if key.startswith("pool."):  # nothing of this method looks through a pool
            assert key not in {line[0] for line in text if line}
        elif "." in key and key not in ("protocol.name", "protocol.summary", "protocol.source"):
            assert (key, setting_text(value)) in text
        if "." in key or (key in COMPONENTS and value):
            changed = assign(changed, key, setting_text(value).strip('"'), registry)
    assert changed == config
    assert set(data["stages"]) == {"squeeze", "measure", "recover", "relabel", "evaluate"}


def test_teacher_iterations_and_epochs_are_short_for_settings(condense: Invoke) -> None:
    Path("some.safetensors").write_bytes(b"weights")
    words = ("--teacher", "some.safetensors", "--iterations", "7", "--epochs", "9")
    result = condense("run", "--method", "wmdd", *words, "--dry-run", "--json")
    settings = json.loads(result.stdout)["settings"]
    assert settings["recipe"]["teacher"]["checkpoint"] == "some.safetensors"
    assert settings["recipe"]["recover"]["iterations"] == 7
    assert settings["evaluation"]["protocol"]["epochs"] == 9


def test_trained_teachers_are_kept_in_a_folder_and_used_again(condense: Invoke) -> None:
    words = ["run", "--method", "random", "--ipc", "1", "--students", "0", "--device", "cpu"]
    words += ["--set", "teacher.model=convnet", "--set", "teacher.model.width=4", "--set", "teacher.epochs=0"]
    words += ["--set", "protocol.labels=soft", "--teachers", "kept"]
    first, second = (condense(*words, "--name", name) for name in ("first", "second"))
    assert first.exit_code == second.exit_code == 0, first.output + second.output
    [file] = Path("kept").glob("*.safetensors")
    assert "squeeze: " in first.stdout
    assert "squeeze: " not in second.stdout
    assert f"teacher taken from {file}" in " ".join(second.stdout.split())
    one, other = (Path(f"runs/{name}/teacher.safetensors").read_bytes() for name in ("first", "second"))
    assert one == other == file.read_bytes()


def test_a_dry_run_keeps_no_teacher(condense: Invoke, tmp_path: Path) -> None:
    result = condense("run", "--method", "wmdd", "--teachers", "kept", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    assert "teachers" not in json.loads(result.stdout)["settings"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "function"), [(run_module.command, api.run), (evaluate_module.command, api.evaluate)]
)
def test_the_defaults_in_the_help_are_the_librarys(command: object, function: Callable[..., object]) -> None:
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    shown = {
        parameter.name: parameter.default_shown
        for parameter in command.params  # type: ignore[attr-defined]
        if isinstance(parameter, SectionedOption) and parameter.default_shown
    }
    assert len(shown) > 4
    # A script of a user may do its work at import, which other processes would do again; a command does not.
    assert (shown.pop("executor", "auto"), defaults.get("executor", "local")) == ("auto", "local")
    for name, text in shown.items():
        default = defaults[name]
        if default is None:
            assert " " in text or "'" in text, f"{name} has no default, the help says {text}"
        elif isinstance(default, bool):
            assert text == (f"--{name}" if default else f"--no-{name}")
        elif isinstance(default, (int, float)):
            assert float(text) == default
        else:
            assert text == str(default)


def test_a_folder_without_a_test_split_has_its_held_out_images_listed(
    condense: Invoke, tmp_path: Path
) -> None:
    for name, colour in (("cat", 60), ("dog", 190)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(5):
            Image.new("L", (8, 8), colour + index).save(tmp_path / "pets" / name / f"{index}.png")
    done = condense(*TINY, "--dataset", f"folder:{tmp_path / 'pets'}", "--name", "mine")
    assert done.exit_code == 0, done.output
    listed = Path("runs/mine/held-out.txt").read_text().splitlines()
    assert [name.split("/")[0] for name in listed] == ["cat", "dog"]
    assert all((tmp_path / "pets" / name).is_file() for name in listed)
