"""What pictures of networks share: colours, style, axes, and how numbers and names are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from sanggar.errors import NetworkError, SanggarError
from sanggar.scratch.tensor import Array

Points = Sequence[float] | Array
"""`(points,)`: what is drawn stands over these."""

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
WIDTH = 9.0
"""inches of the widest figures: a page of 900 pixels at 100 dots an inch"""
STYLE: Any = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "axes.titlesize": 9,
    "axes.titlelocation": "left", "figure.constrained_layout.use": True, "figure.titlesize": 9, "font.size": 9,
    "image.interpolation": "nearest", "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.6,
    "text.parse_math": False,
}  # fmt: skip
"""Shapes and sizes; no colours."""
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _fading(below: str, above: str, first: float = -1.0, floor: float = 0.0) -> ListedColormap:
    """Colours for `first`…1 that fade towards 0, down to an opacity of `floor`."""
    rgb = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in (below, above)]
    return ListedColormap([[*rgb[int(t >= 0)], floor + (1 - floor) * abs(t)] for t in np.linspace(first, 1, 255)])


SIGNED, LINES, SHARES = _fading(ORANGE, BLUE), _fading(ORANGE, BLUE, floor=0.2), _fading(BLUE, BLUE, first=0.0)


def largest(values: Array, count: int) -> Array:
    """Where the largest are, in their old order; of equal ones the first."""
    return np.sort(np.argsort(-values, kind="stable")[:count])


def layers_of(given: Mapping[str, ArrayLike], what: str) -> dict[str, Array]:
    """Matrices with a row of biases, by layer. Raises NetworkError for anything else."""
    arrays = {name: np.asarray(a) for name, a in given.items()}
    for name, a in arrays.items():
        if a.ndim != 2 or len(a) < 2 or not a.size or a.dtype.kind not in "iuf":
            raise NetworkError(f"{what}: {name}: expected numbers (inputs + 1, outputs), got {a.dtype} {a.shape}.")
        if not np.isfinite(a).all():
            raise NetworkError(f"{what}: {name} holds a value that is not finite.")
    if not arrays:
        raise NetworkError(f"{what}: there is no layer.")
    return {name: a.astype(float) for name, a in arrays.items()}


def named(given: Sequence[str] | None, count: int, of: str, error: type[SanggarError] = NetworkError) -> list[str]:
    """The names, long ones cut, or numbers in their place."""
    if given is not None and len(given) != count:
        raise error(f"expected {count} names of the {of}, got {len(given)}.")
    names = [str(name) for name in (range(count) if given is None else given)]
    return [name if len(name) <= 20 else f"{name[:19]}…" for name in names]


def panels_of(names: Iterable[str], x_label: str, x: Points = (0.5,)) -> tuple[Figure, list[Axes]]:
    """Axes for each name, two or three beside each other; whole numbers at the ticks where `x` are whole."""
    count = len([*names])
    if not count:
        raise NetworkError("there is nothing to draw: no layer, or no epoch.")
    columns = {1: 1, 2: 2, 4: 2}.get(count, 3)
    figure = Figure((min(WIDTH, 1.6 + 3.2 * columns), 0.4 + 2.2 * -(-count // columns)))
    panels = [figure.add_subplot(-(-count // columns), columns, i + 1) for i in range(count)]
    for i, ax in enumerate(panels):
        tidy(ax)
        ax.grid(color=rcParams["text.color"], alpha=0.12, linewidth=0.6)
        ax.xaxis.set_major_locator(
            MaxNLocator(6 if columns < 3 else 4, integer=all(float(value).is_integer() for value in x))
        )
        ax.set_xlabel(x_label if i >= count - columns else "")
    return figure, panels


def sheet(count: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Axes for pictures, without ticks."""
    rows = -(-count // columns)
    figure = Figure((WIDTH, 0.7 + rows * (WIDTH / columns + 0.25)))
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    for ax in panels:
        ax.axis("off")
    return figure, panels


def tidy(ax: Axes, framed: bool = True) -> None:
    """Ticks with the colours of now: made late, they would have those of the moment in which they are drawn."""
    ax.tick_params(color=rcParams["xtick.color"], labelcolor=rcParams["xtick.color"], labelsize=8, width=0.6)
    if not framed:
        ax.grid(False)
        ax.spines[:].set_visible(False)


def tidy_key(key: Colorbar) -> None:
    """A colour bar likewise, without a frame."""
    key.outline.set_visible(False)
    if key.solids is not None:
        key.solids.set_rasterized(True)  # as shapes, colours that shine through show seams
    tidy(key.ax, framed=False)


def number(value: float) -> str:
    """Two digits and a real minus sign."""
    return fixed(value) if 0.1 <= abs(value) < 100 else f"{value + 0.0:.2g}".replace("-", "−")  # + 0.0: no −0


def fixed(value: float) -> str:
    """Two decimals and a real minus sign."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
