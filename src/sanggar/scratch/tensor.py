"""Arrays that remember how they were made, and the walk back that turns this memory into gradients.

An operation is recorded as its result, the tensors it was made of, and one derivative for each of them. `backward`
visits the records from last to first and applies the chain rule at each: reverse-mode automatic differentiation
(Linnainmaa 1970; Baydin et al. 2018, arXiv:1502.05767).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from operator import attrgetter
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sanggar.errors import NetworkError

Array = NDArray[Any]
Axis = int | tuple[int, ...] | None
Index = int | slice | EllipsisType | Sequence[int] | Array | None
Derivative = Callable[[Array], Array]
"""From the gradient of some end by a result to the gradient by one operand. It returns what it was given, a view of
something, or a new array that nothing else holds."""

_clock = count(1)
_recording: ContextVar[bool] = ContextVar("recording", default=True)


class Tensor:
    """An array of float32 or float64, its gradient, and the record of the operation that made it.

    `data` is kept as it is when it is a float32 or float64 array, and becomes float64 otherwise. `grad` is an array
    of the same shape and dtype once `backward` has reached a tensor that was made with `requires_grad`; each further
    `backward` adds to it, until `zero_grad`. Raises NetworkError for what is not an array of real numbers.
    """

    __slots__ = ("_sources", "_when", "data", "grad", "requires_grad")
    __array_ufunc__ = None  # array + tensor is the tensor's business

    def __init__(self, data: ArrayLike, requires_grad: bool = False) -> None:
        self.data = _real(data)
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self._sources: Sequence[tuple[Tensor, Derivative]] = ()
        self._when = 0

    # -- the array ---------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """float32 or float64."""
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype) if copy else np.asarray(self.data, dtype)

    def __repr__(self) -> str:
        asked = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({np.array2string(self.data, threshold=20)}, {self.data.dtype}{asked})"

    def item(self) -> float:
        """The one number that it holds. Raises NetworkError when there are more or none."""
        if self.data.size != 1:
            raise NetworkError(f"item() is for a tensor of one number; this one has shape {self.shape}.")
        return self.data.item()

    def detach(self) -> Tensor:
        """The same array without its past."""
        return Tensor(self.data)

    # -- operations: `ops.py` attaches them, each beside its derivative -----------------------------------------------

    if TYPE_CHECKING:

        def __add__(self, other: Operand) -> Tensor: ...
        def __radd__(self, other: Operand) -> Tensor: ...
        def __sub__(self, other: Operand) -> Tensor: ...
        def __rsub__(self, other: Operand) -> Tensor: ...
        def __mul__(self, other: Operand) -> Tensor: ...
        def __rmul__(self, other: Operand) -> Tensor: ...
        def __truediv__(self, other: Operand) -> Tensor: ...
        def __rtruediv__(self, other: Operand) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pow__(self, exponent: float) -> Tensor: ...
        def __matmul__(self, other: Operand) -> Tensor: ...
        def __rmatmul__(self, other: Operand) -> Tensor: ...
        def __getitem__(self, index: Index | tuple[Index, ...]) -> Tensor: ...
        def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...  # noqa: D102
        def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...  # noqa: D102
        def reshape(self, *shape: int) -> Tensor: ...  # noqa: D102
        @property
        def T(self) -> Tensor: ...  # noqa: D102

    # -- gradients ---------------------------------------------------------------------------------------------

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def backward(self, gradient: ArrayLike | None = None) -> None:
        """Add to `grad` of every tensor that this one was computed from the gradient of this one by it.

        `gradient` is the gradient of some end by this tensor, of its shape or one number for all of it; it may be
        left out where the tensor is one number, its own end. Raises NetworkError when nothing was recorded, or the
        shape does not fit.
        """
        if not self.requires_grad:
            raise NetworkError("backward() needs a tensor computed from one with requires_grad=True, outside no_grad.")
        if gradient is None:
            if self.data.size != 1:
                raise NetworkError(f"backward() without a gradient needs one number; this has shape {self.shape}.")
            gradient = 1.0
        start = np.asarray(gradient, self.data.dtype)
        if start.shape != self.data.shape:
            if start.ndim:
                raise NetworkError(f"the gradient has shape {start.shape}, the tensor {self.shape}.")
            start = np.full_like(self.data, start)
        if not self._sources:
            self._add(start.copy())
        arrived = {self: start}
        for tensor in self._past():
            found = arrived.pop(tensor)
            for operand, derivative in tensor._sources:
                share = derivative(found)
                if not operand._sources:
                    # only a new array may be kept: what others hold could change under our hands
                    operand._add(share.copy() if share is found or share.base is not None else share)
                elif operand in arrived:
                    arrived[operand] = arrived[operand] + share
                else:
                    arrived[operand] = share

    def _add(self, gradient: Array) -> None:
        if self.grad is None:
            self.grad = np.asarray(gradient, self.data.dtype)
        else:
            self.grad += gradient

    def _past(self) -> list[Tensor]:
        """All that was computed on the way here, last first. Every operand is older than what was made of it."""
        found, stack = {self}, [self]
        while stack:
            for operand, _ in stack.pop()._sources:
                if operand._sources and operand not in found:
                    found.add(operand)
                    stack.append(operand)
        return sorted(found, key=attrgetter("_when"), reverse=True)


Operand = Tensor | ArrayLike
"""What an operator takes: what is no tensor yet is a constant."""


def record(data: ArrayLike, *sources: tuple[Tensor, Derivative]) -> Tensor:
    """The result of an operation, and how gradients go back through it: each operand with its derivative."""
    result = Tensor.__new__(Tensor)
    result.data = data if type(data) is np.ndarray else np.asarray(data)
    result.grad = None
    result._sources = kept = [pair for pair in sources if pair[0].requires_grad] if _recording.get() else ()
    result.requires_grad = bool(kept)
    result._when = next(_clock)
    return result


def tensor(value: Operand, like: Operand | None = None) -> Tensor:
    """`value` itself if it is a tensor, else a constant, of the dtype of the tensor that it meets."""
    if isinstance(value, Tensor):
        return value
    return Tensor(_real(value).astype(like.data.dtype, copy=False) if isinstance(like, Tensor) else value)


@contextmanager
def no_grad() -> Iterator[None]:
    """Within it nothing is recorded: faster, and without memory of the past."""
    before = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(before)


def _real(data: ArrayLike) -> Array:
    try:
        array = np.asarray(data)
    except ValueError:
        raise NetworkError("a tensor holds real numbers; got rows of different lengths.") from None
    if array.dtype == np.float32 or array.dtype == np.float64:
        return array
    if array.dtype.kind not in "biuf":
        raise NetworkError(f"a tensor holds real numbers; got an array of {array.dtype}.")
    return array.astype(np.float64)
