"""Pieces of work as data: what a run and a comparison consist of, and which piece needs which other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

# "teacher": train or load it. "pool": train one of its networks. "shard": show losses a part of the real images. "fit":
# merge the shards, or show losses all real images, and fit them.
# "start": the images of one initializer, as a candidate. "chunk": recover its images. "images": put chunks together
# and label them. "student": train one, and test it.
Kind = Literal["teacher", "pool", "shard", "fit", "start", "chunk", "images", "student"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of work. One process does it from beginning to end, whichever process that is.

    kind: what is done.
    job: the key, in the order that workers have, of what it belongs to, such as a run.
    name: which images students learn from, or which initializer makes images; "" for other kinds.
    index: its number among the pieces of its kind and name.
    group: the key of the `Group` in which its progress is shown; "" for a piece that is shown by itself.
    stage: the stage of the run that its seconds belong to.
    alone: whether no other piece of the work can be done beside it, so that it may have all cores.
    inputs, outputs: files in the folder of its job, such as a run directory, with slashes.
    """

    kind: Kind
    job: str = ""
    name: str = ""
    index: int = 0
    group: str = ""
    stage: str = ""
    alone: bool = False
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from all other pieces."""
        return self.job, self.kind, self.name, self.index

    def text(self) -> str:
        """Return the piece for people: "chunk 3", "student 0 of method"."""
        of = f" of {self.name}" if self.name else ""
        return (
            f"{self.kind} {self.index}{of}"
            if self.kind in ("chunk", "pool", "shard", "student")
            else f"{self.kind}{of}"
        )


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pieces whose progress is shown as one: all chunks, or all students that learn from the same images.

    stage, detail, unit: as a Reporter is told.
    units: how many units there are for each output of a piece.
    summary: called when all are done; returns how it went.
    """

    stage: str
    detail: str
    unit: str
    units: int
    summary: Callable[[], str] = str

    def of(self, pieces: Iterable[Piece]) -> int:
        """Return how many units some pieces have together."""
        return sum(self.units * max(1, len(piece.outputs)) for piece in pieces)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A piece that is done.

    facts: what it found, as plain data, beside its files.
    seconds: how long it took the worker.
    """

    piece: Piece
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A piece that failed, or that is left out because another one failed.

    error: why.
    """

    piece: Piece
    error: BaseException
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A piece whose worker has gone. It is done again elsewhere.

    reason: what is known of the worker's end.
    """

    piece: Piece
    reason: str


Event = Finished | Failed | Lost


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pieces to be done, with what the driver does around them.

    pieces: in an order in which one worker can do them.
    done: those whose outputs are there already.
    groups: by their keys.
    keep: told of each piece when it ends.
    spent: told of the seconds of a piece that did not end.
    apart: returns what a failure ends with it: pieces of the same answer. By default, all pieces.

    Raises ValueError for a piece that needs the output of a later one, and for two with the same key.
    """

    pieces: Sequence[Piece]
    done: Collection[Piece] = ()
    groups: Mapping[str, Group] = field(default_factory=dict)
    keep: Callable[[Finished], None] = lambda _: None
    spent: Callable[[Piece, float], None] = lambda _, __: None
    apart: Callable[[Piece], str] = lambda _: ""

    def __post_init__(self) -> None:
        check_order(self.pieces)


def check_order(pieces: Sequence[Piece]) -> None:
    """Raise ValueError unless every piece comes after those whose outputs it needs, and keys are different."""
    if len({piece.key for piece in pieces}) < len(pieces):
        raise ValueError("two pieces have the same key")
    later = Counter((piece.job, name) for piece in pieces for name in piece.outputs)
    for piece in pieces:
        for name in piece.inputs:
            if later[piece.job, name] > 0:
                raise ValueError(f"{piece.text()} needs {name}, which a later piece makes")
        later.subtract((piece.job, name) for name in piece.outputs)


def grouped(pieces: Iterable[Piece]) -> dict[str, list[Piece]]:
    """Return the pieces of each group, by its key."""
    found: dict[str, list[Piece]] = {}
    for piece in pieces:
        if piece.group:
            found.setdefault(piece.group, []).append(piece)
    return found


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Pieces of one kind, as people read a graph.

    kind: of the pieces; for students, with what they learn from. count: how many there are.
    needs: the kinds whose outputs they read. makes: the files or folders that they write.
    """

    kind: str
    count: int
    needs: tuple[str, ...]
    makes: tuple[str, ...]

    def text(self) -> str:
        """Return one line: "after teacher, fit: chunks/"."""
        needs = f"after {', '.join(self.needs)}: " if self.needs else ""
        return (
            f"{self.count} x {needs}{', '.join(self.makes)}"
            if self.count > 1
            else f"{needs}{', '.join(self.makes)}"
        )


def outlined(pieces: Sequence[Piece]) -> list[Outline]:
    """Return the graph of pieces with counts, in the order in which kinds first appear."""
    made_by = {(piece.job, name): _kind(piece) for piece in pieces for name in piece.outputs}
    members: dict[str, list[Piece]] = {}
    for piece in pieces:
        members.setdefault(_kind(piece), []).append(piece)
    found = []
    for kind, some in members.items():
        read = (made_by.get((piece.job, name), "") for piece in some for name in piece.inputs)
        written = (name for piece in some for name in piece.outputs)
        found.append(
            Outline(
                kind=kind,
                count=len(some),
                needs=tuple(dict.fromkeys(filter(None, read))),
                makes=tuple(
                    dict.fromkeys(f"{name.partition('/')[0]}/" if "/" in name else name for name in written)
                ),
            )
        )
    return found


def _kind(piece: Piece) -> str:
    """Return the kind of a piece for people; students that judge and those that learn from other images are apart."""
    if piece.kind != "student":
        return piece.kind
    return (
        "judge"
        if piece.stage == "select"
        else "student"
        if piece.stage != "reference"
        else "reference student"
    )
