"""The actors of the executor `ray`, with a stand-in for Ray that runs no process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("condense_ray", reason="this installation is older than the plugin")

from condense_ray.executor import Ray, RayCrew
from condense_ray.options import RayOptions

from condense.errors import OptionError, PluginError
from condense.executors.pieces import Failed, Finished, Lost, Piece
from condense.executors.placement import Placement


class GoneError(Exception):
    """What stands in for RayError."""


class TaskError(GoneError):
    """What stands in for RayTaskError."""


class Reference:
    """The outcome of a call: it is there at once, unless the call is to last."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def value(self) -> Any:
        return self._call()


class FakeRay:
    """A Ray whose actors are objects.

    dies: workers whose next piece finds them gone, by number. stillborn: those that go before they begin.
    """

    exceptions = SimpleNamespace(RayError=GoneError, RayTaskError=TaskError)

    def __init__(
        self, cpus: float = 4, gpus: float = 0, dies: tuple[int, ...] = (), stillborn: tuple[int, ...] = ()
    ) -> None:
        self.resources = {"CPU": cpus, "GPU": gpus}
        self.dies, self.stillborn, self.killed = list(dies), list(stillborn), 0
        self.asked: list[dict[str, Any]] = []
        self.made: list[tuple[str, int]] = []

    def cluster_resources(self) -> Mapping[str, float]:
        return self.resources

    def put(self, value: Any) -> Any:
        return value

    def get(self, reference: Reference) -> Any:
        return reference.value()

    def wait(
        self, references: list[Any], *, num_returns: int = 1, timeout: float
    ) -> tuple[list[Any], list[Any]]:
        return references[:num_returns], references[num_returns:]

    def kill(self, _: Any) -> None:
        self.killed += 1

    def method(self, *, concurrency_group: str) -> Callable[[Any], Any]:
        return lambda function: function

    def remote(self, **_: Any) -> Callable[[type], Any]:
        def decorate(made: type) -> Any:
            return SimpleNamespace(options=lambda **asked: SimpleNamespace(remote=self._actor(made, asked)))

        return decorate

    def _actor(self, made: type, asked: dict[str, Any]) -> Callable[..., Any]:
        def create(order: bytes, device: str, threads: int) -> Any:
            self.asked.append(asked)
            self.made.append((device, threads))
            number, worker = len(self.made) - 1, made(order, device, threads)

            def call(name: str) -> Any:
                def remote(*arguments: Any) -> Reference:
                    if number in (self.dies if name == "do" else self.stillborn):
                        return Reference(self._gone)
                    answer = getattr(worker, name)(*arguments)
                    return Reference(lambda: answer)

                return SimpleNamespace(remote=remote)

            return SimpleNamespace(**{name: call(name) for name in ("do", "news", "process")})

        return create

    def _gone(self) -> Any:
        raise GoneError("The actor died.\nIts node went.")


class Site:
    def do(self, piece: Piece, reporter: Any) -> Mapping[str, Any]:
        reporter.start("recover", "chunk", 2, "step")
        reporter.advance(2)
        if piece.index == 9:
            raise OptionError("it cannot be done")
        return {"index": piece.index}


class Order:
    """An order that can be pickled; `refuses` says why no site can be built."""

    probe = ""

    def __init__(self, kind: str = "cpu", refuses: str = "") -> None:
        self.kind, self.refuses = kind, refuses

    @contextmanager
    def site(self, placement: Placement) -> Iterator[Site]:
        if self.refuses:
            raise OptionError(self.refuses)
        yield Site()


@pytest.fixture(autouse=True)
def _pickled_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """pickle finds classes by the names of their modules, and pytest imports this one by its path."""
    monkeypatch.setitem(sys.modules, Order.__module__, sys.modules.get(Order.__module__, _own()))


def _own() -> Any:
    return SimpleNamespace(Order=Order)


def crew(ray: FakeRay, order: Order | None = None, **options: Any) -> tuple[RayCrew, list[Any]]:
    told: list[Any] = []
    made = RayCrew(
        ray,
        order or Order(),
        RayOptions(**options),
        lambda piece, message: told.append((piece.index, message)),
    )
    return made, told


def chunk(index: int) -> Piece:
    return Piece(kind="chunk", index=index)


def test_pieces_go_to_free_workers_and_come_back_with_what_was_reported() -> None:
    ray = FakeRay()
    made, told = crew(ray, cores=2)
    assert (made.size, made.idle()) == (2, 2)
    for index in (0, 1):
        made.give(chunk(index))
    found: list[Any] = []
    while len(found) < 2:
        found += made.wait()
    assert sorted((event.piece.index, event.facts["index"]) for event in found) == [(0, 0), (1, 1)]
    assert all(isinstance(event, Finished) for event in found)
    assert [message for index, message in told if index == 0] == [
        ("start", ("recover", "chunk", 2, "step")),
        ("advance", (2, None)),
    ]
    made.end()
    assert ray.killed == 2


