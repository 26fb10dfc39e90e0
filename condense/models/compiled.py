"""Networks whose passes are compiled: one graph, forwards and backwards, for each shape of a batch.

What is compiled is the pass of images through a network, with the moments that losses read in it. Draws, views, losses
and optimizers stay outside. Gradients of gradients are not available, so that a loss through weight gradients looks
through the network as it is.

With `runtime.compile` "graphs", the kernels of a pass are captured as a CUDA graph, which the host starts at once. Its
results lie in memory of the graph, and those of the next step overwrite them: `Network.begin_step` says when it begins.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn

from condense.errors import ModelError
from condense.models.network import Network, Seen
from condense.recipe.needs import Statistic
from condense.runtime import CompileSetting, Runtime

Backend = Literal["inductor", "eager"]
BACKEND: Backend = "inductor"
"""What compiles; "eager" makes the graphs and runs them as they are, for tests."""

# Graphs of one function, over networks and shapes. PyTorch compares a call with each, and stops at 8 by default.
_MOST_GRAPHS = 256


def compiled(network: Network, runtime: Runtime) -> Network:
    """Return a network with the same weights whose passes are compiled, or the network itself if `runtime` says so.

    It is made once for each network. Where `runtime.compile` is "auto", a network that does not compile runs as it is,
    and a note says so; "on" and "graphs" raise ModelError then.
    """
    if runtime.compile == "off":
        return network
    known = network.compiled
    if not isinstance(known, CompiledNetwork) or known.setting != runtime.compile:
        known = CompiledNetwork(network, setting=runtime.compile, note=runtime.reporter.note)
        network.compiled = known
    return known


def step_compiled(networks: Mapping[str, Network], runtime: Runtime) -> dict[str, Network]:
    """Return the networks of a step on pixels, which begins, by kind, with the teacher compiled if `runtime` says so.

    Other networks live for a few steps only.
    """
    chosen = {
        kind: compiled(network, runtime) if kind == "teacher" else network
        for kind, network in networks.items()
    }
    for network in chosen.values():
        network.begin_step()
    return chosen


class CompiledNetwork(Network):
    """A network that compiles its passes when they first happen.

    network: runs what does not compile, and has the weights.
    setting: "auto": a pass that does not compile runs as it is; "on" and "graphs": it is an error; "graphs": passes are
        captured as CUDA graphs.
    """

    def __init__(self, network: Network, *, setting: CompileSetting, note: Callable[[str], None]) -> None:
        super().__init__(network.model, network.name, member=network.member)
        self._parts = tuple(CompiledNetwork(part, setting=setting, note=note) for part in self._parts)
        self._plain, self.setting, self._note = network, setting, note
        self._fails = False
        self._looks: dict[tuple[frozenset[Statistic], int], tuple[nn.Module, Callable[[Tensor], Seen]]] = {}
        self._taps = ExitStack()

    def begin_step(self) -> None:
        if self.setting == "graphs":
            torch.compiler.cudagraph_mark_step_begin()

    def _forward(self, images: Tensor) -> object:
        def whole() -> object:
            return _compiled_pass(self.setting == "graphs")(self.model, images)

        return self._attempt(whole, lambda: self.model(images))

    def _seen(self, images: Tensor, statistics: Collection[Statistic]) -> Seen:
        def whole() -> Seen:
            twin, look = self._look(frozenset(statistics), images.shape[-1])
            if twin.training != self.model.training:
                twin.train(self.model.training)
            return look(images)

        seen: Seen = self._attempt(whole, lambda: self._plain._seen(images, statistics))
        return seen

    def _look(
        self, statistics: frozenset[Statistic], size: int
    ) -> tuple[nn.Module, Callable[[Tensor], Seen]]:
        """Return a twin of the network, with its weights and with hooks that stay, and what runs images through it."""
        if (statistics, size) not in self._looks:
            shared = [*self.model.parameters(), *self.model.buffers()]
            twin = copy.deepcopy(self.model, {id(tensor): tensor for tensor in shared})
            look = self._taps.enter_context(
                Network(twin, self.name, member=self.member).watched(statistics, size)
            )
            self._looks[statistics, size] = twin, _one_graph(look, self.setting == "graphs")
        return self._looks[statistics, size]

    def _attempt(self, whole: Callable[[], Any], plain: Callable[[], Any]) -> Any:
        """Return what the compiled pass gives, or the plain one if there is no compiled one."""
        if self._fails:
            return plain()
        try:
            with torch._dynamo.config.patch(recompile_limit=_MOST_GRAPHS), warnings.catch_warnings():
                # While it makes a graph, PyTorch asks the views for a gradient that they do not keep, and warns.
                warnings.filterwarnings(
                    "ignore", message="The .grad attribute of a Tensor that is not a leaf"
                )
                return whole()
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            if self.setting != "auto":
                raise ModelError(f"{self.name!r} cannot be compiled ({reason}); use --compile off") from error
            self._note(f"{self.name} runs as it is: it cannot be compiled ({reason})")
            self._fails = True
            return plain()


def _one_graph(function: Callable[..., Any], captured: bool) -> Callable[..., Any]:
    """Return the function compiled for each shape of its arguments. A break of the graph is an error.

    captured: whether its kernels are captured as a CUDA graph.
    """
    options: dict[str, Any] = {"triton.cudagraphs": True} if captured else {}
    if BACKEND == "inductor" and "deterministic" in torch._inductor.list_options():
        # Kernels are then chosen without timing them, which could choose others in another process.
        options["deterministic"] = True
    found: Callable[..., Any] = torch.compile(
        function, fullgraph=True, dynamic=False, backend=BACKEND, options=options or None
    )
    return found


def _pass(model: nn.Module, images: Tensor) -> object:
    return model(images)


@functools.cache
def _compiled_pass(captured: bool) -> Callable[..., Any]:
    """Return the one compiled function that all networks of a process share: equal ones share its graphs."""
    return _one_graph(_pass, captured)
