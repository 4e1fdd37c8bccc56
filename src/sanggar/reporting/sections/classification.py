"""Sections about networks that tell classes apart: how well they do it, and what their neurons are like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from sanggar.reporting.figures import LINES, STYLE, Series, img, line_chart, svg, table
from sanggar.reporting.view import View, Views, of_each, value
from sanggar.results import NETWORK
from sanggar.runs import Arrays
from sanggar.scratch import pictures


def classes(views: Views) -> str | None:
    """Precision and recall of each class, what was taken for what, and whether confidence can be believed."""

    def write(view: View) -> str | None:
        if "classification.confusion" not in view.arrays:
            return None
        names, counts = view.classes, view.arrays["classification.confusion"]
        apart = ((int(counts[i, j]), i, j) for i, j in np.ndindex(counts.shape) if i != j)
        most, true, taken = max(apart, default=(0, 0, 0))
        confused = f"Most often confused: {names[true]} taken for {names[taken]}." if most else "Nothing is confused."
        return (
            _class_table(view)
            + _drawn(lambda: pictures.confusion(counts, names), f"{view.name}: confusion matrix. {confused}")
            + "<p class=note>Rows are the true classes. Colour is the share of the row, on a scale that shows small "
            "shares.</p>" + _reliability(view)
        )

    return of_each(views, write)


def _class_table(view: View) -> str:
    body = []
    for name in view.classes:
        cells = [
            view.find(f"classification.{quantity}", NETWORK, **{"class": name}) for quantity in ("precision", "recall")
        ]
        body.append([escape(name), *(value(measured[0]) if measured else "—" for measured in cells)])
    return table(["class", "precision", "recall"], body)


def _reliability(view: View) -> str:
    if "classification.reliability" not in view.arrays:
        return ""
    confidence, accuracy, share = view.arrays["classification.reliability"].T
    series: Series = [
        ("perfectly calibrated", [0.0, 1.0], [0.0, 1.0], {"color": "#777777", "linestyle": ":", "linewidth": 1.1}),
        ("network", confidence.tolist(), accuracy.tolist(), {"color": LINES[0], "marker": "o"}),
    ]
    sure = f"{100 * share[-1]:.0f} % of the pictures have a confidence of {confidence[-1]:.2f} on average"
    words = f"{view.name}: accuracy against confidence. {sure}."
    return line_chart(series, "confidence", "accuracy", words) + f"<p class=note>{sure}, the right-most point.</p>"


def network(views: Views) -> str | None:
    """The network as a graph: weights, and beside them gradients."""
    note = "<p class=note>Gradients are those of the mean loss on the first test pictures, by the final weights.</p>"
    return of_each(views, _graph, note)


def _graph(view: View) -> str | None:
    weights, gradients = _neurons(view, "weights"), _neurons(view, "gradients")
    if not weights or weights.keys() != gradients.keys():
        return None
    widths = [len(next(iter(weights.values()))) - 1, *(array.shape[1] for array in weights.values())]
    words = (
        f"{view.name}: the network {'-'.join(map(str, widths))} as a graph of neurons and weights, and the same with "
        "gradients."
    )
    return _drawn(lambda: pictures.graph(weights, gradients, classes=view.classes), words, wide=True)


def neurons(views: Views) -> str | None:
    """How weights and gradients are distributed in each layer, how they moved, and what the first layer looks for."""
    return of_each(views, lambda view: "".join(_about_neurons(view)))


def _about_neurons(view: View) -> Iterator[str]:
    for of in ("weights", "gradients"):
        arrays = _neurons(view, of)
        if arrays:
            deviations = ", ".join(f"{name} {array.std():.3g}" for name, array in arrays.items())
            words = f"{view.name}: distribution of {of} by layer. Standard deviations: {deviations}."
            log = of == "gradients"  # most are nearly 0
            yield _drawn(
                lambda a=arrays, of=of, log=log: pictures.distributions(a, label=of, log=log), words, wide=True
            )
        moved = _movement(view, of)
        if moved:
            epochs = [line["epoch"] for line in view.metrics if line.get("network")]
            words = f"{view.name}: quantiles of {of} by layer over the training."
            yield _drawn(lambda x=epochs, m=moved, of=of: pictures.bands(x, m, label=of), words, wide=True)
    weights, data = _neurons(view, "weights"), view.info["data"]
    shape = (data["height"], data["width"])
    first = next(iter(weights.values()), None)
    if first is not None and data["channels"] == 1 and len(first) == shape[0] * shape[1] + 1:
        words = f"{view.name}: weights of neurons of the first layer as pictures of {shape[0]}×{shape[1]} pixels."
        yield _drawn(lambda: pictures.first_layer(first, shape), words, wide=True)


def _movement(view: View, of: str) -> dict[str, np.ndarray]:
    """By layer, the quantiles at each line of the metrics."""
    lines = [line["network"] for line in view.metrics if line.get("network")]
    names = [name for name in (lines[0] if lines else {}) if name.startswith(f"{of}/")]
    return {name.removeprefix(f"{of}/"): np.array([line[name] for line in lines]) for name in names}


def mistakes(views: Views) -> str | None:
    """The wrongly classified pictures that the network was surest of."""
    return of_each(views, _surest)


def _surest(view: View) -> str | None:
    arrays = [view.arrays.get(f"classification.{name}") for name in ("mistakes", "mistake_labels", "mistake_shares")]
    pixels, labels, shares = arrays
    if pixels is None or labels is None or shares is None or not len(pixels):
        return None
    names = view.classes
    figures = "".join(
        _mistake(picture, names[label], names[row.argmax()], float(row.max()))
        for picture, label, row in zip(pixels, labels, shares, strict=True)
    )
    wrong, n = (view.detail("classification", name, len(pixels)) for name in ("wrong", "n"))
    return f'<div class="gallery small">{figures}</div>' + (
        f"<p class=note>{len(pixels)} of {wrong:,} mistakes on {n:,} test pictures, the surest first: true class → "
        "class it was taken for, and the probability given to that.</p>"
    )


def _mistake(picture: np.ndarray, label: str, taken: str, share: float) -> str:
    words = f"{escape(label)} → {escape(taken)}<br>{100 * share:.1f} %"
    shown = img(picture.squeeze(), f"{label} taken for {taken}", len(picture))
    return f"<figure>{shown}<figcaption>{words}</figcaption></figure>"


def _neurons(view: View, of: str) -> Arrays:
    """Weights or gradients by layer."""
    prefix = f"classification.{of}."
    return {key.removeprefix(prefix): array for key, array in view.arrays.items() if key.startswith(prefix)}


def _drawn(draw: Callable[..., Figure], words: str, *, wide: bool = False) -> str:
    """A figure of the engine's in the page's colours."""
    with rc_context(STYLE):
        return svg(draw(), words, wide=wide)
