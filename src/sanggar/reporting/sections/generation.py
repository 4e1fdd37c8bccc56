"""Sections about networks that draw: their pictures, and how near these are to real ones."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib import rc_context

from sanggar.reporting.comparison import Number, any_of, cells, comparable, protocols, row_label
from sanggar.reporting.figures import INK, LINES, STYLE, Series, axes, line_chart, number, png, rows, sheet, svg, table
from sanggar.reporting.view import View, Views, headed, of_each, value

Stack = UInt8[np.ndarray, "n height width channels"]
Sheet = UInt8[np.ndarray, "tall wide 4"]

MEASURED = (
    "frechet", "kernel", "precision", "recall", "density", "coverage", "nearest", "memorization", "duplicates",
    "agreement",
)  # fmt: skip


# -- numbers -----------------------------------------------------------------------------------------------------


def measured(views: Views) -> str | None:
    """Every number of generated pictures beside the same number of real ones."""
    places = {f"generation.{key}": place for place, key in enumerate(MEASURED)}
    found = comparable(views, lambda n: n["key"] in places and n["subject"] == "network")
    if not found:
        return None
    found.sort(key=lambda row: places[any_of(row)["key"]])
    having = [view for view in views if any(view.name in row for row in found)]
    body = []
    for index, row in enumerate(found, start=1):
        n, view = any_of(row), next(view for view in having if view.name in row)
        ranked = n["key"] != "generation.nearest"  # copies are near, pictures of nothing far: neither is good
        floor = _beside(view, n)
        real = _written(floor, view) if floor else "—"
        body.append([row_label(row, index, ranked), *cells(row, having, _cell, ranked), real])
    ranked = " The best of a row is bold; a row holds only numbers of one protocol." if len(having) > 1 else ""
    return (
        table(["", *(escape(view.name) for view in having), "real pictures"], body)
        + "<p class=note>Under “real pictures” stands what as many real pictures get in the same measurement. A number "
        "better than theirs comes of chance, or of pictures more typical than real ones. × is a distance in multiples "
        "of it. The kernel distance is unbiased: of real pictures it is about 0, and may be negative. In brackets: "
        f"95 % interval over the pictures; it says nothing of other seeds.{ranked}</p>" + protocols(found)
    )


def _beside(view: View, n: Number) -> Number | None:
    """The same number of real pictures."""
    same = view.numbers(n["key"], **n["protocol"])
    return next((other for other in same if other["subject"] != n["subject"]), None)


def _cell(n: Number, view: View) -> str:
    return _written(n, view, _beside(view, n))


def _written(n: Number, view: View, floor: Number | None = None) -> str:
    text = value(n)
    if n["key"] == "generation.frechet" and floor and floor["value"] > 0:
        ratio = n["value"] / floor["value"]
        text += f" <small>{ratio:,.{0 if ratio >= 10 else 1}f} ×</small>"
    if n["key"] == "generation.kernel":
        deviations = view.numbers("generation.kernel_deviation", **n["protocol"])
        found = [other["value"] for other in deviations if other["subject"] == n["subject"]]
        text += "".join(f" <small>deviation {number(deviation, 2)}</small>" for deviation in found)
    return text


def class_by_class(views: Views) -> str | None:
    """How good the pictures of each class are, and how many are of the class asked for."""
    keys = ("generation.class_frechet", "generation.class_agreement")
    note = "<p class=note>Bars: pictures drawn when the class was asked for. Marks: real pictures of the class.</p>"
    return of_each(views, lambda view: "".join(_bars(view, key) for key in keys if view.numbers(key)), note)


def _bars(view: View, key: str) -> str:
    """A bar a class, and a mark where real pictures are."""
    numbers = {n["protocol"]["class"]: n for n in view.numbers(key) if n["subject"] == "network"}
    real = {n["protocol"]["class"]: n["value"] for n in view.numbers(key) if n["subject"] != "network"}
    names = [name for name in view.info["data"]["classes"] if name in numbers]
    values = [numbers[name]["value"] for name in names]
    better = numbers[names[0]]["better"]
    label = numbers[names[0]]["label"].removesuffix(f": {names[0]}")
    figure, ax = axes(height=0.9 + 0.26 * len(names))
    with rc_context(STYLE):
        ax.barh(range(len(names)), values, height=0.62, color=LINES[0], label="network")
        marked = [(real[name], place) for place, name in enumerate(names) if name in real]
        if marked:
            look: Any = {"linestyle": "", "marker": "|", "markersize": 13, "markeredgewidth": 2, "color": INK}
            ax.plot(*zip(*marked, strict=True), **look, label="real pictures")
        ax.set_yticks(range(len(names)), [_short(name) for name in names])
        end = max([*values, *real.values(), 1e-9])
        ax.set_xlim(0, 1.15 * end)
        for place, found in enumerate(values):
            ax.text(1.14 * end, place, number(found, 3), ha="right", va="center", fontsize=8)
        ax.set_xlabel(f"{label}, {better} is better")
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center", ncols=2)
    mean = float(np.mean(values))
    worst = (min if better == "higher" else max)(range(len(names)), key=values.__getitem__)
    said = (
        f"The mean over the classes shown is {number(mean, 3)}; the worst is {names[worst]} with "
        f"{number(values[worst], 3)}"
        + (f", {number(values[worst] / mean, 2)} times the mean." if better == "lower" and mean > 0 else ".")
    )
    left = [name for name in view.info["data"]["classes"] if name not in numbers]
    said += f" Not measured, for want of pictures: {', '.join(left)}." if left else ""
    return svg(figure, f"{view.name}: {label} class by class. {said}") + f"<p class=note>{escape(said)}</p>"


# -- pictures ----------------------------------------------------------------------------------------------------


def samples(views: Views) -> str | None:
    """What the network draws; a row a class where it can be asked for one."""
    return of_each(views, _samples, "<p class=note>Not chosen: the first that the evaluation drew.</p>")


def _samples(view: View) -> str | None:
    if "generation.samples" not in view.pictures:
        return None
    pictures = view.pictures["generation.samples"]
    labels, names = view.pictures.get("generation.labels"), view.info["data"]["classes"]
    if labels is None:
        columns = int(view.pictures["generation.columns"][0])
        whole = sheet(pictures.reshape(-1, columns, *pictures.shape[1:]))
        return f'<div class="rows">{png(whole, f"{len(pictures)} pictures drawn by {view.name}")}</div>'
    by_class = {names[label]: pictures[labels == label] for label in np.unique(labels)}
    return rows(by_class, f"pictures drawn by {view.name} when this class was asked for")


def walks(views: Views) -> str | None:
    """Walks through the latent space."""

    def write(view: View) -> str | None:
        if "generation.walks" not in view.pictures:
            return None
        named, names = {}, view.info["data"]["classes"]
        for i, walk in enumerate(view.pictures["generation.walks"]):
            asked = f", class {names[i % len(names)]}" if "generation.labels" in view.pictures else ""
            named[f"walk {i + 1}{asked}"] = walk
        return rows(named, f"pictures that {view.name} draws on the way between two latents")

    note = (
        "<p class=note>From one latent to another at even angles (slerp): a straight line would pass nearer to the "
        "centre than latents ever lie. Pictures that change evenly speak for a latent space without holes.</p>"
    )
    return of_each(views, write, note)


def truncation(views: Views) -> str | None:
    """The same latents drawn ever closer to the centre, and what that does to quality and variety."""
    parts, counts = [], dict[str, None]()
    curves = dict[str, dict[str, tuple[list[float], list[float]]]]()
    for view in views:
        if "generation.truncation.pictures" not in view.pictures or "exploration.drawn" in view.pictures:
            continue  # the same latents at several temperatures stand beside other ways to draw
        levels = view.pictures["generation.truncation.levels"]
        distances, recalls = (view.pictures.get(f"generation.truncation.{key}") for key in ("frechet", "recall"))
        named = {}
        for i, (level, pictures) in enumerate(
            zip(levels, view.pictures["generation.truncation.pictures"], strict=True)
        ):
            told = [
                f"{word} {number(array[i], 3)}"
                for word, array in (("distance", distances), ("recall", recalls)) if array is not None
            ]  # fmt: skip
            named[" · ".join([f"level {level:g}", *told])] = pictures
        parts += [headed(view, views), rows(named, f"the same latents drawn by {view.name}")]
        if distances is not None and recalls is not None:
            alike = str([n["protocol"] for n in view.numbers("generation.frechet")])
            curves.setdefault(alike, {})[view.name] = (recalls.tolist(), distances.tolist())
        counts |= dict.fromkeys(f"{n:,}" for n in view.pictures.get("generation.truncation.n", ()))
    on = f"{' and '.join(counts)} pictures each"
    distance = (
        f"Distance: Fréchet distance to test pictures, on {on}; on fewer pictures than the headline it is larger."
        if curves else f"There is no distance: {on} are no more than the network that looks at them has features."
    )  # fmt: skip
    note = (
        "<p class=note>At level 1 latents are drawn as in training; below it they are drawn towards the centre, to "
        f"that share of their way: pictures become more typical and less various. {distance if counts else ''}</p>"
    )
    charts = "".join(_trade(found, views) for found in curves.values())
    return "".join(parts) + charts + note if parts else None


def _trade(curves: dict[str, tuple[list[float], list[float]]], views: Views) -> str:
    """Distance against recall, a point a level, for runs that were measured alike."""
    series: Series = [
        (name if len(views) > 1 else "levels 1 to 0.2", *curve, {"color": LINES[i % len(LINES)], "marker": "o"})
        for i, (name, curve) in enumerate(curves.items())
    ]
    said = "; ".join(
        f"{name}: recall {number(recall[0], 3)} and distance {number(distance[0], 3)} without truncation, "
        f"{number(recall[-1], 3)} and {number(distance[-1], 3)} at the strongest"
        for name, (recall, distance) in curves.items()
    )
    return line_chart(series, "recall, higher is better", "Fréchet distance, lower is better", f"Truncation. {said}.")


def neighbours(views: Views) -> str | None:
    """Samples, and the training pictures nearest to them: whether the network draws or remembers."""

    def write(view: View) -> str | None:
        if "generation.neighbours" not in view.pictures:
            return None
        columns = view.pictures["generation.neighbours"].swapaxes(0, 1)
        distances = view.pictures["generation.neighbours.distances"].T
        words = f"a picture drawn by {view.name}, and below it its nearest training pictures"
        figures = "".join(
            f"<figure>{png(_below(column), words)}<figcaption>"
            f"{', '.join(number(distance, 2) for distance in far)}</figcaption></figure>"
            for column, far in zip(columns, distances, strict=True)
        )
        return f'<div class="gallery small">{figures}</div>{_remembered(view)}'

    note = (
        "<p class=note>On top: pictures drawn. Below each: the training pictures nearest to it by features, nearest "
        "first, and their distances.</p>"
    )
    return of_each(views, write, note)


def _below(column: Stack) -> Sheet:
    """The first picture, and after a wider gap the others under each other."""
    first, others = sheet(column[:1, None]), sheet(column[1:, None])
    return np.concatenate([first, np.zeros((max(3, len(first) // 5), *first.shape[1:]), np.uint8), others])


def _remembered(view: View) -> str:
    """How often pictures are all but training pictures, or all but each other, in a table."""
    body = []
    for key in ("memorization", "duplicates"):
        for n in view.numbers(f"generation.{key}"):
            if n["subject"] == "network":
                real = _beside(view, n)
                near = f"{escape(n['label'])} <small>({escape(str(n['protocol'].get('near', '')))})</small>"
                body.append([near, value(n), value(real) if real else "—"])
    return table(["share of pictures", "drawn", "real"], body) if body else ""


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
