"""What contracts hold for a flow is as true of one that is followed coarsely, and sooner known."""

from __future__ import annotations

import pytest

from sanggar.models.flow import model


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "EXACT", ("midpoint", 3))
