"""The example of docs/plugins.md: it is offered, computes what it says, runs, and is what the page shows."""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner
from condense_cli.main import cli

import condense
from condense.data.dataset import DatasetRequest
from condense.engine import components
from condense.errors import OptionError
from condense.models import observation
from condense.models.catalog import ModelRequest
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.config import RunConfig
from condense.recipe.hooks import API_VERSION
from condense.recipe.method import Method, Teacher, Use, Weighted
from condense.recipe.needs import Needs, ThroughPool, ThroughRandomNetwork, ThroughTeacher
from condense.recipe.registry import DISABLE_VARIABLE, KINDS, Registry, load_registry
from condense.recipe.resolve import configure
from condense.recipe.specs import DatasetSpec, FeatureTargetSpec, InitializerSpec, ModelSpec, NoOptions
from condense.testing import CHECKS, check_plugin
from condense.testing.offered import KIND_OF

if TYPE_CHECKING:
    from condense_mean_feature.target import MeanFeature

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugin-mean-feature"
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
SMALL = {"teacher.model": "convnet", "teacher.model.width": 8, "teacher.epochs": 1, "recover.iterations": 3}

# (language, file or "", code) of every fenced block of the page.
BLOCKS = re.findall(r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```$', PAGE, flags=re.MULTILINE | re.DOTALL)
EXAMPLES_OF_HOOKS = [code for _, title, code in BLOCKS if not title and code.startswith("@hookimpl")]


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(DISABLE_VARIABLE, raising=False)
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "condense_mean_feature"]:
        del sys.modules[name]


def install(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    """Let these entry points be found beside the installed ones, of which none may have the same name."""
    names = {point.name for point in points}
    installed = importlib.metadata.entry_points

    def entry_points(**selection: str) -> EntryPoints:
        found = installed(**selection)
        if selection.get("group") != "condense":
            return found
        return EntryPoints([*(point for point in found if point.name not in names), *points])

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """What is offered with the example installed, by what its pyproject.toml says."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    [(name, module)] = project["entry-points"]["condense"].items()
    install(monkeypatch, EntryPoint(name, module, "condense"))
    return load_registry()


# It is offered.


def test_the_plugin_loads_and_speaks_this_version(registry: Registry) -> None:
    [status] = [status for status in registry.plugins if status.name == "mean-feature"]
    assert status.problem == ""
    assert sys.modules[status.module].condense_api == API_VERSION


def test_the_command_lists_its_method_and_its_option(registry: Registry) -> None:
    methods = CliRunner(env={"COLUMNS": "200"}).invoke(cli, ["methods"])
    assert re.search(r"^mean-feature +mean-feature +real images", methods.output, flags=re.MULTILINE)
    component = CliRunner(env={"COLUMNS": "200"}).invoke(cli, ["components", "show", "mean-feature"])
    assert "targets.mean-feature.shrink" in component.output


@pytest.mark.parametrize("dataset", ["fashion-mini", "fashion-mnist", "imagenette"])
def test_the_recipe_resolves_on_every_dataset(registry: Registry, dataset: str) -> None:
    config = configure(registry, method="mean-feature", dataset=dataset)
    assert config.recipe.losses == {"mean-feature": Weighted(1.0, {"shrink": 0.0})}
    assert config.recipe.recover.iterations == (1000 if dataset == "imagenette" else 300)


@pytest.mark.parametrize("value", ["-0.1", "1", "nan"])
def test_a_bad_option_is_refused_with_its_text(registry: Registry, value: str) -> None:
    with pytest.raises(OptionError, match=r"shrink must lie in \[0, 1\)|shrink=nan: must be a finite number"):
        configure(registry, method="mean-feature", settings=[("targets.mean-feature.shrink", value)])


def test_the_plugin_module_imports_no_torch() -> None:
    program = "import sys, condense_mean_feature.plugin; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=EXAMPLE, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "False", done.stderr


# Its loss is the formula.


def seen(batch: BatchLabels, features: torch.Tensor) -> Observation:
    count = len(features)
    return Observation(
        images=torch.zeros(count, 1, 4, 4), batch=batch, features=features, logits=torch.zeros(count, 3)
    )


def fitted(batches: list[Observation], shrink: float) -> MeanFeature:
    from condense_mean_feature.plugin import MeanFeatureOptions
    from condense_mean_feature.target import MeanFeature

    target = MeanFeature(MeanFeatureOptions(shrink=shrink))
    target.begin(3, torch.Generator())
    for batch in batches:
        target.observe(batch)
    target.fit(2, torch.Generator())
    return target


@pytest.mark.parametrize("shrink", [0.0, 0.25])
def test_the_loss_is_the_slow_formula(shrink: float) -> None:
    draws = torch.Generator().manual_seed(0)
    real_features = torch.randn(20, 5, generator=draws)
    real_labels = torch.arange(20) % 3
    real = seen(BatchLabels.of_real(real_labels), real_features)
    # A chunk with the classes 0 and 2 only, and unequal weights.
    labels, slots = torch.tensor([0, 0, 2, 2]), torch.tensor([0, 1, 0, 1])
    weights = torch.tensor([0.3, 0.7, 0.5, 0.5])
    features = torch.randn(4, 5, generator=draws, requires_grad=True)
    synthetic = seen(BatchLabels.of(labels, slots, weights), features)

    expected = 0.0
    for label in (0, 2):
        own = [real_features[i] for i in range(20) if real_labels[i] == label]
        wanted = (1 - shrink) * sum(own) / len(own) + shrink * sum(real_features) / 20
        mean = sum(weights[j] * features[j] for j in range(4) if labels[j] == label)
        expected += sum((mean[d] - wanted[d]).item() ** 2 for d in range(5))

    loss = fitted([real], shrink).loss(synthetic, None)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    [gradient] = torch.autograd.grad(loss, features)
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0

    halves = [
        seen(BatchLabels.of_real(real_labels[part]), real_features[part]) for part in (range(7), range(7, 20))
    ]
    assert fitted(halves, shrink).loss(synthetic, None).item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_zero_where_the_means_agree_and_survives_a_restart() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    target = fitted([seen(BatchLabels.of_real(torch.tensor([0, 0, 1])), features)], 0.0)
    batch = BatchLabels.of(torch.tensor([0, 1]), torch.zeros(2, dtype=torch.int64), torch.ones(2))
    synthetic = seen(batch, torch.tensor([[2.0, 1.0], [5.0, 5.0]]))
    assert target.loss(synthetic, None).item() == 0
    again = type(target)(target.options)
    again.restore(target.state())
    assert again.loss(synthetic, None).item() == 0


# It runs.


def test_a_few_steps_on_the_embedded_dataset(registry: Registry, tmp_path: Path) -> None:
    result = condense.run(
        method="mean-feature",
        ipc=2,
        students=0,
        settings=SMALL,
        out=tmp_path,
        device="cpu",
        registry=registry,
    )
    assert result.distilled.images.shape == (20, 1, 28, 28)
    logged = (result.path / "metrics.jsonl").read_text()
    assert '"mean-feature"' in logged


def test_it_keeps_the_contract(registry: Registry) -> None:
    here = [check for check in CHECKS if check not in ("import", "resume", *KIND_OF)]
    report = check_plugin("mean-feature", checks=here, registry=registry)
    assert {finding.state for finding in report.findings} == {"passed"}


# The page shows the example as it is, and tells no tales.


def test_the_unit_test_of_the_page_passes() -> None:
    [code] = [
        code for language, _, code in BLOCKS if language == "python" and "synthetic_observation(" in code
    ]
    names: dict[str, Any] = {}
    exec(code, names)  # Our own page.
    names["test_the_loss_is_the_distance_of_the_means"]()


def test_the_page_shows_every_check() -> None:
    """A table is that of the example, which passes all checks of its methods; another has those of what it lacks."""
    table = PAGE.partition("    condense plugins check mean-feature\n")[2].partition("every check passed")[0]
    assert re.findall(r"^    (\S+) +passed", table, flags=re.MULTILINE) == [
        check for check in CHECKS if check not in KIND_OF
    ]
    words = table.split()
    assert all(set(CHECKS[check].split()) <= set(words) for check in CHECKS if check not in KIND_OF)
    others = re.findall(
        r"^\| `(\w+)` \| (\w+) \| .+ \|$", PAGE.partition("| check | of |")[2], flags=re.MULTILINE
    )
    assert [check for check, _ in others[: len(KIND_OF)]] == list(KIND_OF)


def test_the_page_shows_every_file_of_the_example() -> None:
    shown = {title for _, title, _ in BLOCKS if title}
    package = EXAMPLE / "condense_mean_feature"
    files = {EXAMPLE / "pyproject.toml", *package.glob("*.py")} - {package / "__init__.py"}
    assert shown == {str(file.relative_to(ROOT)) for file in files}


@pytest.mark.parametrize(("title", "code"), [(title, code) for _, title, code in BLOCKS if title])
def test_a_block_that_names_a_file_is_that_file(title: str, code: str) -> None:
    assert code == (ROOT / title).read_text()


@pytest.mark.parametrize("code", [code for language, _, code in BLOCKS if language == "python"])
def test_every_python_block_parses(code: str) -> None:
    ast.parse(code)


def test_the_examples_of_the_hooks_make_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(re.findall(r"^def (\w+)\(\)", "".join(EXAMPLES_OF_HOOKS), re.MULTILINE)) == sorted(KINDS)
    module = ModuleType("plugin_of_the_page")
    vars(module).update({name: getattr(condense, name) for name in condense.__all__})
    exec("\n".join(EXAMPLES_OF_HOOKS), vars(module))  # Our own page.
    assert module.condense_protocols()[0].epochs == 200
    monkeypatch.setitem(sys.modules, module.__name__, module)
    install(monkeypatch, EntryPoint("page", module.__name__, "condense"))
    registry = load_registry()
    assert [status.problem for status in registry.plugins if status.name == "page"] == [""]
    assert all("page" in {offer.plugin for offer in registry.offers(kind)} for kind, _ in KINDS.values())


@pytest.mark.parametrize("hook_name", KINDS)
def test_every_hook_has_an_entry_of_its_own(hook_name: str) -> None:
    assert f"\n### `{hook_name}`\n" in PAGE


@pytest.mark.parametrize(
    "shown",
    [
        observation.Observation,
        observation.BatchLabels,
        observation.Moments,
        components.InitialRequest,
        components.EvaluationRequest,
        components.StudentResult,
        ModelRequest,
        DatasetRequest,
        InitializerSpec,
        ModelSpec,
        DatasetSpec,
    ],
)
def test_every_field_is_told_of(shown: Any) -> None:
    missing = [field.name for field in dataclasses.fields(shown) if not re.search(f"`{field.name}[`=]", PAGE)]
    assert missing == []


def test_every_question_that_a_request_answers_is_told_of() -> None:
    questions = [name for name, value in vars(components.InitialRequest).items() if inspect.isfunction(value)]
    public = [name for name in questions if not name.startswith("_")]
    assert sorted(public) == ["look", "observe", "real"]
    assert [name for name in public if f"`request.{name}(" not in PAGE] == []


def test_the_gradients_of_the_page_are_those_of_the_weights() -> None:
    """One linear layer: the gradient of its bias is the mean of (softmax - one-hot)."""
    [code] = [code for language, _, code in BLOCKS if language == "python" and "synthetic.parameters" in code]
    layer = torch.nn.Linear(5, 3)
    images = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    batch = BatchLabels.of_real(torch.tensor([0, 2, 1, 1]))
    logits = layer(images)
    shown = Observation(
        images=images, batch=batch, features=images, logits=logits, parameters=tuple(layer.parameters())
    )
    names: dict[str, Any] = {"torch": torch, "synthetic": shown}
    exec(code, names)  # Our own page.
    expected = (logits.softmax(dim=1) - torch.eye(3)[batch.labels]).mean(dim=0)
    torch.testing.assert_close(names["slopes"][1], expected)
    names["slopes"][0].square().sum().backward()
    assert images.grad is not None


def test_every_call_of_a_component_is_told_of() -> None:
    public = [name for name in vars(components.Loss) if not name.startswith("_")]
    public += [name for name in vars(components.FeatureTarget) if not name.startswith("_")]
    public += [name for name in vars(components.Initializer) if not name.startswith("_")]
    public += [name for name in vars(components.Evaluator) if not name.startswith("_")]
    assert [name for name in public if not re.search(rf"`{name}[`(]", PAGE)] == []


# What the page says can be written.


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealImages:
    """The options of the page's needs by an option."""

    real_batch: int = 7


def told_needs() -> list[Needs]:
    """The right column of the table of needs, evaluated."""
    [table] = re.findall(r"^\| you want \| you write \|$(.*?)^$", PAGE, flags=re.MULTILINE | re.DOTALL)
    names = {name: getattr(condense, name) for name in condense.__all__}
    found = []
    for code in re.findall(r"\| `((?:Needs|lambda).*?)`", table):
        value = eval(code, dict(names))  # Our own page.
        spec = FeatureTargetSpec(name="told", summary="one line", needs=value, build="nowhere:nothing")
        found.append(spec.needs_of(RealImages()))
    return found


def test_the_table_of_needs_says_all_that_can_be_needed() -> None:
    found = told_needs()
    assert {needs.network for needs in found} == {"teacher", "random", "pool", "trained", "none"}
    assert {statistic for needs in found for statistic in needs.statistics} == {"batchnorm", "convolutions"}
    assert {needs.at_once for needs in found} == {"batch", "whole classes", "one class"}
    assert {needs.real_per_class for needs in found} == {0, 64, 7}
    for asked in ("observes", "merges", "each_member", "weight_gradients", "float32"):
        assert {getattr(needs, asked) for needs in found} == {True, False}


@pytest.mark.parametrize("shown", [Needs, ThroughTeacher, ThroughRandomNetwork, ThroughPool])
def test_every_need_is_told_of(shown: Any) -> None:
    missing = [field.name for field in dataclasses.fields(shown) if f"{field.name}=" not in PAGE]
    assert missing == []


def made_by(start: str) -> Any:
    """What the block of the page that begins so defines."""
    [code] = [code for language, _, code in BLOCKS if language == "python" and code.startswith(start)]
    names = {name: getattr(condense, name) for name in condense.__all__} | {"torch": torch}
    before = set(names)
    exec(code, names)  # Our own page.
    [made] = [value for name, value in names.items() if name not in before and name != "__builtins__"]
    return made


def method_of_the_page(registry: Registry, monkeypatch: pytest.MonkeyPatch, **asked: Any) -> RunConfig:
    module = ModuleType("methods_of_the_page")
    module.condense_methods = condense.hookimpl(condense_methods_of([made_by("method = Method(")]))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    install(monkeypatch, EntryPoint("page", module.__name__, "condense"))
    return configure(load_registry(), method="my-method", **asked)


def condense_methods_of(methods: list[Method]) -> Any:
    def condense_methods() -> list[Method]:
        return methods

    return condense_methods


@pytest.mark.parametrize(
    ("dataset", "iterations", "weight"),
    [("fashion-mini", 300, 2.0), ("fashion-mnist", 300, 4.0), ("imagenette", 1000, 2.0)],
)
@pytest.mark.parametrize(
    ("ipc", "lr", "batch"), [(1, 0.02, 100), (10, 0.05, 100), (49, 0.05, 100), (50, 0.1, 0)]
)
def test_the_settings_of_the_page_apply_where_it_says(
    dataset: str,
    iterations: int,
    weight: float,
    ipc: int,
    lr: float,
    batch: int,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = method_of_the_page(registry, monkeypatch, dataset=dataset, ipc=ipc).recipe
    assert (recipe.recover.iterations, recipe.recover.lr, recipe.recover.batch) == (iterations, lr, batch)
    assert recipe.targets == {"mean-feature": Weighted(weight, {"shrink": 0.1})}
    if dataset == "imagenette":
        assert recipe.teacher.model.name == "resnet18"
    else:
        options = {"width": 32, "depth": 3, "norm": "batch"}
        assert recipe.teacher.model == Use(name="convnet", options=options)


def test_a_method_says_no_more_of_its_teacher_than_the_dataset_lets_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = method_of_the_page(registry, monkeypatch, dataset="imagenette").recipe.teacher
    assert ours == configure(registry, method="random", dataset="imagenette").recipe.teacher
    assert ours != Teacher()


def test_the_initializer_of_the_page_chooses_what_the_teacher_is_certain_of(
    make_dataset: Any, make_network: Any, make_request: Any
) -> None:
    dataset = make_dataset()
    teacher: Network = make_network(dataset)
    request = make_request(dataset, teacher, 3, 1)
    own = dataset.train.of_class(1).tolist()
    with torch.no_grad():
        logits = [
            float(teacher.logits(dataset.training_images(torch.tensor([index])))[0, 1]) for index in own
        ]
    ranked = [index for _, index in sorted(zip(logits, own, strict=True), reverse=True)]
    found = made_by("class Choice")(NoOptions()).images(request)
    torch.testing.assert_close(found, dataset.training_images(torch.tensor(ranked[:3])))


def test_the_network_of_the_page_has_features_and_logits() -> None:
    model = made_by("def build(")(NoOptions(), ModelRequest(argument="", classes=4, channels=3, size=8))
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    seen_by = Network(model, "mine").observe(images, BatchLabels.of_real(torch.zeros(5, dtype=torch.int64)))
    assert seen_by.logits.shape == (5, 4)
    torch.testing.assert_close(seen_by.features, images.flatten(1))


def test_the_dataset_of_the_page_loads(tmp_path: Path) -> None:
    draws = torch.Generator().manual_seed(0)
    stored = {
        part: {
            "pixels": torch.randint(0, 256, (6, 3, 32, 32), generator=draws).to(torch.uint8),
            "labels": torch.arange(6) % 2,
        }
        for part in ("train", "test")
    }
    torch.save(stored, tmp_path / "my-images.pt")
    asked = DatasetRequest(name="my-images", argument="", data_dir=tmp_path, seed=0)
    dataset = made_by("def load_images(")(NoOptions(), asked)
    assert (dataset.name, dataset.classes, dataset.class_counts()) == ("my-images", ("cat", "dog"), [3, 3])
    pixels = stored["train"]["pixels"][:2]
    expected = (pixels.float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(dataset.training_images(torch.arange(2)), expected)
