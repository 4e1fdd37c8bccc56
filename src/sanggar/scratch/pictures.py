"""Pictures of networks and of what they do, drawn with Matplotlib from plain arrays.

Every function returns a `Figure` that no window and no global list knows of: `figure.savefig(path)` writes it.
Text and axes have the colours of `rcParams`, and marks fade into whatever ground there is, so that a picture reads on
light and on dark. Blue is above 0 and orange below: colour-blind eyes tell them apart (Okabe & Ito 2008).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import FuncNorm, ListedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from sanggar.errors import DataError, NetworkError, SanggarError, suggest
from sanggar.scratch.network import Epoch
from sanggar.scratch.tensor import Array

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

# -- the network as a graph ------------------------------------------------------------------------------------


@rc_context(STYLE)
def graph(
    weights: Mapping[str, Any], gradients: Mapping[str, Any] | None = None, *, names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None, most: tuple[int, int] = (16, 96),
) -> Figure:  # fmt: skip
    """The network as neurons and lines: colour and width of a line by its weight, fill of a neuron by its bias.

    `weights`, and the `gradients` drawn beside them, are arrays `(inputs + 1, outputs)` by layer, the bias in the
    last row, as `FFNN` has them. `names` are of the inputs, `classes` of the outputs. At most `most[0]` neurons of a
    layer and `most[1]` lines between two are drawn, the same in both views: the figure says how many, and how the
    weights chose them. Values are printed where there is room. Raises NetworkError for what does not fit.
    """
    layers = _layers(weights, "weights")
    for (one, a), (two, b) in pairwise(layers.items()):
        if a.shape[1] != len(b) - 1:
            raise NetworkError(f"{one} has {a.shape[1]} outputs, but {two} {len(b) - 1} inputs and a row of biases.")
    views = {"weight": layers} | ({} if gradients is None else {"gradient": _layers(gradients, "gradients")})
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
        key.ax.set_xticklabels([_number(tick) for tick in ticks])
        _tidy_key(key)
    return figure


class _Plan:
    """What of a network is drawn, and how."""

    def __init__(self, layers: dict[str, Array], names: Any, classes: Any, most: tuple[int, int]) -> None:
        sizes = [np.abs(a[:-1]) for a in layers.values()]
        self.names, self.totals = ["inputs", *layers], [len(sizes[0]), *(a.shape[1] for a in sizes)]
        self.labels = [[str(i) for i in range(n)] for n in self.totals]
        self.labels[0] = _named(names, self.totals[0], "inputs")
        self.labels[-1] = _named(classes, self.totals[-1], "outputs")
        self.printed = all(a.size <= 12 for a in sizes)
        self.radius, self.step = (0.2, 0.9) if self.printed else (0.12, 0.31)
        self.neurons = [_largest(a.sum(axis=1), most[0]) for a in sizes] + [_largest(sizes[-1].sum(axis=0), most[0])]
        among = [a[np.ix_(*ends)] for a, ends in zip(sizes, pairwise(self.neurons), strict=True)]
        # between two columns: numbers among the drawn neurons of the one, and of the other
        self.lines = [np.unravel_index(_largest(a.ravel(), most[1]), a.shape) for a in among]

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
                _values(ax, start, end, [_fixed(value / 10.0**power) for value in lit[k]])
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
                ax.text(p.real, p.imag, _fixed(bias / 10.0**power), size=7.5, ha="center", va="center_baseline")
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
    placed: list[Any] = []
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


def _largest(values: Array, count: int) -> Array:
    """Where the largest are, in their old order; of equal ones the first."""
    return np.sort(np.argsort(-values, kind="stable")[:count])


# -- values, and how they move ---------------------------------------------------------------------------------


@rc_context(STYLE)
def distributions(
    arrays: Mapping[str, Any], layers: Sequence[str] | None = None, *, label: str = "weight", log: bool = False
) -> Figure:
    """A histogram for each layer, or for those named: of weights or gradients, biases included.

    `log` counts on a logarithmic scale, which shows the few far from 0. Raises NetworkError for a layer that is not
    there, with the nearest that is, and for values that are not finite.
    """
    for name in layers or ():
        if name not in arrays:
            raise NetworkError(f"there is no layer {name!r}. {suggest(name, arrays)}")
    chosen = _layers({name: arrays[name] for name in layers or arrays}, label)
    figure, panels = _panels(chosen, label)
    for (name, a), ax in zip(chosen.items(), panels, strict=True):
        bins = int(np.clip(np.sqrt(a.size), 8, 60)) if np.ptp(a) > 1e-9 * np.abs(a).max() else 1
        counts, edges = np.histogram(a, bins)
        ax.stairs(counts, edges, baseline=0.5 if log else 0, fill=True, color=BLUE, alpha=0.75)
        ax.axvline(0, color=rcParams["text.color"], linewidth=0.8, alpha=0.6)
        ax.set_title(f"{name}\n{a.size:,} values, deviation {_number(a.std())}")
        if log:
            ax.set(yscale="log", ylim=(0.5, None))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1 or not v else ""))
        ax.yaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("values")
    return figure


def movement(history: Sequence[Epoch], of: str = "weights") -> Figure:
    """How the "weights" or "gradients" of each layer spread, epoch by epoch. Raises NetworkError."""
    if of not in ("weights", "gradients"):
        raise NetworkError(f"a history holds no {of!r}. {suggest(of, ('weights', 'gradients'))}")
    kept: list[dict[str, list[float]]] = [getattr(epoch, of) for epoch in history]
    layers = {name: [line[name] for line in kept] for name in (kept[0] if kept else ())}
    return bands([epoch.number for epoch in history], layers, label=of)


@rc_context(STYLE)
def bands(x: Any, layers: Mapping[str, Any], *, label: str = "weights", x_label: str = "epoch") -> Figure:
    """By layer the median and two bands over `x (points,)`, of `(points, 5)`: 5, 25, 50, 75 and 95 % quantiles.

    Raises NetworkError for arrays of another shape.
    """
    figure, panels = _panels(layers, x_label, x)
    for (name, given), ax in zip(layers.items(), panels, strict=True):
        q = np.asarray(given, float)
        if q.shape != (len(x), 5) or not len(x):
            raise NetworkError(f"{name}: expected quantiles ({len(x)}, 5), got shape {q.shape}.")
        ax.fill_between(x, q[:, 0], q[:, 4], color=BLUE, alpha=0.2, linewidth=0)
        ax.fill_between(x, q[:, 1], q[:, 3], color=BLUE, alpha=0.4, linewidth=0)
        ax.plot(x, q[:, 2], color=rcParams["text.color"], marker="." if len(x) == 1 else None)
        ax.set_title(name)
        ax.margins(x=0)
    panels[0].set_ylabel(label)
    outer, inner = Patch(color=BLUE, alpha=0.2, lw=0), Patch(color=BLUE, alpha=0.52, lw=0)  # 0.2 and on it 0.4
    names = ["5 to 95 %", "25 to 75 %", "median"]
    figure.legend([outer, inner, *panels[0].lines], names, loc="outside upper right", ncols=3)
    return figure


def curves(history: Sequence[Epoch]) -> Figure:
    """Loss and accuracy, epoch by epoch."""
    loss = {"train": [e.train_loss for e in history], "validation": [e.validation_loss for e in history]}
    return lines([e.number for e in history], loss, {"validation": [e.validation_accuracy for e in history]})


@rc_context(STYLE)
def lines(
    x: Any, loss: Mapping[str, Any], accuracy: Mapping[str, Any] | None = None, *, x_label: str = "epoch"
) -> Figure:
    """Loss and accuracy over `x (points,)`, by name ("train", "validation"): a value for each x, or None.

    A line of nothing but None is left out. Raises DataError for lines of another length.
    """
    panels: dict[str, dict[str, Array]] = {"loss": {}, "accuracy": {}}
    for panel, group in zip(panels.values(), (loss, accuracy or {}), strict=True):
        for name, line in ((name, np.array(given, float)) for name, given in group.items()):
            if line.shape != (len(x),):
                raise DataError(f"{name}: expected {len(x)} values, one for each {x_label}, got shape {line.shape}.")
            if np.isfinite(line).any():
                panel[name] = line
    panels = {what: panel for what, panel in panels.items() if panel}
    figure, axes = _panels(panels, x_label, x)
    for (what, panel), ax in zip(panels.items(), axes, strict=True):
        for name, line in panel.items():
            colour, dashes = {"train": (BLUE, "-"), "validation": (ORANGE, "--")}.get(name, (GREEN, ":"))
            ax.plot(x, line, color=colour, linestyle=dashes, marker="." if len(x) < 30 else None, label=name)
        ax.set_title(what)
        ax.legend()
    return figure


# -- what it has learned, and what it gets wrong ---------------------------------------------------------------


@rc_context(STYLE)
def confusion(matrix: Any, classes: Sequence[str] | None = None) -> Figure:
    """How often a class (row) was taken for another (column): counts, coloured by their share of the row.

    `matrix (classes, classes)` of whole numbers. Raises DataError for another, and for names that do not fit.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or not 0 < len(counts) == counts.shape[1] or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise DataError(f"a confusion matrix holds counts (classes, classes), got {counts.dtype} {counts.shape}.")
    names, n = _named(classes, len(counts), "classes", DataError), len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    scale = PowerNorm(0.5, 0, 1)  # mistakes are a few percent of a row: on a straight scale nobody would see them
    figure = Figure((max(1.2, 0.48 * n) + 2.2, max(1.2, 0.48 * n) + 1.2))
    ax = figure.add_subplot(xlabel="predicted", ylabel="true")
    image = ax.imshow(shares, cmap=SHARES, norm=scale)
    for i, j in np.ndindex(n, n):
        colour = "white" if scale(shares[i, j]) > 0.85 else rcParams["text.color"]
        faint = 1 if counts[i, j] else 0.35
        ax.text(j, i, f"{counts[i, j]:,}", size=8, color=colour, alpha=faint, ha="center", va="center_baseline")
    slanted: Any = {"rotation": 40, "rotation_mode": "anchor", "ha": "right"} if max(map(len, names)) > 3 else {}
    ax.set_xticks(range(n), names, **slanted)
    ax.set_yticks(range(n), names)
    _tidy(ax, framed=False)
    shown = [0, 0.01, 0.05, 0.2, 0.5, 1]
    key = figure.colorbar(image, ax=ax, fraction=0.045, pad=0.03, ticks=shown, label="share of the true class")
    key.ax.set_yticklabels([f"{share:.0%}".replace("%", " %") for share in shown])
    _tidy_key(key)
    return figure


