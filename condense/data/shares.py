"""Shares of batches: which images of each batch belong to one of several readers that train one network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """One of several equal shares of every batch.

    number: of the share, from 0. of: how many there are.

    A batch of fewer than two images for each share is not divided: every share is the whole batch. So nobody has
    nothing to do, and BatchNorm always has two images.
    """

    number: int = 0
    of: int = 1

    def within(self, count: int) -> slice:
        """Return which images of a batch of `count` belong to the share. Sizes of shares differ by one at most."""
        if count < 2 * self.of:
            return slice(0, count)
        return slice(self.number * count // self.of, (self.number + 1) * count // self.of)

    def weight(self, count: int) -> float:
        """Return the factor for the mean over a share, so that the mean over the shares is that over the batch."""
        own = self.within(count)
        return 1.0 if count < 2 * self.of else (own.stop - own.start) * self.of / count


WHOLE = Share()
