"""Cache of what depends on data and instruments alone: computed once for all runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sanggar import files
from sanggar.errors import RunError
from sanggar.runs import Arrays, load_arrays, save_arrays

FORMAT = 2
"""Version of what is kept; raised when what is computed from the same pictures changes"""


def cache_folder() -> Path:
    """Folder of the cache, in the user's cache. What lies there may be deleted at any time."""
    return files.cache_folder("features")


def cached(key: Sequence[object], compute: Callable[[], Arrays]) -> Arrays:
    """What `compute` gives, kept under `key`; a file that is missing or damaged is computed and written anew.

    The key has to name everything that the arrays depend on: data, protocol, instruments.
    """
    name = hashlib.sha256("/".join(map(str, (FORMAT, *key))).encode()).hexdigest()[:32]
    path = cache_folder() / f"{name}.safetensors"
    with suppress(RunError):
        return load_arrays(path)[0]
    arrays = compute()
    with suppress(RunError):  # a full or locked disk costs time at the next measurement, nothing else
        save_arrays(path, arrays, {"key": [str(part) for part in key]})
    return arrays
