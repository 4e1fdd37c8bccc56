"""Types and shapes in signatures, checked while the tests run: arrays by jaxtyping, all else by beartype alone."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

_whole = jaxtyping.jaxtyped


CHECKED = beartype(conf=BeartypeConf(violation_type=TypeError))
"""As jaxtyping does, a wrong type is told as a TypeError: what catches that catches this"""


def jaxtyped(*, typechecker: Any) -> Callable[[Any], Any]:
    """What jaxtyping's hook decorates functions and classes with.

    jaxtyping binds the arguments of each call to keep the sizes of axes in mind. Where no axis is named there is
    nothing to keep, and beartype, which checks the types either way, does it at a tenth of the cost.
    """

    def decorate(thing: Any) -> Any:
        if inspect.isclass(thing):
            if dataclasses.is_dataclass(thing):
                thing.__init__ = decorate(thing.__init__)  # type: ignore[method-assign]
            return thing
        return _whole(thing, typechecker=typechecker) if _names_axes(thing) else CHECKED(thing)

    return decorate


def _names_axes(function: Any) -> bool:
    """Whether a signature has an array of jaxtyping's; also where it names what is not there yet: nobody knows."""
    try:
        return "jaxtyping." in str(get_type_hints(function, include_extras=True))
    except Exception:  # as jaxtyping itself: a name that is not there yet, or only for types
        return True
