"""A pool of networks, partly trained on the real images, that losses look through in the recover stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.engine.training import hard_loss, train
from condense.engine.unfinished import State, Unfinished, set_tensors, tensors_of
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.config import Recipe
from condense.recipe.method import Pool
from condense.recipe.registry import Registry
from condense.rng import generator, isolated_global_rng
from condense.runtime import Runtime
from condense.storage.tensors import tensors_below, tensors_of_parts

# Returns the states of a network of the pool: the initial one, then one for each number of `Pool.kept_after`.
States = Callable[[int], Sequence[State]]


def train_member(
    number: int,
    recipe: Recipe,
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
    unfinished: Unfinished | None = None,
) -> tuple[State, ...]:
    """Train one network of the pool and return its states, on the CPU: the initial one, then those that are kept.

    number: of the network, from 0. The result depends on it, the recipe and the images alone.
    unfinished: keeps the training, which goes on where it was kept.

    Raises NumericalError if the training diverges.
    """
    pool = recipe.pool
    weights = generator(recipe.teacher_seed, "pool", number, "weights")
    network = build_network(recipe.pool_network, dataset, registry, runtime, weights)
    states = [_state(network)]

    def keep(epochs: int) -> None:
        if epochs in pool.kept_after():
            states.append(_state(network))

    draws = generator(recipe.teacher_seed, "pool", number, "training")
    with isolated_global_rng(draws):
        train(
            network,
            feed_of(dataset.train, dataset, runtime),
            hard_loss(),
            pool,
            generator=draws,
            runtime=runtime,
            what=f"network {number} of the pool ({network.name})",
            after_epoch=keep,
            kept=unfinished.training(network.model, states=states) if unfinished else None,
        )
    return tuple(states)


def _state(network: Network) -> State:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.model.state_dict().items()}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A draw of the pool.

    mixed: the network with the drawn weights.
    trained: the same network at the end of its training.
    """

    mixed: Network
    trained: Network


class NetworkPool:
    """Draws networks from a pool, for one chunk.

    options: how they are drawn.
    states: returns the states of each network.
    build: returns a network with weights drawn from a generator.
    """

    def __init__(self, options: Pool, states: States, build: Callable[[torch.Generator], Network]) -> None:
        self._options, self._states, self._build = options, states, build
        self._filled: dict[str, Network] = {}

    def draw(self, draws: torch.Generator) -> Drawn:
        """Return the next draw. It takes the place of the one before, whose networks get other weights."""
        options = self._options
        number = int(torch.randint(options.networks, (), generator=draws))
        kept = 1 + int(torch.randint(options.checkpoints, (), generator=draws))
        chance, share = torch.rand(2, generator=draws).tolist()
        states = self._states(number)
        trained = self._with("trained", states[-1], draws)
        if chance < options.random:
            mixed = self._build(draws)
        else:
            state = states[kept]
            if options.draw == "interpolated":
                state = between(states[0], state, share)
            mixed = self._with("mixed", state, draws)
        return self._ready(Drawn(mixed=mixed, trained=trained))

    def state(self, drawn: Drawn) -> dict[str, Tensor]:
        """Return what is left of the last draw, as "place/name of the tensor", for `drawn_again`."""
        networks = {f"filled/{part}": network for part, network in self._filled.items()}
        if drawn.mixed is not self._filled.get("mixed"):
            networks["alone"] = drawn.mixed
        return tensors_of_parts({place: tensors_of(network.model) for place, network in networks.items()})

    def drawn_again(self, state: Mapping[str, Tensor]) -> Drawn:
        """Bring back the draw that `state` returned. Nothing is drawn."""
        for part in ("mixed", "trained"):
            if found := tensors_below(state, f"filled/{part}"):
                self._filled[part] = self._holding(found)
        alone = tensors_below(state, "alone")
        mixed = self._holding(alone) if alone else self._filled["mixed"]
        return self._ready(Drawn(mixed=mixed, trained=self._filled["trained"]))

    def _holding(self, tensors: State) -> Network:
        network = self._build(torch.Generator())
        set_tensors(tensors_of(network.model), tensors)
        return network

    def _ready(self, drawn: Drawn) -> Drawn:
        for network in (drawn.mixed, drawn.trained):
            network.model.train(self._options.mode == "train").requires_grad_(False)
        return drawn

    def _with(self, part: str, state: State, draws: torch.Generator) -> Network:
        """Return the network of a part, filled with a state. It is built once."""
        if part not in self._filled:
            self._filled[part] = self._build(draws)
        network = self._filled[part]
        network.model.load_state_dict(state)
        return network


def between(initial: State, trained: State, share: float) -> State:
    """Return share * initial + (1 - share) * trained, for all floats; whole numbers are the trained ones."""
    return {
        name: torch.lerp(tensor, initial[name], share) if tensor.is_floating_point() else tensor
        for name, tensor in trained.items()
    }
