"""Whatever is done to the files of an artifact or a run, nothing but CondenseError comes out when they are read.

CONDENSE_FUZZ sets the seconds; docs/reliability.md tells of a long test. The suite has a few examples.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import condense
from condense.errors import CondenseError
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.runs.ahead import check_run_ahead
from condense.storage import artifact
from condense.storage.manifest import content_hash
from condense.storage.run_folder import RunFolder

SECONDS = float(os.environ.get("CONDENSE_FUZZ", "0"))
# Seconds that one case may take, on a busy computer.
PATIENCE = 120
STUDENT = "convnet(width=4,depth=1)"
# What JSON can hold in the place of a value.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.0, 1e30, 1e-30, 1e308),
    *("", "x", "hard", "soft", "online", "..", "/etc", "a\0b", "\x1b[2J", "\u202e", "x" * 300, "folder:/etc"),
    *("hf:a/b", "timm:local-dir:/etc", "ensemble", "mosaic", "1e999", "nan"),
    *(
        [],
        [[]],
        [None],
        ["x"],
        [1, 2, 3],
        {},
        {"name": "x"},
        {"name": "mosaic", "options": {"factor": 10**9}},
    ),
)
NAMES = (
    "x",
    "x" * 200,
    "000.png",
    "-1.png",
    "1e3.png",
    "٣.png",
    "a\nb.png",
    ".hidden",
    "\x1b[2J",
    "9" * 15 + ".png",
)


class Vandal:
    """Changes files in a folder, driven by `draw`."""

    def __init__(self, folder: Path, outside: Path, draw: random.Random) -> None:
        self.folder, self.outside, self.draw = folder, outside, draw

    def strike(self) -> None:
        """Change one to three things. Afterwards the checksums often fit again, so that later checks are reached."""
        for _ in range(self.draw.randint(1, 3)):
            files = sorted(
                path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()
            )
            if not files:
                return
            file = self.draw.choice(files)
            if file.suffix in (".json", ".jsonl") and self.draw.random() < 0.7:
                self.rewrite(file)
            else:
                self.draw.choice(
                    (
                        self.flip,
                        self.flip,
                        self.cut,
                        self.swell,
                        self.fill,
                        self.rename,
                        self.replace,
                        self.remove,
                    )
                )(file)
        if self.draw.random() < 0.7:
            self.check_again()

    def flip(self, file: Path) -> None:
        data = bytearray(head(file))
        for _ in range(self.draw.choice((1, 1, 1, 8))):
            if data:
                # Headers decide more than what follows them.
                last = len(data) if self.draw.random() < 0.5 else min(len(data), 200)
                data[self.draw.randrange(last)] ^= 1 << self.draw.randrange(8)
        self._write(file, bytes(data))

    def cut(self, file: Path) -> None:
        data = head(file)
        self._write(file, data[: self.draw.randint(0, len(data))])

    def swell(self, file: Path) -> None:
        more = self.draw.choice((1, 1000, 2**24))
        self._write(file, head(file))
        with file.open("r+b") as opened:
            opened.truncate(file.stat().st_size + more)

    def fill(self, file: Path) -> None:
        other = self.draw.choice(sorted(path for path in self.folder.rglob("*") if path.is_file()))
        self._write(
            file,
            self.draw.choice((b"", b"\0" * 100, b"[" * 10_000, b"{}", b"[]", head(other)[:10_000])),
        )

    def rename(self, file: Path) -> None:
        target = file.with_name(self.draw.choice(NAMES))
        if not target.exists():
            file.rename(target)

    def replace(self, file: Path) -> None:
        """Put something else in the place of a file or of the folder that it lies in."""
        place = file if self.draw.random() < 0.7 or file.parent == self.folder else file.parent
        kind = self.draw.choice(("folder", "link", "loop", "pipe", "nothing", "inside"))
        if kind == "link":
            shutil.copytree(place, self.outside, dirs_exist_ok=True) if place.is_dir() else shutil.copy(
                place, self.outside
            )
        target = self.outside if place.is_dir() else self.outside / place.name
        others = [path for path in sorted(self.folder.rglob("*")) if place not in (path, *path.parents)]
        self.remove(place)
        if kind == "folder":
            place.mkdir()
        elif kind == "link":
            place.symlink_to(target)
        elif kind == "loop":
            place.symlink_to(place)
        elif kind == "pipe" and sys.platform != "win32":
            os.mkfifo(place)
        elif kind == "inside" and others:
            place.symlink_to(self.draw.choice(others))

    @staticmethod
    def remove(file: Path) -> None:
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink()

    def rewrite(self, file: Path) -> None:
        """Change one value in JSON, wherever it lies."""
        try:
            lines = [json.loads(line) for line in head(file).splitlines()] if file.suffix == ".jsonl" else []
            content = lines or json.loads(head(file))
        except (ValueError, RecursionError):
            return
        places = [(owner, key) for owner, key in walk(content)]
        if not places:
            return
        owner, key = self.draw.choice(places)
        if self.draw.random() < 0.15:
            del owner[key]
        elif isinstance(owner, list) and self.draw.random() < 0.2:
            owner.append(owner[key])
        else:
            owner[key] = self.draw.choice(VALUES)
        text = "\n".join(map(json.dumps, lines)) + "\n" if lines else json.dumps(content)
        self._write(file, text.encode())

    def check_again(self) -> None:
        """Write checksums that fit the files."""
        for manifest in self.folder.rglob("distilled.json"):
            try:
                data = json.loads(head(manifest))
                for entry in data["classes"]:
                    images = sorted((manifest.parent / "images" / entry["folder"]).glob("*.png"))
                    entry["sha256"] = [hashlib.sha256(head(image)).hexdigest() for image in images]
                data["labels_sha256"] = ""
                self._write(manifest, json.dumps(data).encode())
            except (OSError, ValueError, TypeError, KeyError, RecursionError, AttributeError):
                continue
        for checksums in self.folder.rglob("checksums.jsonl"):
            if checksums.is_file() and not checksums.is_symlink():
                checksums.unlink()

    @staticmethod
    def _write(file: Path, data: bytes) -> None:
        file.unlink()  # it may be a hard link to a file of the original
        file.write_bytes(data)


def head(file: Path) -> bytes:
    """The first MiB of a file, which may have been made much longer; nothing of what is no file."""
    if not file.is_file():
        return b""
    with file.open("rb") as opened:
        return opened.read(2**20)


def walk(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in plain data, as its owner and the key or index."""
    pairs = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    for key, below in pairs:
        yield value, key
        yield from walk(below)


