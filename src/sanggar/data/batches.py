"""The order in which pictures are shown: a function of (seed, epoch), so that nothing has to be remembered."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

from sanggar.data.images import Images
from sanggar.errors import DataError
from sanggar.seeding import address


@dataclass
class Batches:
    """Batches of a training split, addressed by step.

    A step takes `draws` batches of `batch_size` pictures over all processes, of which this one (`rank` of `world`)
    takes its part. Each epoch is a new order; what does not fill a last step is left out, and differs
    by epoch.
    """

    images: Images
    batch_size: int
    seed: int
    draws: int = 1
    rank: int = 0
    world: int = 1
    _order: tuple[int, Int64[np.ndarray, "n"]] = field(init=False, default=(-1, np.zeros(0, np.int64)))

    def __post_init__(self) -> None:
        if self.batch_size % self.world:
            raise DataError(
                f"training.batch_size: {self.batch_size} pictures cannot be shared evenly by {self.world} processes."
            )
        if self.steps_per_epoch == 0:
            raise DataError(
                f"training.batch_size: a step takes {self.batch_size * self.draws} pictures, but there are only "
                f"{len(self.images)} to train on."
            )

    @property
    def steps_per_epoch(self) -> int:
        """How many whole steps the split gives."""
        return len(self.images) // (self.batch_size * self.draws)

    @property
    def rows(self) -> slice:
        """This process's part of a batch."""
        share = self.batch_size // self.world
        return slice(self.rank * share, (self.rank + 1) * share)

    def order(self, epoch: int) -> Int64[np.ndarray, "n"]:
        """The order of the pictures in an epoch."""
        if self._order[0] != epoch:
            generator = np.random.Generator(np.random.Philox(address(self.seed, "order", epoch)))
            self._order = (epoch, generator.permutation(len(self.images)))
        return self._order[1]

    def at(self, step: int) -> list[Images]:
        """This process's part of the batches of a step, counted from 0 over the whole training."""
        epoch, within = divmod(step, self.steps_per_epoch)
        start = within * self.batch_size * self.draws
        index = self.order(epoch)[start : start + self.batch_size * self.draws]
        return [self.images.take(part[self.rows]) for part in index.reshape(self.draws, self.batch_size)]
