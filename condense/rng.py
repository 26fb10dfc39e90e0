"""Random generators derived from the seed of the run, one for each piece of work.

Each piece (a chunk of recover, a student of evaluate, ...) draws from its own generator. Pieces can therefore
be computed in any order, again after a crash, or on different machines, and still give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def derive_seed(seed: int, *piece: str | int) -> int:
    """Return a seed in [0, 2**63) that depends only on the run's seed and the name of the piece."""
    text = "/".join(str(part) for part in (seed, *piece))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, *piece: str | int) -> torch.Generator:
    """Return a CPU generator for one piece of work.

    Draw on the CPU and move the result to the device, so that draws agree across devices.
    """
    import torch

    result = torch.Generator(device="cpu")
    result.manual_seed(derive_seed(seed, *piece))
    return result


@contextmanager
def isolated_global_rng(source: torch.Generator) -> Iterator[None]:
    """Seed the global generators of PyTorch, NumPy and Python from `source` in the block and restore them afterwards.

    Use it for code that takes no generator: the initialisation of torchvision's and timm's networks, dropout, plugins.
    """
    import numpy as np
    import torch

    seed = int(torch.randint(2**62, (), generator=source))
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            # Without an accelerator, `torch.manual_seed` would note the stack of calls for each, which takes longer.
            seeded = (
                torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed
            )
            seeded(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def global_state(device: torch.device) -> tuple[dict[str, Tensor], str]:
    """Return the states of the global generators, for `set_global_state`: those of PyTorch, and the others as JSON.

    device: the one that computes. Its generator counts besides that of the CPU.
    """
    import numpy as np
    import torch

    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    kind, words, *rest = np.random.get_state(legacy=True)
    return states, json.dumps(
        {"python": random.getstate(), "numpy": [kind, [int(word) for word in words], *rest]}
    )


def set_global_state(states: Mapping[str, Tensor], text: str, device: torch.device) -> None:
    """Bring the global generators back to states that `global_state` returned for the same kind of device."""
    import numpy as np
    import torch

    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif "mps" in states:
        torch.mps.set_rng_state(states["mps"])
    others = json.loads(text)
    version, words, gauss = others["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(others["numpy"]))
