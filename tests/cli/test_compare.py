"""`condense compare` on a tiny dataset of a plugin's: what is said, where, and with which exit status."""

from __future__ import annotations

import inspect
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from condense_cli import compare
from condense_cli.sections import SectionedOption

from condense.api import run
from condense.comparison.design import design_comparison
from condense.comparison.terms import terms_of
from condense.runs.pipeline import RunDriver

Invoke = Callable[..., Result]
AddPlugins = Callable[..., None]

PLUGIN = """
import condense
from condense import DatasetSpec, FeatureTarget, FeatureTargetSpec, Method, Recover, Weighted

def build(options, request):
    import torch
    draws = torch.Generator().manual_seed(0)
    def split(count):
        labels = torch.arange(3).repeat_interleave(count)
        pixels = torch.randint(0, 60, (len(labels), 1, 8, 8), generator=draws) + 90 * labels[:, None, None, None]
        return condense.Split(condense.MemoryImages(pixels.to(torch.uint8)), labels)
    return condense.RealDataset(
        name=request.name, classes=("a", "b", "c"), train=split(6), test=split(4), size=8, mean=(0.5,), std=(0.25,)
    )

class Failing(FeatureTarget):
    def __init__(self, options):
        pass
    def loss(self, synthetic, real):
        raise condense.NumericalError("the loss is of no use")

@condense.hookimpl
def condense_datasets():
    settings = {"teacher.model": "convnet", "teacher.model.width": 8, "teacher.epochs": 1, "teacher.batch_size": 8}
    return [DatasetSpec(name="tiny", summary="noise", build=build, settings=settings)]

@condense.hookimpl
def condense_feature_targets():
    return [FeatureTargetSpec(name="failing", summary="raises", build=Failing)]

@condense.hookimpl
def condense_methods():
    return [Method(name="failing", summary="fails", targets={"failing": Weighted()}, recover=Recover(iterations=2))]
"""
SMALL = ["--dataset", "tiny", "--ipc", "1", "--seeds", "2", "--epochs", "1", "--no-scores", "--device", "cpu"]
WMDD = ["--set", "wmdd:iterations=2"]


@pytest.fixture
def tiny(condense: Invoke, add_plugins: AddPlugins) -> Invoke:
    """`condense` in an empty folder, with a tiny dataset and a method that fails."""
    add_plugins(tiny=PLUGIN)
    return condense


def folder_of(result: Result) -> Path:
    return Path(
        next(line for line in result.stdout.splitlines() if line.startswith("in ")).removeprefix("in ")
    )


@pytest.mark.slow
def test_a_comparison_in_a_pipe(tiny: Invoke) -> None:
    result = tiny("compare", "wmdd", *WMDD, *SMALL, "--protocol", "fkd,dc")
    assert result.exit_code == 0, result.output
    assert result.stderr == "" and "\x1b" not in result.stdout
    path = folder_of(result)
    lines = result.stdout.splitlines()
    assert any(line.startswith("[1/4] wmdd, 1 image per class, seed 0") for line in lines)
    assert any(line.startswith("[4/4] random, ") and "left in all" in line for line in lines)
    assert max(len(line) for line in lines if str(path) not in line) <= 100
    table = result.stdout.partition("tiny, 1 image per class")[2]
    assert max(map(len, table.splitlines())) <= 80
    for text in ("fkd, 1 epoch", "dc, 1 epoch", "random (reference)", "all real images (teacher)"):
        assert text in table
    data = json.loads((path / "compare.json").read_text())
    for line in data["table"]:
        assert f"{100 * line['mean']:.1f} ± " in table
    for name in ("compare.json", "compare.md", "compare.png", "compare.html"):
        assert (path / name).is_file()
    assert str(path / "compare.html") in lines[-2]


def test_json_is_alone_on_stdout_and_is_the_file(tiny: Invoke) -> None:
    result = tiny("compare", "random", *SMALL, "--json", "--name", "mine")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(Path("runs/mine/compare.json").read_text())
    assert "[1/2] random" in result.stderr