@rc_context(STYLE)
def first_layer(weights: Any, shape: tuple[int, int], count: int = 24) -> Figure:
    """The weights of first-layer neurons as pictures, on one scale around 0; biases are not shown.

    `weights (inputs + 1, neurons)`, whose inputs are the pixels of `shape (height, width)`. Raises NetworkError.
    """
    a = _layers({"first layer": weights}, "weights")["first layer"][:-1]
    if len(a) != shape[0] * shape[1] or count < 1:
        raise NetworkError(f"{count} neurons of {len(a)} inputs are not pictures of {shape[0]}×{shape[1]}.")
    chosen = _largest((a**2).sum(axis=0), count)
    limit = float(np.abs(a[:, chosen]).max()) or 1.0
    figure, panels = _sheet(len(chosen), 8)
    for neuron, ax in zip(chosen, panels, strict=True):
        image = ax.imshow(a[:, neuron].reshape(shape), cmap=SIGNED, vmin=-limit, vmax=limit)
        ax.set_title(f"neuron {neuron}", size=8, loc="center")
    _tidy_key(figure.colorbar(image, ax=panels, orientation="horizontal", fraction=0.04, aspect=40, label="weight"))
    how = ": the largest sums of squared weights" if len(chosen) < a.shape[1] else ""
    figure.suptitle(f"{len(chosen)} of {a.shape[1]:,} neurons of the first layer{how}")
    return figure