def test_an_error_of_a_piece_is_that_error() -> None:
    made, _ = crew(FakeRay(cpus=2))
    assert made.idle() == 1
    made.give(chunk(9))
    [failed] = made.wait()
    assert isinstance(failed, Failed) and isinstance(failed.error, OptionError)
    assert str(failed.error) == "it cannot be done"


def test_what_a_site_lacks_is_told() -> None:
    made, _ = crew(FakeRay(cpus=2), Order(refuses="storage is not shared"))
    assert made.idle() == 1
    made.give(chunk(0))
    [failed] = made.wait()
    assert isinstance(failed, Failed) and str(failed.error) == "storage is not shared"


def test_workers_that_end_before_they_begin_are_started_again_twice() -> None:
    made, _ = crew(FakeRay(cpus=2, stillborn=(0, 1)))
    assert made.idle() == 1


def test_a_cluster_whose_workers_never_begin_is_given_up() -> None:
    made, _ = crew(FakeRay(cpus=2, stillborn=(0, 1, 2)))
    with pytest.raises(
        OptionError, match=r"3 workers of Ray ended before they began, the last one .*The actor died\."
    ):
        made.idle()


def test_a_place_where_no_worker_begins_is_given_up_while_others_work() -> None:
    ray = FakeRay(cpus=4, stillborn=(1, 2, 3))
    made, _ = crew(ray)
    assert made.idle() == 1
    for _ in range(3):
        made.give(chunk(0))
        [found] = made.wait()
        assert isinstance(found, Finished)
    assert (made.idle(), len(ray.made)) == (1, 4)


def test_failed_starts_count_from_the_last_worker_that_began() -> None:
    ray = FakeRay(cpus=2, stillborn=(0, 1, 3, 4), dies=(2,))
    made, _ = crew(ray)
    assert made.idle() == 1
    made.give(chunk(0))
    [lost] = made.wait()
    assert isinstance(lost, Lost)
    assert (made.idle(), len(ray.made)) == (1, 6)


def test_a_worker_that_goes_is_replaced_and_its_piece_is_lost() -> None:
    ray = FakeRay(cpus=2, dies=(0,))
    made, _ = crew(ray)
    assert made.idle() == 1
    made.give(chunk(0))
    [lost] = made.wait()
    assert isinstance(lost, Lost)
    assert (lost.piece, lost.reason) == (chunk(0), "a worker of Ray went (The actor died.)")
    assert len(ray.made) == 2
    assert made.idle() == 1
    made.give(chunk(0))
    [found] = made.wait()
    assert isinstance(found, Finished)


@pytest.mark.parametrize(
    ("ray", "kind", "options", "size", "each", "place"),
    [
        (FakeRay(cpus=7), "cpu", {}, 3, {"num_cpus": 2}, ("cpu", 2)),
        (FakeRay(cpus=7), "cpu", {"workers": 2, "cores": 1, "threads": 3}, 2, {"num_cpus": 1}, ("cpu", 3)),
        (FakeRay(cpus=64, gpus=8), "cuda", {}, 8, {"num_gpus": 1, "num_cpus": 1}, ("cuda:0", 0)),
        (
            FakeRay(cpus=64, gpus=8),
            "cuda:3",
            {"workers": 99},
            8,
            {"num_gpus": 1, "num_cpus": 1},
            ("cuda:0", 0),
        ),
    ],
)
def test_a_worker_for_each_gpu_or_some_cores_spread_over_computers(
    ray: FakeRay, kind: str, options: Any, size: int, each: dict[str, int], place: tuple[str, int]
) -> None:
    made, _ = crew(ray, Order(kind), **options)
    assert made.size == size == len(ray.made)
    assert ray.asked == [{"scheduling_strategy": "SPREAD", **each}] * size
    assert set(ray.made) == {place}
    assert made.threads == place[1]


def test_a_cluster_without_room_is_told() -> None:
    with pytest.raises(OptionError, match="each worker needs 2 CPU, and Ray has 1"):
        crew(FakeRay(cpus=1))
    with pytest.raises(OptionError, match="each worker needs 1 GPU, and Ray has 0"):
        crew(FakeRay(), Order("cuda"))


@pytest.mark.parametrize("options", [{"workers": -1}, {"cores": 0}, {"threads": -1}])
def test_numbers_below_their_minimum_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        RayOptions(**options)


def test_without_ray_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PluginError, match=r"pip install 'condense-toolkit\[ray\]'"):
        Ray(RayOptions())
