"""The operations, each beside its derivatives.

An operation computes with plain arrays and records, for each operand, how the gradient by its result becomes the
gradient by that operand. Where operands were broadcast against each other, their gradients are summed back.
Shapes follow NumPy. Raises NetworkError where shapes do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sanggar.errors import NetworkError
from sanggar.scratch.tensor import Array, Axis, Derivative, Operand, Tensor, record, tensor

# -- arithmetic ------------------------------------------------------------------------------------------------


def add(a: Operand, b: Operand) -> Tensor:
    """a + b."""
    a, b = _pair(a, b, "+")
    return record(a.data + b.data, (a, lambda g: _summed(g, a.shape)), (b, lambda g: _summed(g, b.shape)))


def subtract(a: Operand, b: Operand) -> Tensor:
    """a − b."""
    a, b = _pair(a, b, "-")
    return record(a.data - b.data, (a, lambda g: _summed(g, a.shape)), (b, lambda g: _summed(-g, b.shape)))


def multiply(a: Operand, b: Operand) -> Tensor:
    """a · b, entry by entry."""
    a, b = _pair(a, b, "*")
    return record(
        a.data * b.data,
        (a, lambda g: _summed(g * b.data, a.shape)),
        (b, lambda g: _summed(g * a.data, b.shape)),
    )


def divide(a: Operand, b: Operand) -> Tensor:
    """a / b, entry by entry."""
    a, b = _pair(a, b, "/")
    y = a.data / b.data
    return record(
        y,
        (a, lambda g: _summed(g / b.data, a.shape)),
        (b, lambda g: _summed(-g * y / b.data, b.shape)),
    )


def negative(a: Tensor) -> Tensor:
    """−a."""
    return record(-a.data, (a, lambda g: -g))


def power(a: Tensor, exponent: float) -> Tensor:
    """a to a constant exponent."""
    if isinstance(exponent, Tensor) or np.ndim(exponent):
        raise NetworkError("the exponent of a power is one number; for another, use exp(b * log(a)).")
    if exponent == 0:  # 0 · 0⁻¹ is not a number, the derivative of a constant is 0
        return record(np.ones_like(a.data), (a, np.zeros_like))
    p = float(exponent)  # a number of NumPy's would decide the dtype
    return record(a.data**p, (a, lambda g: g * (p * a.data ** (p - 1))))


def exp(a: Tensor) -> Tensor:
    """e to the a."""
    y = np.exp(a.data)
    return record(y, (a, lambda g: g * y))


def log(a: Tensor) -> Tensor:
    """Natural logarithm."""
    return record(np.log(a.data), (a, lambda g: g / a.data))


def absolute(a: Tensor) -> Tensor:
    """|a|; the derivative at 0 is taken as 0."""
    return record(np.abs(a.data), (a, lambda g: g * np.sign(a.data)))


# -- matrices --------------------------------------------------------------------------------------------------


def matmul(a: Operand, b: Operand) -> Tensor:
    """The matrix product a @ b, with NumPy's rules for vectors and for stacks of matrices."""
    a, b = tensor(a, like=b), tensor(b, like=a)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise NetworkError(f"@: shapes {a.shape} and {b.shape} do not fit: the inner widths must be equal.")
    # a vector is a matrix of one row on the left, of one column on the right
    left = a.data[None, :] if a.ndim == 1 else a.data
    right = b.data[:, None] if b.ndim == 1 else b.data
    try:
        y = product(left, right) if left.ndim == right.ndim == 2 else left @ right
    except ValueError:
        raise NetworkError(f"@: shapes {a.shape} and {b.shape} do not fit.") from None
    shape = y.shape

    def by_a(g: Array) -> Array:
        return _summed(g.reshape(shape) @ np.swapaxes(right, -1, -2), left.shape).reshape(a.shape)

    def by_b(g: Array) -> Array:
        return _summed(np.swapaxes(left, -1, -2) @ g.reshape(shape), right.shape).reshape(b.shape)

    rows = () if a.ndim == 1 else shape[-2:-1]
    columns = () if b.ndim == 1 else shape[-1:]
    return record(y.reshape(shape[:-2] + rows + columns), (a, by_a), (b, by_b))


