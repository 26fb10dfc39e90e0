"""Where the work of comparisons lies: names that are the same for the same work, so that it is shared."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from condense.comparison.columns import Course
from condense.comparison.terms import CELLS, DATASETS, TEACHERS
from condense.data.dataset import RealDataset
from condense.errors import StorageError
from condense.recipe.config import RunConfig
from condense.recipe.method import Use
from condense.recipe.registry import HOST, Registry
from condense.runs.teachers import Teachers, known_by_content, split_hash
from condense.runtime import Runtime
from condense.storage.files import read_json, write_json
from condense.storage.run_folder import RunFolder
from condense.version import host_version


@dataclass(frozen=True)
class Shelf:
    """The folder that comparisons share. What decides a piece of work decides its name."""

    out: Path
    registry: Registry
    runtime: Runtime

    def run_config(self, config: RunConfig) -> RunConfig:
        """With the device and the precision that "auto" stands for here."""
        precision = "bf16" if self.runtime.bf16 else "fp32"
        return replace(config, device=str(self.runtime.device), precision=precision)

    def cell(self, config: RunConfig) -> RunFolder:
        """Where this is distilled, there or not."""
        kind, _, argument = config.dataset.name.partition(":")
        dataset = "-".join(filter(None, (kind, Path(argument).name)))
        stem = f"{config.method}-{dataset}-ipc{config.ipc}-seed{config.seed}"
        plain = replace(self.run_config(config), data_dir="").to_dict()
        own = {"condense": host_version(), "torch": importlib.metadata.version("torch")}
        versions = {**own, **self._versions(_distilling(config))}
        made_of = [plain, known_by_content(config.teacher).checkpoint, versions]
        return RunFolder(self.out / CELLS / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', stem)}-{_digest(made_of)}")

    def students(self, config: RunConfig, course: Course, count: int) -> list[Path]:
        """Where the results of a column's students lie, there or not, by their numbers."""
        protocol = msgspec.to_builtins(course.config.protocol)
        made_of: list[Any] = [
            {key: value for key, value in protocol.items() if key not in ("name", "summary", "source")},
            course.config.student_model,
            course.config.evaluator,
            course.config.teacher,
            [config.seed, config.dataset, config.validation],
            [self.runtime.device.type, self.runtime.bf16],
        ]
        uses = [("evaluator", course.config.evaluator.name), *_models(course.config.student_model)]
        versions = self._versions(uses)
        made_of += [versions] if versions else []
        name = f"{course.column.protocol}-{course.column.epochs}-{_digest(made_of)}"
        folder = self.cell(config)
        return [folder.student(name, number) for number in range(count)]

    @property
    def teachers(self) -> Teachers:
        """Where teachers are kept."""
        return Teachers(self.out / TEACHERS)

    def check_images(self, config: RunConfig, dataset: RealDataset) -> None:
        """Raise StorageError where work on other images lies here under the same name."""
        asked = [config.dataset, config.validation, config.teacher_seed]
        file = self.out / DATASETS / f"{_digest(asked)}.json"
        found = {
            "dataset": config.dataset.name,
            "images": [split_hash(dataset.train), split_hash(dataset.test)],
        }
        if not file.exists():
            write_json(file, found)
        elif read_json(file) != found:
            raise StorageError(
                f"{self.out} holds work on other images that were called {config.dataset.name!r} as well; choose "
                "another folder with --out"
            )

    def _versions(self, uses: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Of the plugins that bring these, by kind and name: a table must not mix the work of two versions."""
        plugins = {
            offer.plugin
            for kind, name in uses
            for offer in self.registry.offers(kind)
            if offer.spec.name == name
        }
        return {
            f"plugin {status.name}": status.version
            for status in self.registry.plugins
            if status.name in plugins and status.name != HOST and not status.problem
        }


def _distilling(config: RunConfig) -> list[tuple[str, str]]:
    """Kind and name of everything that has a part in making the images."""
    uses = [("method", config.method), ("initializer", config.initializer.name)]
    uses += [("feature target", use.name) for use in config.targets]
    uses += [("regularizer", use.name) for use in config.regularizers]
    uses += [("dataset", config.dataset.name.partition(":")[0])]
    return [*uses, *_models(config.teacher.model), *_models(config.network_of(config.recover.network))]


def _models(use: Use) -> list[tuple[str, str]]:
    """A network, and those that it is made of."""
    return [("model", name.partition(":")[0]) for name in (use.name, *use.options.get("members", ()))]


def between(folder: Path, other: Path) -> str:
    """The way from a folder to another place, with slashes."""
    return Path(os.path.relpath(other, folder)).as_posix()


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:10]
