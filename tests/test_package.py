"""The names that `import sanggar` promises."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest

import sanggar


@pytest.mark.parametrize("name", sanggar.__all__)
def test_a_public_name_is_not_hidden_by_a_room_of_that_name(name: str) -> None:
    for room in pkgutil.walk_packages(sanggar.__path__, "sanggar."):
        if not room.name.endswith("__main__"):
            import_module(room.name)
    assert callable(getattr(sanggar, name))
    assert name in dir(sanggar)


def test_an_unknown_name_is_said_to_be_unknown() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'tarin'"):
        sanggar.tarin  # noqa: B018