def _hangs(*_: object) -> None:
    raise TimeoutError(f"not done after {PATIENCE} seconds")


class Bench:
    """Strikes at copies of a folder and reads them. Whatever is no CondenseError is kept by where it came from."""

    def __init__(self, base: Path, place: Path, read: Callable[[Path, random.Random], None]) -> None:
        self.base, self.place, self.read = base, place, read
        self.cases, self.refused = 0, 0
        self.found: Counter[str] = Counter()

    def case(self, draw: random.Random) -> None:
        self.cases += 1
        folder, outside = self.place / "case", self.place / "outside"
        for path in (folder, outside):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.base, folder)
        outside.mkdir()
        Vandal(folder, outside, draw).strike()
        signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(PATIENCE)
        try:
            self.read(folder, draw)
        except CondenseError as error:
            self.refused += 1
            assert len(str(error)) < 3000
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self.found[f"{type(error).__name__} at {frame.filename}:{frame.lineno}"] += 1
            if not SECONDS:
                raise
        finally:
            signal.alarm(0)


def trial(bench: Bench, examples: int) -> None:
    """Strike as often as the suite allows, or for the seconds that were asked for."""

    def rounds(number: int, count: int) -> None:
        @seed(number)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.randoms(use_true_random=False))
        def strikes(draw: random.Random) -> None:
            bench.case(draw)

        strikes()

    if not SECONDS:
        rounds(0, examples)
        return
    began, number = time.monotonic(), 0
    while time.monotonic() - began < SECONDS / 2:
        rounds(number, 50)
        number += 1
    sys.stdout.write(f"\n{bench.cases} cases, {bench.refused} refused; {dict(bench.found)}\n")
    assert not bench.found


@pytest.fixture(scope="module")
def registry(make_dataset: Any, make_registry: Any) -> Registry:
    found: Registry = make_registry(make_dataset())
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A finished run with soft labels, a teacher, chunks and students."""
    return condense.run(
        method="sre2l",
        dataset="tiny",
        ipc=2,
        students=1,
        device="cpu",
        out=tmp_path_factory.mktemp("fuzz"),
        name="run",
        registry=registry,
        settings=OF_RUN,
    ).path


OF_RUN = {
    "recover.iterations": 1,
    "recover.batch": 4,
    "protocol.labels": "soft",
    "protocol.epochs": 1,
    "protocol.batch_size": 4,
}


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
def test_nothing_but_condense_errors_comes_out_of_an_artifact(
    run: Path, tmp_path: Path, registry: Registry
) -> None:
    def read(folder: Path, draw: random.Random) -> None:
        errors = []
        for one in (lambda: artifact.load(folder, registry), lambda: content_hash(folder)):
            try:
                one()
            except CondenseError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        if draw.random() < 0.3:
            condense.evaluate(
                folder,
                students=1,
                student=STUDENT,
                device="cpu",
                settings={"protocol.epochs": 1, "protocol.batch_size": 4},
                registry=registry,
            )

    trial(Bench(run / "distilled", tmp_path, read), 60)


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
def test_nothing_but_condense_errors_comes_out_of_a_run_directory(
    run: Path, tmp_path: Path, registry: Registry
) -> None:
    def read(folder: Path, draw: random.Random) -> None:
        with contextlib.suppress(CondenseError):
            RunFolder(folder).state()
        options: dict[str, Any] = {
            "dataset": "tiny",
            "ipc": 2,
            "students": 1,
            "device": "cpu",
            "settings": OF_RUN,
        }
        config = configure(registry, method="sre2l", **options)
        with contextlib.suppress(CondenseError):
            check_run_ahead(config, folder, registry, resume=True)
        condense.run(
            method="sre2l", out=folder.parent, name=folder.name, resume=True, registry=registry, **options
        )

    trial(Bench(run, tmp_path, read), 15)
