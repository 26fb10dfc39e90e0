"""`condense run` when something is wrong: the message, the exit status, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]

RUN = "run --method random --students 0"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --method wmd", "unknown method 'wmd'. Did you mean 'wmdd'? There are: "),
        (f"{RUN} --dataset fashion-mimi", "unknown dataset 'fashion-mimi'. Did you mean 'fashion-mini'?"),
        (f"{RUN} --dataset folder", "dataset 'folder' needs a PATH: write folder:PATH"),
        (f"{RUN} --set recover.iteratoins=3", "Did you mean 'recover.iterations'?"),
        (f"{RUN} --set targets.barycentre=1", "Did you mean 'barycenter'?"),
        (f"{RUN} --set recover.lr=fast", "recover.lr=fast: "),
        (f"{RUN} --set recover.lr=-1", "lr must be above 0"),
        (f"{RUN} --without barycentre", "unknown component of random 'barycentre'"),
        (f"{RUN} --protocol fdk", "unknown protocol 'fdk'. Did you mean 'fkd'? There are: dc, "),
        (f"{RUN} --ipc 0", "images per class must lie between 1 and 1000000, not 0"),
        (f"{RUN} --ipc 501", "has only 500; use --ipc 500 or less"),
        (f"{RUN} --set seed=3", "'seed' is an option of its own (--seed), not one for --set"),
        (f"{RUN} --set data_dir=x", "'data_dir' is an option of its own (--data-dir), not one for --set"),
        (f"{RUN} --set validation=0.5", "'validation' is an option of its own (--validation)"),
        (f"{RUN} --set reference=false", "'reference' is an option of its own (--reference)"),
        (f"{RUN} --students -1", "students must lie between 0 and 10000, not -1"),
        (f"{RUN} --device abacus", "device must be auto, cpu, cuda, cuda:N or mps, not 'abacus'"),
        (f"{RUN} --name a/b", "name 'a/b' must be one folder name"),
        (f"{RUN} --resume --name absent", "absent to go on with; leave out --resume to start it"),
        ("run --from nowhere", "nowhere"),
    ],
)
def test_the_library_refuses(condense: Invoke, tmp_path: Path, line: str, message: str) -> None:
    result = condense(*line.split())
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run wmdd --ipc 1", "a method is named by --method: condense run --method wmdd"),
        ("plan wmdd", "a method is named by --method: condense plan --method wmdd"),
        ("sweep dm --set recover.lr=1,2", "a method is named by --method: condense sweep --method dm"),
        (f"{RUN} --dataset folder:my pets", "'pets' belongs to no option; a value with spaces needs quotes"),
        ("ablate wmdd dm", "'dm' belongs to no option"),
        ("run", "--method is missing; `condense methods` lists what there is"),
        (f"{RUN} --set iterations", "'iterations' is not KEY=VALUE"),
        (f"{RUN} --set =3", "'=3' is not KEY=VALUE"),
        (f"{RUN} --iterations 3 --set iterations=4", "say the same thing"),
        (f"{RUN} --epochs 3 --set protocol.epochs=4", "say the same thing"),
        (
            f"{RUN} --seeds 3",
            "No such option '--seeds' here; condense compare, condense sweep, condense ablate have it",
        ),
        (f"{RUN} --secds 3", "Did you mean"),
        (f"{RUN} --precision half", "'half' is not one of 'auto', 'bf16', 'fp32'"),
        (f"{RUN} --ipc ten", "'ten' is not a valid integer"),
        (f"{RUN} --ipc 1,10", "'1,10' is more than one number; `condense compare --ipc` takes several"),
        (f"{RUN} --seed 0,1", "'0,1' is more than one number; `condense compare --seeds N` has N seeds"),
        ("run --from x --ipc 3 --set lr=1", "cannot be combined with --ipc, --set"),
        ("run --from x --teachers y", "cannot be combined with --teachers"),
        ("run --from x --resume --teachers y", "cannot be combined with --teachers"),
        ("run --from x --no-reference", "cannot be combined with --reference"),
        ("run --from x --resume --name y", "cannot be combined with --name"),
    ],
)
def test_the_command_line_is_refused(condense: Invoke, tmp_path: Path, line: str, message: str) -> None:
    result = condense(*line.split())
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_directory_that_exists(condense: Invoke, tmp_path: Path) -> None:
    kept = tmp_path / "runs" / "mine" / "notes.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    result = condense(*RUN.split(), "--name", "mine")
    assert result.exit_code == 1
    assert "runs/mine" in result.stderr
    assert "exist" in result.stderr
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.parametrize("name", ["pets", "./pets", "pets/"])
def test_a_folder_without_its_prefix_is_named(
    condense: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path)
    result = condense(*RUN.split(), "--dataset", name)
    assert result.exit_code == 1
    assert f"is a folder, not the name of a dataset: write folder:{name}" in result.stderr
