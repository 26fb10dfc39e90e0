"""A folder through which a driver and its workers talk, on storage that all of them share.

    waiting/N          a piece, pickled; the one with the lowest number is taken first
    taken/N@WORKER     the same file, renamed by the worker that took it, which succeeds for one worker alone
    told/N@WORKER      what the piece reports: a line of JSON for each message
    ended/N@WORKER     what became of it, or nothing if the worker was interrupted and has begun again
    alive/WHO          a number that changes while a worker, or the driver, is there
    dismissed/WORKER   there when a worker is to end
    closed             there when all workers are to end

Every file but those in `told` and `alive` appears as a whole.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# A call of a Reporter's method: its name, and its arguments.
Message = tuple[str, tuple[Any, ...]]
DRIVER = "driver"
_ROOMS = ("waiting", "taken", "told", "ended", "alive", "dismissed")
_BETWEEN = 5.0  # seconds between two signs of life


class Box:
    """The folder, for either side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, int] = {}

    def prepare(self) -> None:
        """Make the rooms of the box."""
        for room in _ROOMS:
            (self.path / room).mkdir()

    # The driver's side.

    def put(self, number: int, piece: bytes) -> None:
        """Put a pickled piece where workers find it."""
        self._write(f"waiting/{number:08}", piece)

    def taken(self) -> dict[int, str]:
        """Return which worker took each piece, by number; pieces that were forgotten are left out."""
        return dict(self._listed("taken"))

    def ended(self) -> dict[int, bytes]:
        """Return what became of the pieces that ended, by number; nothing is b""."""
        found = {}
        for number, worker in self._listed("ended"):
            with suppress(FileNotFoundError):  # another computer may list what has gone
                found[number] = (self.path / "ended" / _file(number, worker)).read_bytes()
        return found

    def news(self, number: int, worker: str) -> list[Message]:
        """Return what a piece has reported since the last call."""
        name = _file(number, worker)
        try:
            with (self.path / "told" / name).open("rb") as file:
                file.seek(self._read.get(name, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        self._read[name] = self._read.get(name, 0) + len(whole) + len(newline)
        messages = [json.loads(line) for line in whole.splitlines()]
        return [(call, tuple(arguments)) for call, arguments in messages]

    def forget(self, number: int) -> None:
        """Remove the files of a piece, wherever it is."""
        (self.path / "waiting" / f"{number:08}").unlink(missing_ok=True)
        for room in ("taken", "told", "ended"):
            for known, worker in self._listed(room):
                if known == number:
                    (self.path / room / _file(number, worker)).unlink(missing_ok=True)

    def dismiss(self, worker: str) -> None:
        """Have a worker end."""
        self._write(f"dismissed/{worker}", b"")

    def close(self) -> None:
        """Have all workers end."""
        self._write("closed", b"")

    # The side of a worker.

    def take(self, worker: str) -> tuple[int, bytes] | None:
        """Return the first piece that waits, with its number, or None. It belongs to the worker from now on."""
        for name in sorted(self._names("waiting")):
            mine = self.path / "taken" / f"{name}@{worker}"
            with suppress(FileNotFoundError):
                (self.path / "waiting" / name).rename(mine)
            # Over a network, an answer may be lost, so that what has been renamed seems to be gone.
            if mine.exists():
                return int(name), mine.read_bytes()
        return None

    def left(self, worker: str) -> list[int]:
        """Return the pieces that a worker of this name has taken and not ended."""
        ended = {number for number, _ in self._listed("ended")}
        return [number for number, owner in self._listed("taken") if owner == worker and number not in ended]

    def tell(self, number: int, worker: str, message: Message) -> None:
        """Write down what a piece reports."""
        line = json.dumps(message, default=float)
        with (self.path / "told" / _file(number, worker)).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def end(self, number: int, worker: str, outcome: bytes) -> None:
        """Write down what became of a piece; b"" if it was interrupted."""
        self._write(f"ended/{_file(number, worker)}", outcome)

    def closed(self, worker: str) -> bool:
        """Return whether a worker is to end."""
        told = (self.path / "closed", self.path / "dismissed" / worker)
        return any(path.exists() for path in told) or not self.path.exists()

    # Both sides.

    def sign(self, who: str) -> str:
        """Return the last sign of life of a worker or the driver; "" if there was none."""
        try:
            return (self.path / "alive" / who).read_text(encoding="utf-8")
        except OSError:  # also if the network has gone for a moment
            return ""

    @contextmanager
    def alive(self, who: str) -> Iterator[None]:
        """Give signs of life inside the block."""
        over = threading.Event()

        def beat() -> None:
            count = 0
            while True:
                count += 1
                with suppress(OSError):  # the next one may succeed
                    (self.path / "alive" / who).write_text(str(count), encoding="utf-8")
                if over.wait(_BETWEEN):
                    return

        thread = threading.Thread(target=beat, name=f"signs of {who}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        unfinished = self.path / f".{name.replace('/', '-')}"
        unfinished.write_bytes(content)
        unfinished.replace(path)

    def _listed(self, room: str) -> list[tuple[int, str]]:
        parts = [name.partition("@") for name in self._names(room)]
        return [(int(number), worker) for number, _, worker in parts]

    def _names(self, room: str) -> list[str]:
        folder = self.path / room
        with suppress(OSError):
            folder.chmod(0o700)  # so that a network file system lists what other computers wrote just now
        try:
            return [path.name for path in folder.iterdir()]
        except FileNotFoundError:  # The driver has gone and taken the box along.
            return []


def _file(number: int, worker: str) -> str:
    return f"{number:08}@{worker}"
