"""Drive a run: have its pieces done, resume what is done, and save the result."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from condense.data.dataset import RealDataset
from condense.engine.evaluate import Score, known_result
from condense.engine.measure import check_teacher
from condense.engine.parts import parts_of
from condense.engine.plan import Plan, make_plan
from condense.engine.preflight import preflight
from condense.engine.real import counts_in, real_dataset
from condense.engine.select import Choice, best, candidate_text, judge_of, judged_starts, long_choice_note
from condense.engine.squeeze import fresh_teacher
from condense.engine.unfinished import discard
from condense.executors.board import Board
from condense.executors.executor import Executor
from condense.executors.foreman import OneScript, Results, Script, carry_out
from condense.executors.pieces import Batch, Failed, Finished, Group, Piece, grouped
from condense.recipe.config import RunConfig
from condense.recipe.registry import Chosen, Registry
from condense.recipe.sources import files_of_run, sources_of_run
from condense.runs import provenance
from condense.runs.ahead import check_teacher_is_needed
from condense.runs.bench import RunJob
from condense.runs.build import build_parts, check_images
from condense.runs.graph import METHOD, REFERENCE, RunGraph, graph_of, title_of, unfinished_of
from condense.runs.journal import Journal, earlier_config
from condense.runs.machine import runtime_of
from condense.runs.metrics import merge_metrics
from condense.runs.report import write_report
from condense.runs.result import RunResult
from condense.runs.site import RunOrder, RunSite
from condense.runs.teachers import Teachers
from condense.runs.usual import divided_backward, usual_executor
from condense.runtime import Reporter, Runtime, process_settings
from condense.storage import artifact
from condense.storage.files import read_json, write_text
from condense.storage.grid import save_grid
from condense.storage.locks import held
from condense.storage.run_folder import RunFolder
from condense.text import counted


def run(
    config: RunConfig,
    path: Path,
    *,
    registry: Registry,
    reporter: Reporter | None = None,
    resume: bool = False,
    teachers: Teachers | None = None,
    executor: Executor | None = None,
    given: Collection[str] | None = None,
) -> RunResult:
    """Condense a dataset and evaluate the result. Everything that the run saves lies under `path`.

    resume: continue the run in `path`, which must have the same recipe.
    teachers: the folder of trained teachers that runs share; None keeps the teacher to this run.
    executor: has the pieces done; None for the one that suits the work.
    given: keys of the user's settings for this run; None if it need not be said that one has no effect.

    Raises CondenseError with a message for users.
    """
    machine = config.machine
    loaders = machine.loaders if executor is None or executor.alone else 0
    runtime = runtime_of(replace(machine, loaders=loaders), reporter)
    job = RunJob(config=config, path=path, teachers=teachers.path if teachers else None)
    results: list[RunResult] = []
    with ExitStack() as locks, process_settings(runtime):
        if resume:
            RunFolder.open(path)
            locks.enter_context(held(path))
        board = Board(runtime.reporter)
        dataset = real_dataset(config.recipe, machine, registry, runtime)
        site = RunSite(jobs={"": job}, registry=registry, machine_runtime=runtime, dataset=dataset)
        if executor is None:
            counts = counts_in(dataset)
            backward = divided_backward(make_plan(config, registry), counts)
            executor = usual_executor(backward, counts, runtime, registry)
        # It is there before any worker starts.
        order = order_of(site, config, probe=path / "run.json")

        def script(driver: RunDriver) -> Script[None]:
            results.append((yield from driver.steps(resume=resume, locks=locks)))

        with executor.crew(order, site, board.tell) as crew:
            driver = RunDriver(
                job=job,
                registry=registry,
                runtime=runtime,
                dataset=dataset,
                shown=path,
                threads=(crew.threads, crew.alone),
                given=given,
            )
            carry_out(OneScript(script(driver)), crew, board)
    return results[0]


def order_of(site: RunSite, config: RunConfig, probe: Path) -> RunOrder:
    """Return the order by which other processes build a site like this one. probe: what each of them must see."""
    runtime, registry = site.machine_runtime, site.registry
    device = config.machine.device
    machine = replace(
        config.machine,
        device=runtime.device.type if device == "auto" else device,
        precision=runtime.precision,
        loaders=0,
    )
    return RunOrder(
        recipe=config.recipe,
        machine=machine,
        jobs=site.jobs,
        folder=str(Path.cwd()),
        plugins=registry.chosen or Chosen(),
        probe=str(probe),
    )


@dataclass(kw_only=True)
class RunDriver:
    """The driver's part of a run: it writes run.json, and has the pieces done by whoever does pieces.

    key: of the job in the order that workers have. shown: the run directory as the user wrote it.
    threads: as in `Crew`: of each worker, and for a piece that is done alone.
    given: keys of the user's settings for this run; None in a comparison, where a row may leave its teacher unread.
    """

    job: RunJob
    registry: Registry
    runtime: Runtime
    dataset: RealDataset
    shown: Path
    key: str = ""
    threads: tuple[int, int] = (0, 0)
    given: Collection[str] | None = None
    notes: list[str] = field(default_factory=list)

    def steps(self, *, resume: bool, locks: ExitStack | None) -> Script[RunResult]:
        """Check the run, begin or continue it, yield its pieces and return the result.

        locks: keeps the lock on the run directory; None if the caller has locked it.
        """
        config, path, registry = self.job.config, self.shown, self.registry
        plan = make_plan(config, registry)
        if self.given is not None:
            check_teacher_is_needed(plan, self.given)
        parts = build_parts(plan, registry)
        check_images(config.recipe.ipc, self.dataset, parts.coder)
        # Refuse what cannot work before anything is written.
        preflight(parts_of(plan), self.dataset, registry, self.runtime, chosen=config.recipe.dataset)
        if plan.needs_teacher:
            teacher = fresh_teacher(config.recipe, self.dataset, registry, self.runtime)
            check_teacher({loss.name: loss.needs for loss in parts.losses}, teacher)
        host = provenance.host(self.runtime, config, *self.threads)
        sources = sources_of_run(config, registry), files_of_run(config, registry)
        if resume:
            earlier = earlier_config(path, registry)
            journal = Journal.resume(path, config, earlier, host, *sources)
            self._tell_threads(journal, host)
        else:
            RunFolder.check_free(path)
            if locks is not None:
                locks.enter_context(held(path))
            journal = Journal.begin(path, config, provenance.versions(registry), host, *sources)
            if self.dataset.held_out:
                write_text(RunFolder(path).held_out, "".join(f"{name}\n" for name in self.dataset.held_out))
        with journal.stopping():
            return (yield from self._execute(plan, journal))

    def _tell_threads(self, journal: Journal, host: Mapping[str, str]) -> None:
        """Keep, with a note, that finished pieces of the run were made with another number of threads."""
        before = journal.host.get("threads", "") if journal.folder.begun else ""
        told = provenance.other_threads(before, host) if before else ""
        if told:
            self.notes.append(told)
        journal.host["threads"] = (
            provenance.with_threads(before, host["threads"]) if told else host["threads"]
        )

    def _execute(self, plan: Plan, journal: Journal) -> Script[RunResult]:
        self.notes += [*self.dataset.notes, *plan.notes, *long_choice_note(plan, counts_in(self.dataset))]
        for note in self.notes:
            self.runtime.reporter.note(note)
        label = provenance.students_label(plan.evaluation, self.runtime)
        graph = graph_of(plan, self.dataset, RunFolder(self.shown), self.key, label)
        work = _Work(graph, journal, self.runtime.reporter)
        start = ""
        if plan.selects:
            yield from work.do([*graph.trained(), *graph.candidates()])
            start = best(judged_starts(plan, graph.folder)).start
            rest = [*graph.images(start), *graph.students()]
        else:
            rest = [*graph.trained(), *graph.images(), *graph.students()]
        yield from work.do(rest)
        return self._result(plan, journal, work)

    def _result(self, plan: Plan, journal: Journal, work: _Work) -> RunResult:
        folder = work.graph.folder
        distilled = artifact.load(folder.distilled, self.registry)
        save_grid(distilled, folder.grid)
        choice = journal.facts.get("select", {}).get("choice") if plan.selects else None
        result = RunResult(
            path=folder.path,
            config=self.job.config,
            distilled=distilled,
            scores=work.scores(),
            teacher_accuracy=journal.facts["squeeze"]["accuracy"] if plan.needs_teacher else None,
            seconds=journal.seconds,
            notes=self.notes,
            versions=provenance.versions(self.registry),
            choice=msgspec.convert(choice, Choice) if choice else None,
        )
        merge_metrics(folder, [])
        outcome = result.to_dict()
        write_report(folder.report, outcome, folder.grid.read_bytes())
        journal.finish(outcome)
        return result


class _Work:
    """The pieces of a run, and what the driver keeps of them."""

    def __init__(self, graph: RunGraph, journal: Journal, reporter: Reporter) -> None:
        self.graph, self._journal, self._reporter = graph, journal, reporter
        self._found: dict[Piece, Mapping[str, Any]] = {}

    def do(self, pieces: Sequence[Piece]) -> Script[None]:
        """Yield what is not done of some pieces. Raises the error of the first piece that failed."""
        known = [piece for piece in pieces if piece.kind != "shard" and self._is_done(piece)]
        # Shards are gone when they are merged.
        fitted = any(piece.kind == "fit" for piece in known)
        if fitted:
            self.graph.folder.remove_shards()
        known += [piece for piece in pieces if piece.kind == "shard" and (fitted or self._is_done(piece))]
        for piece in known:  # a process may have been killed after it wrote the last of a piece
            for name in unfinished_of(piece):
                discard(self.graph.path / name)
        for piece in pieces:
            if piece.stage:
                self._journal.facts.setdefault(piece.stage, {"seconds": 0.0})
        results: Results = yield Batch(
            pieces=pieces,
            done=known,
            groups={name: self._group(members, known) for name, members in grouped(pieces).items()},
            keep=self._keep,
            spent=lambda piece, seconds: self._journal.add(piece.stage, seconds, {}),
        )
        for result in results.values():
            if isinstance(result, Failed):
                raise result.error

    def scores(self) -> list[Score]:
        """Return the scores of the run's students, for the method and for random real images."""
        students = self.graph.students()
        return [
            self._score([piece for piece in students if piece.name == name])
            for name in (METHOD, REFERENCE)
            if any(piece.name == name for piece in students)
        ]

    def _score(self, pieces: Sequence[Piece]) -> Score:
        # What a worker elsewhere wrote may be seen here a moment later, so its answer is taken.
        results: list[Any] = []
        for piece in pieces:
            known = self._found.get(piece)
            results += (
                known["students"] if known else [read_json(self.graph.path / name) for name in piece.outputs]
            )
        return Score(
            label=title_of(pieces[0].name, self.graph.plan.recipe.method),
            students=tuple(map(known_result, results)),
        )

    def _file(self, piece: Piece) -> Path:
        return self.graph.path / piece.outputs[0]

    def _is_done(self, piece: Piece) -> bool:
        """Return whether a piece of an earlier attempt is there and undamaged.

        The images are put together in any case, because another evaluation may want other labels.
        """
        if piece.kind == "images" or (
            piece.kind == "teacher" and "accuracy" not in self._journal.facts.get("squeeze", {})
        ):
            return False
        note, folder = self._reporter.note, self.graph.folder
        if piece.kind == "pool":
            return folder.pool_checksums.usable(self._file(piece), note)
        usable = all(folder.checksums.usable(self.graph.path / name, note) for name in piece.outputs)
        if usable and piece.kind in ("teacher", "fit"):
            what = "teacher" if piece.kind == "teacher" else "measurements"
            note(f"{what} taken from {self._file(piece)}")
        return usable

    def _keep(self, finished: Finished) -> None:
        """Write down what a piece found, and how long it took."""
        piece = finished.piece
        self._found[piece] = finished.facts
        if piece.kind == "fit":
            self.graph.folder.remove_shards()
        merge_metrics(self.graph.folder, [piece])
        self._journal.add(
            piece.stage, finished.seconds, finished.facts if piece.kind in ("teacher", "images") else {}
        )
        if "choice" in finished.facts:
            self._reporter.note(msgspec.convert(finished.facts["choice"], Choice).text())

    def _group(self, members: Sequence[Piece], done: Sequence[Piece]) -> Group:
        """Return a group of pieces, and how it is shown."""
        plan, piece = self.graph.plan, members[0]
        if piece.kind == "chunk":
            steps = plan.recipe.recover.iterations
            unit = "step" if steps else "chunk"
            return Group(
                stage="recover", detail=counted(len(members), "chunk"), unit=unit, units=max(1, steps)
            )
        if piece.kind == "shard":
            shown = max(1, plan.recipe.recover.measured_views) * self.graph.images_of_dataset
            detail = f"{self.graph.images_of_dataset} training images in {counted(len(members), 'shard')}"
            return Group(stage="measure", detail=detail, unit="image", units=shown // len(members))
        if piece.kind == "pool":
            known = sum(one in done for one in members)
            told = f", {known} of them found" if known else ""
            networks = f"{counted(len(members), 'network')} ({plan.recipe.pool_network.name}){told}"
            return Group(stage="pool", detail=networks, unit="epoch", units=plan.recipe.pool.epochs)
        if piece.stage == "select":
            images = self.graph.classes * plan.images_per_class
            title, epochs = candidate_text(piece.name), judge_of(plan.recipe, images).epochs
        else:
            title = title_of(piece.name, plan.recipe.method)
            epochs = plan.evaluation.protocol.epochs
        return Group(
            stage="select" if piece.stage == "select" else "evaluate",
            detail=f"{counted(sum(len(one.outputs) for one in members), 'student')} on {title}",
            unit="epoch",
            units=epochs,
            summary=lambda: self._score(members).text(),
        )
