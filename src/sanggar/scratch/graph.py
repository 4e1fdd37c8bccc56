"""A network drawn as neurons and lines."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from sanggar.errors import NetworkError
from sanggar.scratch.canvas import (
    LINES,
    RAISED,
    SIGNED,
    STYLE,
    WIDTH,
    fixed,
    largest,
    layers_of,
    named,
    number,
    tidy_key,
)
from sanggar.scratch.tensor import Array


@rc_context(STYLE)
def graph(
    weights: Mapping[str, ArrayLike], gradients: Mapping[str, ArrayLike] | None = None, *,
    names: Sequence[str] | None = None, classes: Sequence[str] | None = None, most: tuple[int, int] = (16, 96),
) -> Figure:  # fmt: skip
    """The network as neurons and lines: colour and width of a line by its weight, fill of a neuron by its bias.

    `weights`, and the `gradients` drawn beside them, are arrays `(inputs + 1, outputs)` by layer, the bias in the
    last row, as `FFNN` has them. `names` are of the inputs, `classes` of the outputs. At most `most[0]` neurons of a
    layer and `most[1]` lines between two are drawn, the same in both views: the figure says how many, and how the
    weights chose them. Values are printed where there is room. Raises NetworkError for what does not fit.
    """
    layers = layers_of(weights, "weights")
    for (one, a), (two, b) in pairwise(layers.items()):
        if a.shape[1] != len(b) - 1:
            raise NetworkError(f"{one} has {a.shape[1]} outputs, but {two} {len(b) - 1} inputs and a row of biases.")
    views = {"weight": layers} | ({} if gradients is None else {"gradient": layers_of(gradients, "gradients")})
    for view in views.values():
        if {k: a.shape for k, a in view.items()} != {k: a.shape for k, a in layers.items()}:
            raise NetworkError("the gradients are not of these weights: layers or shapes differ.")
    if min(most) < 1:
        raise NetworkError(f"at least one neuron and one line are drawn, got most={most}.")
    plan = _Plan(layers, names, classes, most)
    # all lengths are inches, so that what is drawn side by side is known to fit
    left, right = (0.25 + 0.068 * max(len(plan.labels[k][i]) for i in plan.neurons[k]) for k in (0, -1))
    gap = min(2.4, max(0.75, (WIDTH / len(views) - left - right - 0.13) / len(layers)))
    width, tall = left + gap * len(layers) + right + 0.13, plan.step * max(map(len, plan.neurons))
    middle = 0.65 + tall / 2
    places = [
        left + k * gap + 1j * (middle + plan.step * ((len(column) - 1) / 2 - np.arange(len(column))))
        for k, column in enumerate(plan.neurons)
    ]
    told = textwrap.wrap(plan.told(len(views)), int(width * len(views) / 0.066))
    low, high = 0.16 * len(told) + 0.1, middle + tall / 2 + 0.65
    figure = Figure((width * len(views), low + high))
    figure.set_layout_engine("none")
    figure.text(0.08 / width / len(views), 0.08 / (low + high), "\n".join(told), size=8, linespacing=1.25)
    for i, (what, view) in enumerate(views.items()):
        ax = figure.add_axes((i / len(views), low / (low + high), 1 / len(views), high / (low + high)), label=what)
        ax.set(xlim=(0, width), ylim=(0, high))
        ax.axis("off")
        limit, unit = plan.draw(ax, what, view, places, high - 0.58)
        ax.text(width / 2, high - 0.16, f"{what}s{unit}", ha="center", weight="bold")
        ticks = [-limit, *((-limit / 8, 0.0, limit / 8) if i else (0.0,)), limit]
        room = ax.inset_axes((width / 2 - 1.3, 0.3, 2.6, 0.12), transform=ax.transData)
        key = figure.colorbar(ax.collections[-1], room, ticks=ticks, orientation="horizontal")
        key.ax.set_xticklabels([number(tick) for tick in ticks])
        tidy_key(key)
    return figure


class _Plan:
    """What of a network is drawn, and how."""

    def __init__(
        self,
        layers: dict[str, Array],
        names: Sequence[str] | None,
        classes: Sequence[str] | None,
        most: tuple[int, int],
    ) -> None:
        sizes = [np.abs(a[:-1]) for a in layers.values()]
        self.names, self.totals = ["inputs", *layers], [len(sizes[0]), *(a.shape[1] for a in sizes)]
        self.labels = [[str(i) for i in range(n)] for n in self.totals]
        self.labels[0] = named(names, self.totals[0], "inputs")
        self.labels[-1] = named(classes, self.totals[-1], "outputs")
        self.printed = all(a.size <= 12 for a in sizes)
        self.radius, self.step = (0.2, 0.9) if self.printed else (0.12, 0.31)
        self.neurons = [largest(a.sum(axis=1), most[0]) for a in sizes] + [largest(sizes[-1].sum(axis=0), most[0])]
        among = [a[np.ix_(*ends)] for a, ends in zip(sizes, pairwise(self.neurons), strict=True)]
        # between two columns: numbers among the drawn neurons of the one, and of the other
        self.lines = [np.unravel_index(largest(a.ravel(), most[1]), a.shape) for a in among]

    def told(self, views: int) -> str:
        """How to read the figure, what it leaves out, and how that was chosen."""
        parts = ["A line is a weight, the fill of a circle the bias of its neuron: blue above 0, orange below."]
        of = ["inputs", *(f"neurons of {name}" for name in self.names[1:])]
        sizes = zip(map(len, self.neurons), self.totals, of, strict=True)
        if cut := [f"{some} of {total:,} {what}" for some, total, what in sizes if some < total]:
            into = " (reach them, in the last layer)" if len(self.neurons[-1]) < self.totals[-1] else ""
            parts.append(f"Drawn: {', '.join(cut)}: the largest sum of |weight| over all lines that leave them{into}.")
        ways = zip((len(a) for a, _ in self.lines), pairwise(self.totals), self.names[1:], strict=True)
        if cut := [f"{some} of {a * b:,} lines into {name}" for some, (a, b), name in ways if some < a * b]:
            parts.append(f"Drawn: {', '.join(cut)}: the largest |weight| between drawn neurons.")
        if views > 1:
            parts.append("On the right the gradients of the same, coloured by their cube root.")
        return " ".join(parts)

    def draw(self, ax: Axes, what: str, layers: dict[str, Array], places: list[Array], top: float) -> tuple[float, str]:
        """One view; the largest number in it, and in what the numbers are printed."""
        ends = [*pairwise(self.neurons)]
        lit = [a[np.ix_(*end)][line] for a, end, line in zip(layers.values(), ends, self.lines, strict=True)]
        biases = [a[-1, end[1]] for a, end in zip(layers.values(), ends, strict=True)]
        limit = max(float(np.abs(a).max()) for a in (*lit, *biases)) or 1.0
        # gradients differ by powers of ten: on a straight scale one line would be all that is seen
        scale = FuncNorm((np.cbrt, lambda v: v**3), -limit, limit) if what == "gradient" else Normalize(-limit, limit)
        # printed numbers have to be short: tiny ones are told in a power of ten, which the title names
        power = 0 if 0.1 <= limit < 100 or not self.printed else int(np.floor(np.log10(limit)))
        ink, last = rcParams["text.color"], len(layers)
        ax.scatter(places[0].real, places[0].imag, s=9, color=ink)
        for k, name in enumerate(layers):
            # from side to side: no line runs through a circle, which could not hide it
            start = places[k][self.lines[k][0]] + (self.radius if k else 0.06)
            end = places[k + 1][self.lines[k][1]] - self.radius
            _lines(ax, start, end, lit[k], scale, f"{what}-lines-{name}")
            circles = PatchCollection([Circle((p.real, p.imag), self.radius) for p in places[k + 1]], cmap=SIGNED,
                norm=scale, array=biases[k], linewidths=0.8, edgecolors=ink, gid=f"{what}-biases-{name}")  # fmt: skip
            ax.add_collection(circles, autolim=False)
            if self.printed:
                _values(ax, start, end, [fixed(value / 10.0**power) for value in lit[k]])
        for k, column in enumerate(self.neurons):
            of = f"{len(column)} of " if len(column) < self.totals[k] else ""
            ax.text(places[k][0].real, top, f"{self.names[k]}\n{of}{self.totals[k]:,}", size=8, ha="center")
            for i, p in zip(column, places[k], strict=True):
                if 0 < k < last and not self.printed:
                    ax.text(p.real, p.imag, self.labels[k][i], size=6, ha="center", va="center_baseline")
                elif k in (0, last):
                    shift, side = (self.radius + 0.08, "left") if k else (-0.12, "right")
                    ax.text(p.real + shift, p.imag, self.labels[k][i], size=8, ha=side, va="center")
            for p, bias in zip(places[k], biases[k - 1] if k and self.printed else (), strict=False):
                ax.text(p.real, p.imag, fixed(bias / 10.0**power), size=7.5, ha="center", va="center_baseline")
        return limit, f", printed in 10{str(power).translate(RAISED)}" if power else ""


def _lines(ax: Axes, start: Array, end: Array, values: Array, scale: Normalize, gid: str) -> None:
    """Lines between points of the plane, given as complex numbers: the strongest on top."""
    order = np.argsort(np.abs(values), kind="stable")
    ends = np.stack([start, end], axis=1)[order]
    strength = np.abs(2 * np.asarray(scale(values[order])) - 1)
    ax.add_collection(
        LineCollection(list(np.stack([ends.real, ends.imag], axis=2)), linewidths=0.4 + 2.6 * strength, cmap=LINES,
                       norm=scale, array=values[order], gid=gid), autolim=False,
    )  # fmt: skip


def _values(ax: Axes, start: Array, end: Array, texts: list[str]) -> None:
    """A text at each line, where other lines and texts are farthest: tried along it and on both its sides."""
    t, side = (a.ravel() for a in np.meshgrid(np.linspace(0.2, 0.8, 31), (0.09j, -0.09j)))
    placed: list[complex] = []
    for i, text in enumerate(texts):
        way = (end[i] - start[i]) / abs(end[i] - start[i])
        spots = start[i] + t * (end[i] - start[i]) + side * way
        a, along = np.delete(start, i), np.delete(end - start, i)
        tried = np.concatenate([spots + s * 0.035 * len(text) * way for s in (-1, 0, 1)])[:, None]
        part = np.clip(((tried - a) * along.conj()).real / np.abs(along) ** 2, 0, 1)
        room = np.abs(tried - a - part * along).min(axis=1, initial=9).reshape(3, -1).min(axis=0)
        room = np.minimum(room, 0.5 * np.abs(spots[:, None] - np.array(placed)).min(axis=1, initial=9))
        placed.append(spots[int(np.argmax(np.minimum(room, 0.16) - 0.02 * np.abs(t - 0.5)))])
        angle = float(np.degrees(np.angle(way)))
        ax.text(placed[-1].real, placed[-1].imag, text, size=8, rotation=angle, rotation_mode="anchor", ha="center",
                va="center")  # fmt: skip
