"""Seeds for random draws, each a function of what is drawn and where: randomness is addressed, not carried."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from operator import index
from typing import SupportsIndex

from sanggar.errors import RunError

SEEDS = 2**32
"""Seeds are whole numbers below this: what every library that is seeded takes."""


def checked(seed: object) -> int:
    """`seed` as an int. Raises RunError for anything but a whole number from 0 below SEEDS."""
    number = -1
    if isinstance(seed, SupportsIndex) and not isinstance(seed, bool):
        with suppress(TypeError):  # an array of several
            number = index(seed)
    if not 0 <= number < SEEDS:
        raise RunError(f"seed: expected a whole number from 0 to {SEEDS - 1:,}, got {seed!r}.")
    return number


def address(*parts: int | str) -> int:
    """A 63-bit seed for what is named by `parts`; the same on every machine.

    Randomness is addressed, not carried: whoever knows the seed and the place in training knows the draw, so
    a resumed run needs no saved generator, and two processes draw what one would.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