def test_dry_run_counts_what_is_done_without_asking_for_the_device(tiny: Invoke) -> None:
    assert tiny("compare", "random", *SMALL).exit_code == 0
    assert SMALL[-2:] == ["--device", "cpu"]
    more = [*SMALL[:-2], "--seeds", "3", "--students", "2", "--dry-run"]
    data = json.loads(tiny("compare", "random", *more, "--json").stdout)
    assert data["cells"] == {"all": 3, "done": 2}
    assert data["students"] == {"all": 6, "done": 2}
    lines = [line.split(maxsplit=1) for line in tiny("compare", "random", *more).stdout.splitlines()]
    assert ["cells", "3 (2 done): a row, distilled for one ipc and seed"] in lines
    assert ["students", "6 (2 done): 2 for each cell and column"] in lines


def test_a_row_that_fails_is_shown_and_the_exit_status_is_1(tiny: Invoke) -> None:
    result = tiny("compare", "failing", "random", *SMALL)
    assert result.exit_code == 1
    assert "note: failing failed: the loss is of no use" in result.stdout
    assert "  failing, ipc 1, seeds 0, 1: the loss is of no use" in result.stdout.partition("\nFailed\n")[2]
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["failing", "failed"] in lines
    assert any(words[:2] == ["random", "(reference)"] for words in lines)
    result = tiny("compare", "failing", "random", *SMALL, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["distilled"][0]["failure"] == "the loss is of no use"


def test_interrupted_it_says_how_to_go_on_and_does(tiny: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["compare", "random", *SMALL, "--out", "with space"]
    steps = RunDriver.steps
    calls: list[int] = []

    def stop(driver: RunDriver, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return steps(driver, **options)

    monkeypatch.setattr(RunDriver, "steps", stop)
    result = tiny(*words)
    assert result.exit_code == 130
    again = shlex.split(result.stderr.partition("go on with: ")[2])
    assert again == ["condense", *words]
    result = tiny(*again[1:])
    assert result.exit_code == 0, result.output
    assert len(calls) == 3
    assert "[2/2] random, 1 image per class, seed 1" in result.stdout and "[1/2]" not in result.stdout


def test_dry_run_lists_the_work_and_writes_nothing(tiny: Invoke, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    words = ["compare", "wmdd", "--set", "wmdd:lr=0.5", *SMALL, "--scores", "--dry-run"]
    result = tiny(*words)
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    assert ["wmdd", "recover.lr=0.5"] in lines
    assert ["cells", "4 (0 done): a row, distilled for one ipc and seed"] in lines
    assert ["students", "12 (0 done): 1 for each cell and column"] in lines
    assert max(map(len, result.stdout.splitlines())) <= 80
    data = json.loads(tiny(*words, "--json").stdout)
    assert data["students"] == {"all": 12, "done": 0}
    assert [column["key"] for column in data["columns"]] == ["fkd@1", "fkd@1/hard", "fkd@1/plain"]
    assert {path for path in tmp_path.rglob("*") if "__pycache__" not in str(path)} - before == set()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("compare wmd", "unknown method 'wmd'. Did you mean 'wmdd'?"),
        ("compare wmdd wmdd", "the row 'wmdd' stands twice"),
        ("compare wmdd --seeds 0", "seeds must lie between 1 and 1000"),
        ("compare wmdd --epochs 0", "epochs must be at least 1"),
        ("compare wmdd --epochs 1,x", "'1,x' is not a list of whole numbers"),
        ("compare wmdd --set dm:lr=1", "no row is of a method 'dm'"),
        ("compare", "METHOD"),
        ("sweep --method wmdd", "nothing to sweep over"),
        ("sweep --set lr=1,2", "--method"),
        ("ablate random", "nothing that can be left out"),
    ],
)
def test_mistakes_are_answered_at_once(condense: Invoke, tmp_path: Path, words: str, says: str) -> None:
    result = condense(*words.split())
    assert result.exit_code in (1, 2) and result.stdout == ""
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_method_of_two_plugins_is_refused(condense: Invoke, add_plugins: AddPlugins) -> None:
    add_plugins(rival=PLUGIN.replace('Method(name="failing"', 'Method(name="wmdd"'))
    result = condense("compare", "wmdd")
    assert result.exit_code == 1
    assert "plugins 'rival' and 'wmdd' both offer a method named 'wmdd'" in result.stderr


def test_mistakes_load_no_torch() -> None:
    check = (
        "import sys\nfrom condense_cli.main import cli\n"
        "for line in ('compare wmd', 'compare wmdd --set lr=x', 'sweep --method wmdd', 'ablate random'):\n"
        "    try:\n        cli.main(line.split(), prog_name='condense', standalone_mode=False)\n"
        "    except BaseException:\n        pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


@pytest.mark.parametrize("command", [compare.compare, compare.sweep, compare.ablate])
def test_the_defaults_in_the_help_are_the_librarys(command: object) -> None:
    parameters: Mapping[str, inspect.Parameter] = {
        **inspect.signature(design_comparison).parameters,
        **inspect.signature(terms_of).parameters,
        **{name: inspect.signature(run).parameters[name] for name in ("executor", "workers")},
    }
    shown = {
        parameter.name: parameter.default_shown
        for parameter in command.params  # type: ignore[attr-defined]
        if isinstance(parameter, SectionedOption) and parameter.default_shown
    }
    assert len(shown) > 10
    # A script of a user may do its work at import, which other processes would do again; a command does not.
    assert (shown.pop("executor"), parameters["executor"].default) == ("auto", "local")
    for name, text in shown.items():
        default = parameters[name].default
        if default in (None, ()):
            assert " " in text or "'" in text, f"{name} has no default, the help says {text}"
        elif isinstance(default, bool):
            assert text == (f"--{name}" if default else f"--no-{name}")
        elif isinstance(default, (int, float)):
            assert float(text) == default
        else:
            assert text == str(default)


def test_methods_joined_by_a_comma_are_shown_apart(condense: Invoke) -> None:
    result = condense("compare", "wmdd,sre2l", "--dry-run")
    assert result.exit_code == 2
    assert "condense compare wmdd sre2l" in result.stderr


def test_a_dry_run_has_the_rows_of_each_teacher_below_it(condense: Invoke) -> None:
    teachers = ("convnet(width=16)", "timm:vit_tiny_patch16_224")
    result = condense(
        "compare", "wmdd", "--teacher-model", ",".join(teachers), "--set", "lr=0.5", "--dry-run"
    )
    assert result.exit_code == 0, result.output
    rows, _, rest = result.stdout.partition("All rows")
    assert [line for line in rows.splitlines() if line.startswith("Rows")] == [
        f"Rows, teacher {teacher}" for teacher in teachers
    ]
    assert rows.count("  wmdd    recover.lr=0.5\n") == 2
    assert all(f"teacher    {teacher}, " in rest for teacher in teachers)


def test_a_dry_run_names_the_rows_that_will_fail(condense: Invoke, tmp_path: Path) -> None:
    result = condense("compare", "random", "--ipc", "1,501", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    notes = json.loads(result.stdout)["notes"]
    assert any(note.startswith("random with 501 images per class will fail: 501 images") for note in notes)
    result = condense("compare", "random", "--ipc", "501,502", "--dry-run")
    assert result.exit_code == 1
    assert "use --ipc 500 or less" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "folder:gone"], "gone does not exist; expected gone/train/CLASS"),
        (["--set", "teacher.checkpoint=gone.pt"], "there is no checkpoint gone.pt"),
        (["--student", "timm:local-dir:gone"], "there is no network timm:local-dir:gone"),
        (["--device", "gpu"], "device must be auto, cpu, cuda, cuda:N or mps"),
        (["--name", "taken"], "exists already and is not a comparison"),
    ],
)
def test_a_dry_run_refuses_what_the_comparison_would(
    words: list[str], message: str, condense: Invoke
) -> None:
    Path("runs/taken").mkdir(parents=True)
    Path("runs/taken/run.json").write_text("{}")
    result = condense("compare", "wmdd", *words, "--dry-run")
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "words",
    [("compare", "wmdd", "dm"), ("sweep", "--method", "wmdd", "--set", "lr=1,2"), ("ablate", "sre2l")],
)
def test_iterations_and_teacher_are_short_for_settings_of_all_rows(
    condense: Invoke, words: tuple[str, ...]
) -> None:
    result = condense(*words, "--iterations", "7", "--no-reference", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    assert {row["settings"]["recover.iterations"] for row in json.loads(result.stdout)["rows"]} == {7}
    result = condense(*words, "--iterations", "7", "--set", "iterations=8", "--dry-run")
    assert result.exit_code == 2
    assert "--iterations and --set recover.iterations say the same thing" in result.stderr
    result = condense(*words, "--teacher", "absent.pt", "--dry-run")
    assert result.exit_code == 1
    assert "absent.pt" in result.stderr
