"""Compiled passes: one graph, the same weights, the same numbers, and what happens if a network does not compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.engine.training import hard_loss, train
from condense.errors import ModelError, OptionError
from condense.models import compiled as module
from condense.models.compiled import compiled
from condense.models.ensemble import Ensemble
from condense.models.network import Network
from condense.models.observation import BatchLabels
from condense.recipe.needs import Statistic
from condense.recipe.training import Training
from condense.runtime import SilentReporter, compile_for, make_runtime

PLAIN = make_runtime("cpu", "fp32")
ON = replace(PLAIN, compile="on")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


@pytest.fixture(autouse=True)
def _graphs_run_as_they_are(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Making machine code of the graphs takes too long for most tests."""
    monkeypatch.setattr(module, "BACKEND", "eager")
    module._compiled_pass.cache_clear()
    yield
    module._compiled_pass.cache_clear()
    torch.compiler.reset()


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Breaking(nn.Module):
    """Asks for the value of a tensor in the middle of a pass, which no graph holds."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        if float(images.sum()) > 1e9:
            return self.fc(images.flatten(1) * 2)
        logits: Tensor = self.fc(images.flatten(1))
        return logits


def seen(network: Network, images: Tensor, *statistics: Statistic) -> tuple[list[Tensor], Tensor]:
    """What losses see of images, and the gradient of the sum of squares of all of it."""
    pixels = images.clone().requires_grad_()
    observed = network.observe(pixels, BatchLabels.of_real(torch.arange(len(images)) % 3), statistics)
    shown = [observed.features, observed.logits]
    for moments in (observed.moments, observed.convolutions, observed.patches):
        if moments is not None:
            shown += [moments.mean, moments.second, moments.running_mean, moments.running_var]
    [gradient] = torch.autograd.grad(sum((one.square().sum() for one in shown), torch.zeros(())), pixels)
    return shown, gradient


@pytest.mark.parametrize("statistics", [(), ("batchnorm", "convolutions")])
def test_one_graph_shows_what_the_network_shows(
    statistics: tuple[Statistic, ...], make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """A break of the graph would be an error with "on". The second call runs the graph that the first one made."""
    network = make_network(make_dataset()).frozen()
    fast = compiled(network, ON)
    draws = torch.Generator().manual_seed(3)
    for images in torch.randn(2, 6, 1, 8, 8, generator=draws):
        wanted, slope = seen(network, images, *statistics)
        found, gradient = seen(fast, images, *statistics)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-4 * float(slope.abs().max()))


def test_the_weights_are_those_of_the_network(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    network = make_network(make_dataset()).frozen()
    fast = compiled(network, ON)
    assert compiled(network, ON) is fast
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    before, _ = seen(fast, images, "batchnorm")
    with torch.no_grad():
        for weight in network.model.parameters():
            weight.mul_(1.1)
    after, _ = seen(fast, images, "batchnorm")
    wanted, _ = seen(network, images, "batchnorm")
    assert not torch.allclose(before[1], after[1])
    torch.testing.assert_close(after[1], wanted[1], rtol=1e-5, atol=1e-5)


def test_training_steps_are_the_same(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    """Weights and running statistics after a step, for two networks that share one compiled function."""
    dataset = make_dataset()
    images, labels = dataset.training_images(torch.arange(9)), torch.arange(9) % 3
    for seed in (0, 1):
        networks = [make_network(dataset, seed=seed) for _ in range(2)]
        for network, runs in zip(networks, (networks[0], compiled(networks[1], ON)), strict=True):
            network.model.train().requires_grad_(True)
            optimizer = torch.optim.SGD(network.model.parameters(), lr=0.1)
            F.cross_entropy(runs.logits(images), labels).backward()
            optimizer.step()
        wanted, found = (network.model.state_dict() for network in networks)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_members_of_an_ensemble_are_compiled_each(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    parts = [make_network(dataset, seed=seed) for seed in range(2)]
    network = Network(Ensemble(("a", "b"), [part.model for part in parts]), "both").frozen()
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    fast = compiled(network, ON)
    torch.testing.assert_close(fast.logits(images), network.logits(images))
    for member, quick in zip(network.members, fast.members, strict=True):
        assert quick.member == member.member
        torch.testing.assert_close(seen(quick, images, "batchnorm")[0], seen(member, images, "batchnorm")[0])


def test_a_network_that_breaks_the_graph_is_refused_or_runs_as_it_is() -> None:
    network = Network(Breaking(), "breaking")
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    with pytest.raises(ModelError, match=r"'breaking' cannot be compiled \(\w+: .*\); use --compile off"):
        compiled(network, ON).logits(images)
    reporter = Notes()
    fast = compiled(network, replace(PLAIN, compile="auto", reporter=reporter))
    for _ in range(2):
        assert torch.equal(fast.logits(images), network.logits(images))
    [note] = reporter.notes
    assert note.startswith("breaking runs as it is: it cannot be compiled (")


def test_off_is_the_network_itself(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    network = make_network(make_dataset())
    assert compiled(network, PLAIN) is network


def test_auto_compiles_if_there_are_enough_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("condense.runtime._has_compiler", lambda device: True)
    assert [compile_for("auto", "cpu", steps) for steps in (0, 1999, 2000)] == ["off", "off", "auto"]
    assert [compile_for("auto", "cuda", steps) for steps in (499, 500)] == ["off", "auto"]
    assert compile_for("auto", "mps", 10**9) == "off"
    assert [compile_for(setting, "cpu", 1) for setting in ("on", "off")] == ["on", "off"]
    assert replace(PLAIN, compile="auto").for_steps(2000).compile == "auto"
    monkeypatch.setattr("condense.runtime._has_compiler", lambda device: False)
    assert compile_for("auto", "cpu", 10**9) == "off"


def test_graphs_are_asked_for_and_told_when_a_step_begins(
    monkeypatch: pytest.MonkeyPatch, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """With stand-ins for what compiles and for what captures, which need a CUDA device."""
    asked: list[dict[str, object]] = []
    begun: list[int] = []

    def stand_in(function: Callable[..., object], **options: object) -> Callable[..., object]:
        asked.append(options)
        return function

    monkeypatch.setattr(torch, "compile", stand_in)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(1))
    dataset = make_dataset()
    for setting, captured in (("on", None), ("graphs", {"triton.cudagraphs": True})):
        module._compiled_pass.cache_clear()
        network = make_network(dataset)
        network.model.requires_grad_(True)
        fast = compiled(network, replace(PLAIN, compile=setting))  # type: ignore[arg-type]
        feed = feed_of(dataset.train, dataset, PLAIN)
        options = Training(epochs=2, batch_size=7, lr=0.01)
        begun.clear()
        steps = train(
            fast,
            feed,
            hard_loss(),
            options,
            generator=torch.Generator().manual_seed(0),
            runtime=PLAIN,
            what="a student",
        )
        assert asked[-1] == {"fullgraph": True, "dynamic": False, "backend": "eager", "options": captured}
        assert len(begun) == (steps if captured else 0)


def test_graphs_need_a_cuda_device() -> None:
    with pytest.raises(OptionError, match="captured on a CUDA device, not on cpu; use --compile on"):
        make_runtime("cpu", "fp32", compile="graphs")
