"""Attention whose gradients can be differentiated again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch.nn.attention import SDPBackend, sdpa_kernel


def attention(*, twice: bool) -> AbstractContextManager[None]:
    """Return a context for passes of a network, whose gradients are differentiated once, or twice.

    PyTorch's fused attention is faster and has no second derivative. Losses of weights' gradients, and students whose
    training is differentiated through, need one.
    """
    return sdpa_kernel(SDPBackend.MATH) if twice else nullcontext()