def affine(x: Tensor, neurons: Tensor) -> Tensor:
    """x @ weights + biases: a layer of neurons, `x (n, inputs)`, `neurons (inputs + 1, outputs)`.

    A column of `neurons` is one neuron: its weights, and below them its bias. The result has their dtype.
    """
    w = neurons.data
    a = x.data.astype(w.dtype, copy=False)
    if a.ndim != 2 or a.shape[1] != w.shape[0] - 1:
        raise NetworkError(f"a layer of {w.shape[0] - 1} inputs takes an array (n, {w.shape[0] - 1}), got {a.shape}.")
    y = product(a, w[:-1])
    y += w[-1]

    def by_neurons(g: Array) -> Array:
        found = np.empty(w.shape, w.dtype)
        g = g.astype(w.dtype, copy=False)
        product(a.T, g, found[:-1])
        ones(len(g), g.dtype).dot(g, found[-1])
        return found

    # g @ weights.T, which OpenBLAS does faster from the other side
    return record(y, (x, lambda g: product(w[:-1], g.T).T), (neurons, by_neurons))


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """The product of two matrices, `a (n, k)` and `b (k, m)`, in the way that OpenBLAS is fastest at.

    For AVX-512 it has kernels for small matrices, below a million multiply-adds, that neither copy their operands nor
    start threads: a product somewhat above is made in pieces below, a fifth faster. For others it has none, and a
    product in pieces takes a fifth longer.
    """
    work = a.size * b.shape[1]
    if work < 1_000_000 or work >= 3_000_000 or not _has_small_kernels():
        return a.dot(b, out)
    if out is None:
        out = np.empty((len(a), b.shape[1]), a.dtype)
    rows = -(-len(a) // (work // 1_000_000 + 1))
    for start in range(0, len(a), rows):
        np.matmul(a[start : start + rows], b, out=out[start : start + rows])
    return out


@lru_cache(maxsize=1)
def _has_small_kernels() -> bool:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:  # the engine needs NumPy and nothing else
        return False
    pools = threadpool_info()
    return any(pool.get("architecture") in ("SkylakeX", "Cooperlake", "SapphireRapids") for pool in pools)


@lru_cache(maxsize=1)
def warm_up() -> None:
    """One product that is wide enough to touch all of the memory that OpenBLAS copies its operands into.

    Its kernels prefetch beyond what they read. In one thread on AVX2, products of (32, 784) and (784, 256) take 2.5
    times as long while the memory there has never been written. Takes 4 ms, once a process.
    """
    np.ones((32, 784), np.float32) @ np.ones((784, 784), np.float32)


@lru_cache(maxsize=16)
def ones(shape: int | tuple[int, ...], dtype: DTypeLike) -> Array:
    """An array of ones, not to be changed. A product with it sums along an axis, three times as fast as `sum`."""
    return np.ones(shape, dtype)


def normalize(x: Tensor, scale: Tensor, shift: Tensor | None, axis: int, epsilon: float) -> Tensor:
    """x over its root mean square along `axis`, times `scale`; with a `shift`, the mean is taken out before.

    `x (n, width)`; `scale` and `shift (width,)`; `epsilon` is added to the mean square.
    """
    if x.ndim != 2 or x.shape[1] != scale.size:
        raise NetworkError(f"a norm of width {scale.size} takes an array (n, {scale.size}), got {x.shape}.")
    a = x.data if shift is None else x.data - x.data.mean(axis, keepdims=True)
    root = np.sqrt((a * a).mean(axis, keepdims=True) + epsilon)
    y = a / root

    def by_x(g: Array) -> Array:
        g = g * scale.data
        left = g - y * (g * y).mean(axis, keepdims=True)
        if shift is not None:
            left -= g.mean(axis, keepdims=True)
        return left / root

    back = (x, by_x), (scale, lambda g: (g * y).sum(axis=0))
    if shift is None:
        return record(y * scale.data, *back)
    return record(y * scale.data + shift.data, *back, (shift, lambda g: g.sum(axis=0)))


def penalty(neurons: Tensor, l1: float, l2: float) -> Tensor:
    """l1 · Σ|w| + l2 · Σ w² / 2 over the weights of a layer of neurons; biases are free."""
    w = neurons.data[:-1]
    value = (l1 * np.abs(w).sum() if l1 else 0.0) + 0.5 * l2 * np.vdot(w, w)

    def by_neurons(g: Array) -> Array:
        found = np.empty_like(neurons.data)
        np.multiply(w, l2 * g, out=found[:-1])
        if l1:
            found[:-1] += (l1 * g) * np.sign(w)
        found[-1] = 0
        return found

    return record(np.asarray(value, w.dtype), (neurons, by_neurons))


# -- reductions ------------------------------------------------------------------------------------------------


def sum(a: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis`, or over everything."""
    axes = _axes(a, axis)
    return record(a.data.sum(axes, keepdims=keepdims), (a, lambda g: np.broadcast_to(_kept(g, a, axes), a.shape)))


def mean(a: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over `axis`, or over everything; not a number where there is nothing to average."""
    axes = _axes(a, axis)
    n = int(np.prod([a.shape[i] for i in axes]))
    total = a.data.sum(axes, keepdims=keepdims)
    y = total / n if n else np.full_like(total, np.nan)
    return record(y, (a, lambda g: np.broadcast_to(_kept(g / n, a, axes) if n else g.sum(), a.shape)))


def max(a: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest entry over `axis`, or over everything; where several are largest, they share the gradient."""
    axes = _axes(a, axis)
    if any(a.shape[i] == 0 for i in axes):
        raise NetworkError(f"max: there is no largest entry along an empty axis; the shape is {a.shape}.")
    top = a.data.max(axes, keepdims=True)

    def by_a(g: Array) -> Array:
        largest = a.data == top
        return np.asarray(largest * (_kept(g, a, axes) / largest.sum(axes, keepdims=True)), a.dtype)

    return record(top if keepdims else top.squeeze(axes), (a, by_a))


def logsumexp(a: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log Σ exp over `axis`, or over everything, without overflow: the largest entry is taken out first."""
    axes = _axes(a, axis)
    z, top = below_top(a.data, axes)
    shares = np.exp(z)
    total = shares.sum(axes, keepdims=True)
    with np.errstate(divide="ignore"):  # the logarithm of an empty sum is −∞
        y = top + np.log(total)
    return record(y if keepdims else y.squeeze(axes), (a, lambda g: _kept(g, a, axes) * (shares / total)))


def below_top(a: Array, axis: int | tuple[int, ...]) -> tuple[Array, Array]:
    """The entries less the largest along `axis`, and that largest, with `axis` kept.

    Entries equal to the largest become 0, where it is infinite too: ∞ − ∞ is taken for the difference of equals.
    """
    top = a.max(axis, keepdims=True, initial=-np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        below = a - top
    if not np.isfinite(top).all():
        below[a == top] = 0
    return below, top


# -- shapes ----------------------------------------------------------------------------------------------------


def reshape(a: Tensor, shape: Sequence[int]) -> Tensor:
    """The same entries in another shape; one width may be -1."""
    try:
        return record(a.data.reshape(tuple(shape)), (a, lambda g: g.reshape(a.shape)))
    except ValueError:
        raise NetworkError(f"reshape: {a.size} entries of shape {a.shape} do not fit {tuple(shape)}.") from None


def transpose(a: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order; in reverse where none is given."""
    order = tuple(range(a.ndim))[::-1] if axes is None else tuple(axes)
    try:
        y = a.data.transpose(order)
    except ValueError:
        raise NetworkError(f"transpose: {order} does not order the {a.ndim} axes of {a.shape}.") from None
    back = np.argsort([i % a.ndim for i in order])
    return record(y, (a, lambda g: g.transpose(back)))


def concatenate(parts: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors behind one another along an axis."""
    parts = [tensor(part) for part in parts]
    try:
        y = np.concatenate([part.data for part in parts], axis)
    except ValueError:
        shapes = ", ".join(str(part.shape) for part in parts) or "nothing"
        raise NetworkError(f"concatenate: {shapes} cannot be joined along axis {axis}.") from None
    ends = np.cumsum([part.shape[axis] for part in parts])

    def share(end: int, width: int) -> Derivative:
        index = (slice(None),) * (axis % y.ndim) + (slice(end - width, end),)
        return lambda g: g[index]

    return record(y, *((part, share(end, part.shape[axis])) for part, end in zip(parts, ends, strict=True)))


def getitem(a: Tensor, index: Any) -> Tensor:
    """a[index], as NumPy indexes; an entry taken several times collects the gradients of all."""
    plain = all(isinstance(i, int | slice) for i in (index if isinstance(index, tuple) else (index,)))
    try:
        y = a.data[index]
    except (IndexError, ValueError) as error:
        raise NetworkError(f"index: {error}.") from None

    def by_a(g: Array) -> Array:
        found = np.zeros_like(a.data)
        if plain:
            found[index] = g
        else:
            np.add.at(found, index, g)
        return found

    return record(y, (a, by_a))


# -- what they share -------------------------------------------------------------------------------------------


def _pair(a: Operand, b: Operand, sign: str) -> tuple[Tensor, Tensor]:
    """Both as tensors. Raises NetworkError when they cannot be broadcast against each other."""
    a, b = tensor(a, like=b), tensor(b, like=a)
    if a.shape != b.shape:
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise NetworkError(f"{sign}: shapes {a.shape} and {b.shape} cannot be broadcast together.") from None
    return a, b


def _summed(g: Array, shape: tuple[int, ...]) -> Array:
    """A gradient summed over the axes along which an operand of `shape` was broadcast."""
    if g.shape == shape:
        return g
    new = g.ndim - len(shape)
    g = g.sum(tuple(range(new)))
    stretched = tuple(i for i, width in enumerate(shape) if width == 1 and g.shape[i] != 1)
    return g.sum(stretched, keepdims=True) if stretched else g


def _axes(a: Tensor, axis: Axis) -> tuple[int, ...]:
    """The axes meant, counted from the front."""
    given = range(a.ndim) if axis is None else (axis,) if isinstance(axis, int | np.integer) else axis
    axes = tuple(i % a.ndim for i in given if -a.ndim <= i < a.ndim)
    if len(set(axes)) < len(tuple(given)):
        raise NetworkError(f"axis {axis} is not one of the {a.ndim} axes of {a.shape}, or not each another.")
    return axes


def _kept(g: Array, a: Tensor, axes: tuple[int, ...]) -> Array:
    """The gradient by a reduction, with the reduced axes of `a` as axes of width 1."""
    return g.reshape([1 if i in axes else width for i, width in enumerate(a.shape)])


# -- attached to Tensor: what Python's operators do ------------------------------------------------------------

OPERATORS: dict[str, Callable[..., Tensor] | property] = {
    "__add__": add,
    "__radd__": lambda a, b: add(b, a),
    "__sub__": subtract,
    "__rsub__": lambda a, b: subtract(b, a),
    "__mul__": multiply,
    "__rmul__": lambda a, b: multiply(b, a),
    "__truediv__": divide,
    "__rtruediv__": lambda a, b: divide(b, a),
    "__neg__": negative,
    "__pow__": power,
    "__matmul__": matmul,
    "__rmatmul__": lambda a, b: matmul(b, a),
    "__getitem__": getitem,
    "sum": sum,
    "mean": mean,
    "reshape": lambda a, *shape: reshape(a, shape),
    "T": property(transpose),
}
for _name, _operation in OPERATORS.items():
    setattr(Tensor, _name, _operation)
