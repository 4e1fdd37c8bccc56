"""Seeds for random draws, each a function of what is drawn and where: randomness is addressed, not carried."""

from __future__ import annotations

import hashlib


def address(*parts: int | str) -> int:
    """A 63-bit seed for what is named by `parts`; the same on every machine.

    Randomness is addressed, not carried: whoever knows the seed and the place in training knows the draw, so
    a resumed run needs no saved generator, and two processes draw what one would.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
