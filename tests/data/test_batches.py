"""The order of pictures: a permutation that (seed, epoch) decide, shared evenly by processes."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanggar.data.batches import Batches
from sanggar.data.images import Images
from sanggar.errors import DataError
from sanggar.seeding import address
from typed import there


def numbered(n: int) -> Images:
    """Pictures whose label is their place."""
    return Images(np.zeros((n, 1, 1, 1), np.uint8), np.arange(n))


def shown(batches: Batches, step: int) -> list[list[int]]:
    return [there(part.labels).tolist() for part in batches.at(step)]


@given(n=st.integers(1, 200), seed=st.integers(0, 2**63), epoch=st.integers(0, 10**6))
def test_an_order_is_a_permutation_that_seed_and_epoch_decide(n: int, seed: int, epoch: int) -> None:
    order = Batches(numbered(n), 1, seed).order(epoch)
    assert sorted(order) == list(range(n))
    other = Batches(numbered(n), 1, seed)
    other.order(epoch + 1)
    np.testing.assert_array_equal(other.order(epoch), order)


def test_orders_differ_by_epoch_and_by_seed() -> None:
    orders = {tuple(Batches(numbered(50), 1, seed).order(epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


@given(n=st.integers(1, 60), size=st.integers(1, 8), draws=st.integers(1, 3), epoch=st.integers(0, 5))
def test_an_epoch_shows_no_picture_twice_and_leaves_out_less_than_a_step(
    n: int, size: int, draws: int, epoch: int
) -> None:
    if n < size * draws:
        with pytest.raises(DataError, match=f"there are only {n} to train on"):
            Batches(numbered(n), size, 0, draws)
        return
    batches = Batches(numbered(n), size, 0, draws)
    first = epoch * batches.steps_per_epoch
    parts = [part for step in range(first, first + batches.steps_per_epoch) for part in shown(batches, step)]
    assert {len(part) for part in parts} == {size}
    pictures = list(chain(*parts))
    assert len(set(pictures)) == len(pictures) > n - size * draws


@given(share=st.integers(1, 4), world=st.integers(1, 4), draws=st.integers(1, 2), step=st.integers(0, 20))
def test_processes_together_see_what_one_would(share: int, world: int, draws: int, step: int) -> None:
    size = share * world
    alone = Batches(numbered(40), size, 3, draws)
    together = [shown(Batches(numbered(40), size, 3, draws, rank, world), step) for rank in range(world)]
    assert [list(chain(*parts)) for parts in zip(*together, strict=True)] == shown(alone, step)


def test_steps_can_be_asked_for_in_any_order() -> None:
    one, other = Batches(numbered(30), 4, 1), Batches(numbered(30), 4, 1)
    forwards = [shown(one, step) for step in range(20)]
    assert [shown(other, step) for step in reversed(range(20))] == forwards[::-1]


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(DataError, match=r"training\.batch_size: 10 pictures cannot be shared evenly by 4 processes"):
        Batches(numbered(40), 10, 0, world=4)


def test_an_address_is_the_same_on_every_machine() -> None:
    assert address(0, "order", 1) == 8024286156118006313
    assert address(1, 11) != address(11, 1)
    assert 0 <= address("x") < 2**63