@rc_context(STYLE)
def misclassified(
    images: Any, labels: Any, predictions: Any, probabilities: Any, classes: Sequence[str], count: int = 24
) -> Figure:
    """Wrongly classified pictures, most confident first: true class → predicted class, and the probability of that.

    `images (n, height, width)`, or with 1 or 3 channels behind: uint8, or floats in 0…1. `labels` and `predictions`
    are class numbers `(n,)`; `probabilities` are of the predicted class `(n,)`, or of all `(n, classes)`. Raises
    DataError for what does not fit.
    """
    pictures, true, found, p = (np.asarray(a) for a in (images, labels, predictions, probabilities))
    pictures = pictures[..., None] if pictures.ndim == 3 else pictures
    if pictures.ndim != 4 or pictures.shape[3] not in (1, 3):
        raise DataError(f"images: expected (n, height, width), or with 1 or 3 channels, got {pictures.shape}.")
    if pictures.dtype.kind == "f" and ((pictures >= 0) & (pictures <= 1)).all():
        pictures = np.rint(pictures * 255).astype(np.uint8)
    if pictures.dtype != np.uint8:
        raise DataError(f"images: expected uint8, or floats in 0…1, got {pictures.dtype}.")
    n = len(pictures)
    for what, a in (("labels", true), ("predictions", found)):
        if a.shape != (n,) or a.dtype.kind not in "iu" or not ((a >= 0) & (a < len(classes))).all():
            raise DataError(f"{what}: expected {n} class numbers below {len(classes)}, got {a.dtype} {a.shape}.")
    if p.shape not in ((n,), (n, len(classes))):
        raise DataError(f"probabilities: expected ({n},) or ({n}, {len(classes)}), got {p.shape}.")
    p = p if p.ndim == 1 else p[np.arange(n), found]
    wrong = np.flatnonzero(true != found)
    shown = wrong[np.argsort(-p[wrong], kind="stable")][:count]
    figure, panels = _sheet(len(shown), 6)
    for i, ax in zip(shown, panels, strict=True):
        ax.imshow(np.broadcast_to(pictures[i], (*pictures.shape[1:3], 3)))  # as a colour: no map touches grey
        ax.set_title(f"{classes[true[i]]} → {classes[found[i]]}\n{p[i]:.0%}".replace("%", " %"), size=8, loc="center")
    told = f"{len(shown)} of {len(wrong):,} wrongly classified of {n:,}: the most confident first"
    figure.suptitle(told if len(wrong) else f"Of {n:,} pictures none is wrongly classified.")
    return figure


