"""What the tests of the from-scratch engine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Matrices of one thread: where they are small, more cost time, and much of it beside other work."""
    with threadpool_limits(1):
        yield
