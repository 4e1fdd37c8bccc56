"""What the types of tests need: values that have to be there, and calls whose own libraries give no types."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
import torch
from torch.distributions import Distribution

T = TypeVar("T")


def there(value: T | None) -> T:
    """A value that may be missing by its type, and has to be there."""
    assert value is not None
    return value


def about(value: float, rel: float | None = None, abs: float | None = None) -> Any:
    """`pytest.approx`, where it stands within something: in a tuple, types would say that it equals no number."""
    return pytest.approx(value, rel=rel, abs=abs)


def log_prob(distribution: Distribution, value: torch.Tensor) -> torch.Tensor:
    """The log-density of a value: typed for distributions, though not for each of them."""
    return distribution.log_prob(value)


def number(value: object) -> float:
    """A number among what JSON can hold."""
    assert isinstance(value, int | float)
    return value


def listed(value: object) -> list[Any]:
    """A list among what JSON can hold."""
    assert isinstance(value, list)
    return value


FACTS: dict[str, object] = {
    "source": "made-up", "about": "", "licence": "", "note": "", "fingerprint": "0" * 64, "height": 6, "width": 7,
    "channels": 1, "classes": [], "train": 1, "validation": 1, "test": 1,
}  # fmt: skip
"""What a run's record says of its data, where a test says nothing else"""