# -- what they share -------------------------------------------------------------------------------------------


def _layers(given: Mapping[str, Any], what: str) -> dict[str, Array]:
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


def _named(given: Sequence[str] | None, count: int, of: str, error: type[SanggarError] = NetworkError) -> list[str]:
    """The names, long ones cut, or numbers in their place."""
    if given is not None and len(given) != count:
        raise error(f"expected {count} names of the {of}, got {len(given)}.")
    names = [str(name) for name in (range(count) if given is None else given)]
    return [name if len(name) <= 20 else f"{name[:19]}…" for name in names]


def _panels(names: Iterable[str], x_label: str, x: Any = (0.5,)) -> tuple[Figure, list[Axes]]:
    """Axes for each name, two or three beside each other; whole numbers at the ticks where `x` are whole."""
    count = len([*names])
    if not count:
        raise NetworkError("there is nothing to draw: no layer, or no epoch.")
    columns = {1: 1, 2: 2, 4: 2}.get(count, 3)
    figure = Figure((min(WIDTH, 1.6 + 3.2 * columns), 0.4 + 2.2 * -(-count // columns)))
    panels = [figure.add_subplot(-(-count // columns), columns, i + 1) for i in range(count)]
    for i, ax in enumerate(panels):
        _tidy(ax)
        ax.grid(color=rcParams["text.color"], alpha=0.12, linewidth=0.6)
        ax.xaxis.set_major_locator(
            MaxNLocator(6 if columns < 3 else 4, integer=all(float(value).is_integer() for value in x))
        )
        ax.set_xlabel(x_label if i >= count - columns else "")
    return figure, panels


def _sheet(count: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Axes for pictures, without ticks."""
    rows = -(-count // columns)
    figure = Figure((WIDTH, 0.7 + rows * (WIDTH / columns + 0.25)))
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    for ax in panels:
        ax.axis("off")
    return figure, panels


def _tidy(ax: Axes, framed: bool = True) -> None:
    """Ticks with the colours of now: made late, they would have those of the moment in which they are drawn."""
    ax.tick_params(color=rcParams["xtick.color"], labelcolor=rcParams["xtick.color"], labelsize=8, width=0.6)
    if not framed:
        ax.grid(False)
        ax.spines[:].set_visible(False)


def _tidy_key(key: Colorbar) -> None:
    key.outline.set_visible(False)
    if key.solids is not None:
        key.solids.set_rasterized(True)  # as shapes, colours that shine through show seams
    _tidy(key.ax, framed=False)


def _number(value: Any) -> str:
    """Two digits and a real minus sign."""
    return _fixed(value) if 0.1 <= abs(value) < 100 else f"{value + 0.0:.2g}".replace("-", "−")  # + 0.0: no −0


def _fixed(value: Any) -> str:
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
