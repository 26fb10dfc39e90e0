"""The recovery of a chunk is kept between two steps, so that a kill loses minutes of it and changes no byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping

import torch
from torch import Tensor

from condense.engine.recover_networks import Networks
from condense.engine.unfinished import Unfinished, fingerprint, optimizer_state, set_optimizer
from condense.recipe.method import Recover
from condense.rng import global_state, set_global_state
from condense.storage.tensors import tensors_below, tensors_of_parts

# Called with the iteration and the losses by name (the weighted sum is "loss") whenever losses are logged.
LogLosses = Callable[[int, Mapping[str, float]], None]


class KeptRecovery:
    """What is kept of the recovery of one chunk.

    The objects that compute losses are not kept: they remember nothing from step to step. Networks that learn are.

    unfinished: the file. what: names the chunk for people.
    seen: the images that are judged, by name, as far as there are any; the same mapping gets them back.
    write: writes down losses that are logged. A recovery that goes on writes the earlier ones again.
    """

    def __init__(
        self, unfinished: Unfinished, what: str, seen: MutableMapping[str, Tensor], write: LogLosses
    ) -> None:
        self.unfinished, self.what, self.seen, self._write = unfinished, what, seen, write
        self._logged: list[tuple[int, Mapping[str, float]]] = []

    def log(self, iteration: int, losses: Mapping[str, float]) -> None:
        """Write down the losses of an iteration, and remember them."""
        self._logged.append((iteration, dict(losses)))
        self._write(iteration, losses)

    def resume(
        self,
        pixels: Tensor,
        optimizer: torch.optim.Optimizer,
        networks: Networks,
        options: Recover,
        draws: torch.Generator,
        *,
        images: int,
    ) -> int:
        """Bring everything back to where an earlier attempt was kept, and return how many steps it had done.

        pixels: (m, C, H, W), those that are optimised. images: how many the chunk shows. draws: what steps draw from.
        The global generators are set as well, so the caller isolates them.
        """
        found = self.unfinished.read()
        if found is None:
            return 0
        tensors, facts = found
        known = tensors.get("pixels")
        if known is None or known.shape != pixels.shape or facts["options"] != fingerprint(options, Recover):
            self.unfinished.runtime.reporter.note(
                f"{self.unfinished.file} belongs to another recovery, so {self.what} starts again"
            )
            return 0
        with torch.no_grad():
            pixels.copy_(known)
        set_optimizer(optimizer, tensors_below(tensors, "optimizer"))
        networks.restore(tensors_below(tensors, "networks"), options, images)
        self.seen.update(tensors_below(tensors, "seen"))
        for iteration, losses in json.loads(facts["logged"]):
            self.log(iteration, losses)
        draws.set_state(tensors["draws"])
        set_global_state(tensors_below(tensors, "global"), facts["global"], self.unfinished.runtime.device)
        done = int(facts["steps"])
        self.unfinished.runtime.reporter.note(
            f"{self.what} goes on after step {done} of {options.iterations}"
        )
        return done

    def keep(
        self,
        steps: int,
        pixels: Tensor,
        optimizer: torch.optim.Optimizer,
        networks: Networks,
        options: Recover,
        draws: torch.Generator,
    ) -> None:
        """Keep the recovery between two steps, if enough minutes have passed since that was done.

        steps: how many are done. The others: as in `resume`.
        """
        if steps == options.iterations or not self.unfinished.is_due():
            return
        of_globals, text = global_state(self.unfinished.runtime.device)
        parts: dict[str, Mapping[str, Tensor]] = {
            "optimizer": optimizer_state(optimizer),
            "networks": networks.state(),
            "seen": self.seen,
            "global": of_globals,
        }
        facts = {
            "steps": str(steps),
            "options": fingerprint(options, Recover),
            "logged": json.dumps(self._logged),
            "global": text,
        }
        self.unfinished.write(
            {**tensors_of_parts(parts), "pixels": pixels, "draws": draws.get_state()}, facts
        )
