"""Pictures of networks and of what they do, drawn with Matplotlib from plain arrays.

Every function returns a `Figure` that no window and no global list knows of: `figure.savefig(path)` writes it.
Text and axes have the colours of `rcParams`, and marks fade into whatever ground there is, so that a picture reads on
light and on dark. Blue is above 0 and orange below: colour-blind eyes tell them apart (Okabe & Ito 2008).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import ArrayLike

from sanggar.errors import DataError, NetworkError, suggest
from sanggar.scratch.canvas import (
    BLUE,
    GREEN,
    ORANGE,
    SHARES,
    SIGNED,
    STYLE,
    Points,
    largest,
    layers_of,
    named,
    number,
    panels_of,
    sheet,
    tidy,
    tidy_key,
)
from sanggar.scratch.graph import graph
from sanggar.scratch.network import Epoch
from sanggar.scratch.tensor import Array

__all__ = [
    "bands", "confusion", "curves", "distributions", "first_layer", "graph", "lines", "misclassified", "movement",
]  # fmt: skip

Line = Sequence[float | None] | Array
"""A value for each point; None, or not a number, where there is none."""

# -- values, and how they move ---------------------------------------------------------------------------------


@rc_context(STYLE)
def distributions(
    arrays: Mapping[str, ArrayLike], layers: Sequence[str] | None = None, *, label: str = "weight", log: bool = False
) -> Figure:
    """A histogram for each layer, or for those named: of weights or gradients, biases included.

    `log` counts on a logarithmic scale, which shows the few far from 0. Raises NetworkError for a layer that is not
    there, with the nearest that is, and for values that are not finite.
    """
    for name in layers or ():
        if name not in arrays:
            raise NetworkError(f"there is no layer {name!r}. {suggest(name, arrays)}")
    chosen = layers_of({name: arrays[name] for name in layers or arrays}, label)
    figure, panels = panels_of(chosen, label)
    for (name, a), ax in zip(chosen.items(), panels, strict=True):
        bins = int(np.clip(np.sqrt(a.size), 8, 60)) if np.ptp(a) > 1e-9 * np.abs(a).max() else 1
        counts, edges = np.histogram(a, bins)
        ax.stairs(counts, edges, baseline=0.5 if log else 0, fill=True, color=BLUE, alpha=0.75)
        ax.axvline(0, color=rcParams["text.color"], linewidth=0.8, alpha=0.6)
        ax.set_title(f"{name}\n{a.size:,} values, deviation {number(a.std())}")
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
def bands(x: Points, layers: Mapping[str, ArrayLike], *, label: str = "weights", x_label: str = "epoch") -> Figure:
    """By layer the median and two bands over `x (points,)`, of `(points, 5)`: 5, 25, 50, 75 and 95 % quantiles.

    Raises NetworkError for arrays of another shape.
    """
    figure, panels = panels_of(layers, x_label, x)
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
    loss: dict[str, Line] = {
        "train": [e.train_loss for e in history],
        "validation": [e.validation_loss for e in history],
    }
    return lines([e.number for e in history], loss, {"validation": [e.validation_accuracy for e in history]})


@rc_context(STYLE)
def lines(
    x: Points, loss: Mapping[str, Line], accuracy: Mapping[str, Line] | None = None, *, x_label: str = "epoch"
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
    figure, axes = panels_of(panels, x_label, x)
    for (what, panel), ax in zip(panels.items(), axes, strict=True):
        for name, line in panel.items():
            colour, dashes = {"train": (BLUE, "-"), "validation": (ORANGE, "--")}.get(name, (GREEN, ":"))
            ax.plot(x, line, color=colour, linestyle=dashes, marker="." if len(x) < 30 else None, label=name)
        ax.set_title(what)
        ax.legend()
    return figure


# -- what it has learned, and what it gets wrong ---------------------------------------------------------------


@rc_context(STYLE)
def confusion(matrix: ArrayLike, classes: Sequence[str] | None = None) -> Figure:
    """How often a class (row) was taken for another (column): counts, coloured by their share of the row.

    `matrix (classes, classes)` of whole numbers. Raises DataError for another, and for names that do not fit.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or not 0 < len(counts) == counts.shape[1] or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise DataError(f"a confusion matrix holds counts (classes, classes), got {counts.dtype} {counts.shape}.")
    names, n = named(classes, len(counts), "classes", DataError), len(counts)
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
    tidy(ax, framed=False)
    shown = [0, 0.01, 0.05, 0.2, 0.5, 1]
    key = figure.colorbar(image, ax=ax, fraction=0.045, pad=0.03, ticks=shown, label="share of the true class")
    key.ax.set_yticklabels([f"{share:.0%}".replace("%", " %") for share in shown])
    tidy_key(key)
    return figure


@rc_context(STYLE)
def first_layer(weights: ArrayLike, shape: tuple[int, int], count: int = 24) -> Figure:
    """The weights of first-layer neurons as pictures, on one scale around 0; biases are not shown.

    `weights (inputs + 1, neurons)`, whose inputs are the pixels of `shape (height, width)`. Raises NetworkError.
    """
    a = layers_of({"first layer": weights}, "weights")["first layer"][:-1]
    if len(a) != shape[0] * shape[1] or count < 1:
        raise NetworkError(f"{count} neurons of {len(a)} inputs are not pictures of {shape[0]}×{shape[1]}.")
    chosen = largest((a**2).sum(axis=0), count)
    limit = float(np.abs(a[:, chosen]).max()) or 1.0
    figure, panels = sheet(len(chosen), 8)
    for neuron, ax in zip(chosen, panels, strict=True):
        image = ax.imshow(a[:, neuron].reshape(shape), cmap=SIGNED, vmin=-limit, vmax=limit)
        ax.set_title(f"neuron {neuron}", size=8, loc="center")
    tidy_key(figure.colorbar(image, ax=panels, orientation="horizontal", fraction=0.04, aspect=40, label="weight"))
    how = ": the largest sums of squared weights" if len(chosen) < a.shape[1] else ""
    figure.suptitle(f"{len(chosen)} of {a.shape[1]:,} neurons of the first layer{how}")
    return figure


@rc_context(STYLE)
def misclassified(
    images: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    count: int = 24,
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
    figure, panels = sheet(len(shown), 6)
    for i, ax in zip(shown, panels, strict=True):
        ax.imshow(np.broadcast_to(pictures[i], (*pictures.shape[1:3], 3)))  # as a colour: no map touches grey
        ax.set_title(f"{classes[true[i]]} → {classes[found[i]]}\n{p[i]:.0%}".replace("%", " %"), size=8, loc="center")
    told = f"{len(shown)} of {len(wrong):,} wrongly classified of {n:,}: the most confident first"
    figure.suptitle(told if len(wrong) else f"Of {n:,} pictures none is wrongly classified.")
    return figure
