"""Sections about networks that draw: their pictures, and how near these are to real ones."""

from __future__ import annotations

import json
from html import escape

import numpy as np
from jaxtyping import UInt8
from matplotlib import rc_context

from sanggar.reporting import labels
from sanggar.reporting.comparison import any_of, cells, comparable, protocols, row_label
from sanggar.reporting.figures import INK, LINES, STYLE, Series, axes, img, line_chart, number, rows, sheet, svg, table
from sanggar.reporting.view import View, Views, headed, of_each, value
from sanggar.results import FLOOR, NETWORK, Measurement

Stack = UInt8[np.ndarray, "n height width channels"]
Sheet = UInt8[np.ndarray, "tall wide 4"]

MEASURED = (
    "frechet", "kernel", "precision", "recall", "density", "coverage", "nearest", "memorization", "duplicates",
    "agreement",
)  # fmt: skip
"""Quantities of the table, in its order"""
Curve = tuple[list[float], list[float], list[float]]
"""Levels of truncation, and at each recall and distance"""


# -- numbers -----------------------------------------------------------------------------------------------------


def measured(views: Views) -> str | None:
    """Every number of generated pictures beside the same number of real ones."""
    places = {f"generation.{quantity}": place for place, quantity in enumerate(MEASURED)}
    found = comparable(views, lambda m: m.key in places and m.subject == NETWORK)
    if not found:
        return None
    found.sort(key=lambda row: places[any_of(row).key])
    having = [view for view in views if any(view.name in row for row in found)]
    body = []
    for index, row in enumerate(found, start=1):
        m, view = any_of(row), next(view for view in having if view.name in row)
        floor = view.evaluation.beside(m, FLOOR)
        real = _written(floor, view) if floor else "—"
        body.append([row_label(row, index), *cells(row, having, _cell), real])
    bold = " The best of a row is bold; a row holds only numbers of one protocol." if len(having) > 1 else ""
    return (
        table(["", *(escape(view.name) for view in having), "real pictures"], body)
        + "<p class=note>Under “real pictures” stands what as many real pictures get in the same measurement. A number "
        "better than theirs comes of chance, or of pictures more typical than real ones. × is a distance in multiples "
        "of it. The kernel distance is unbiased: of real pictures it is about 0, and may be negative. In brackets: "
        f"95 % interval over the pictures; it says nothing of other seeds.{bold}</p>" + protocols(found)
    )


def _cell(m: Measurement, view: View) -> str:
    return _written(m, view, view.evaluation.beside(m, FLOOR))


def _written(m: Measurement, view: View, floor: Measurement | None = None) -> str:
    """A value, with a distance in multiples of its floor, and a kernel distance with its deviation."""
    text = value(m)
    if m.key == "generation.frechet" and floor and floor.value > 0:
        ratio = m.value / floor.value
        text += f" <small>{ratio:,.{0 if ratio >= 10 else 1}f} ×</small>"
    if m.key == "generation.kernel":
        deviations = view.find("generation.kernel_deviation", m.subject)
        text += "".join(f" <small>deviation {number(deviation.value, 2)}</small>" for deviation in deviations)
    return text


def class_by_class(views: Views) -> str | None:
    """How good the pictures of each class are, and how many are of the class asked for."""
    keys = ("generation.class_frechet", "generation.class_agreement")
    note = "<p class=note>Bars: pictures drawn when the class was asked for. Marks: real pictures of the class.</p>"
    return of_each(views, lambda view: "".join(_bars(view, key) for key in keys if view.find(key, NETWORK)), note)


def _bars(view: View, key: str) -> str:
    """A bar a class, and a mark where real pictures are."""
    found = {str(m.tags["class"]): m for m in view.find(key, NETWORK)}
    real = {str(m.tags["class"]): m.value for m in view.find(key, FLOOR)}
    names = [name for name in view.classes if name in found]
    values = [found[name].value for name in names]
    better, label = found[names[0]].better, labels.label(found[names[0]], "class")
    figure, ax = axes(height=0.9 + 0.26 * len(names))
    with rc_context(STYLE):
        ax.barh(range(len(names)), values, height=0.62, color=LINES[0], label="network")
        marked = [(real[name], place) for place, name in enumerate(names) if name in real]
        if marked:
            ax.plot(
                *zip(*marked, strict=True), linestyle="", marker="|", markersize=13, markeredgewidth=2, color=INK,
                label="real pictures",
            )  # fmt: skip
        ax.set_yticks(range(len(names)), [_short(name) for name in names])
        end = max([*values, *real.values(), 1e-9])
        ax.set_xlim(0, 1.15 * end)
        for place, of_class in enumerate(values):
            ax.text(1.14 * end, place, number(of_class, 3), ha="right", va="center", fontsize=8)
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
    left = [name for name in view.classes if name not in found]
    said += f" Not measured, for want of pictures: {', '.join(left)}." if left else ""
    return svg(figure, f"{view.name}: {label} class by class. {said}") + f"<p class=note>{escape(said)}</p>"


# -- pictures ----------------------------------------------------------------------------------------------------


def samples(views: Views) -> str | None:
    """What the network draws; a row a class where it can be asked for one."""
    return of_each(views, _samples, "<p class=note>Not chosen: the first that the evaluation drew.</p>")


def _samples(view: View) -> str | None:
    if "generation.samples" not in view.arrays:
        return None
    pictures, asked = view.arrays["generation.samples"], view.arrays.get("generation.labels")
    if asked is None:
        columns = int(view.detail("generation", "columns", len(pictures)))
        whole = sheet(pictures.reshape(-1, columns, *pictures.shape[1:]))
        return (
            f'<div class="rows">{img(whole, f"{len(pictures)} pictures drawn by {view.name}", pictures.shape[1])}</div>'
        )
    by_class = {view.classes[label]: pictures[asked == label] for label in np.unique(asked)}
    return rows(by_class, f"pictures drawn by {view.name} when this class was asked for")


def walks(views: Views) -> str | None:
    """Walks through the latent space."""

    def write(view: View) -> str | None:
        if "generation.walks" not in view.arrays:
            return None
        named, names = {}, view.classes
        for i, walk in enumerate(view.arrays["generation.walks"]):
            asked = f", class {names[i % len(names)]}" if "generation.labels" in view.arrays else ""
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
    curves = dict[str, dict[str, Curve]]()
    for view in views:
        swept = {"generation.truncation_levels", "generation.truncation_pictures"} <= view.arrays.keys()
        if not swept or "exploration.drawn" in view.arrays:
            continue  # earlier versions swept what exploration shows at several temperatures
        parts += [headed(view, views), _levels(view)]
        levels, distances, recalls = _curve(view)
        if distances is not None and recalls is not None:
            alike = json.dumps([m.protocol.model_dump() for m in view.find("generation.frechet")], sort_keys=True)
            curves.setdefault(alike, {})[view.name] = (levels.tolist(), recalls.tolist(), distances.tolist())
        if (n := view.detail("generation", "truncation_n")) is not None:
            counts[f"{n:,}"] = None
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


def _curve(view: View) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Levels of truncation, and at each the Fréchet distance and the recall, where they were measured."""
    distances, recalls = (view.arrays.get(f"generation.truncation_{what}") for what in ("frechet", "recall"))
    return view.arrays["generation.truncation_levels"], distances, recalls


def _levels(view: View) -> str:
    """A row of pictures a level, under its numbers."""
    levels, distances, recalls = _curve(view)
    named = {}
    for i, (level, pictures) in enumerate(zip(levels, view.arrays["generation.truncation_pictures"], strict=True)):
        numbers = [
            f"{word} {number(array[i], 3)}"
            for word, array in (("distance", distances), ("recall", recalls)) if array is not None
        ]  # fmt: skip
        named[" · ".join([f"level {level:g}", *numbers])] = pictures
    return rows(named, f"the same latents drawn by {view.name}")


def _trade(curves: dict[str, Curve], views: Views) -> str:
    """Distance against recall, a point a level, for runs that were measured alike."""
    series: Series = [
        (
            name if len(views) > 1 else f"levels {levels[0]:g} to {levels[-1]:g}", recall, distance,
            {"color": LINES[i % len(LINES)], "marker": "o"},
        )
        for i, (name, (levels, recall, distance)) in enumerate(curves.items())
    ]  # fmt: skip
    said = "; ".join(
        f"{name}: recall {number(recall[0], 3)} and distance {number(distance[0], 3)} without truncation, "
        f"{number(recall[-1], 3)} and {number(distance[-1], 3)} at the strongest"
        for name, (_, recall, distance) in curves.items()
    )
    return line_chart(series, "recall, higher is better", "Fréchet distance, lower is better", f"Truncation. {said}.")


def solvers(views: Views) -> str | None:
    """Quality by the steps that sampling takes, a curve a solver; and the same noise in few and many of them."""
    return of_each(views, _solvers, SOLVERS_NOTE)


SHOWN = (1, 2, 4, 16)
"""Steps of which there are pictures"""
SOLVERS_NOTE = (
    "<p class=note>Each solver follows the same flow from the same noise. A step of midpoint evaluates the network "
    "twice, of the others once: curves are by evaluations, which is what takes time. A network of shortcuts has "
    "learned its steps; the other solvers' error is smaller the more there are.</p>"
)


def _solvers(view: View) -> str | None:
    names = view.detail("generation", "solvers")
    if "generation.solver_pictures" not in view.arrays or not isinstance(names, list):
        return None
    evaluations, steps = (view.arrays[f"generation.solver_{what}"].tolist() for what in ("evaluations", "steps"))
    distances, recalls = (view.arrays.get(f"generation.solver_{what}") for what in ("frechet", "recall"))
    measured, label = (recalls, "recall, higher is better")
    if distances is not None:
        measured, label = distances, "Fréchet distance, lower is better"
    if measured is None:
        return None
    solvers = [str(name) for name in names]
    series: Series = []
    for place, solver in enumerate(dict.fromkeys(solvers)):
        these = [i for i, other in enumerate(solvers) if other == solver]
        style = {"color": LINES[place % len(LINES)], "marker": "o"}
        series.append((solver, [float(evaluations[i]) for i in these], [float(measured[i]) for i in these], style))
    said = "; ".join(
        f"{solver}, {count} step{'s' * (count != 1)}: {number(value, 3)}"
        for solver, count, value in zip(solvers, steps, measured, strict=True)
    )
    n = view.detail("generation", "solver_n", 0)
    chart = line_chart(series, "evaluations of the network", label, f"{view.name}, on {n:,} pictures. {said}.")
    shown = {
        f"{solver}, {count} step{'s' * (count != 1)}": pictures
        for solver, count, pictures in zip(solvers, steps, view.arrays["generation.solver_pictures"], strict=True)
        if count in SHOWN
    }
    return chart + rows(shown, f"the same noise drawn by {view.name}")


def neighbours(views: Views) -> str | None:
    """Samples, and the training pictures nearest to them: whether the network draws or remembers."""

    def write(view: View) -> str | None:
        found, distances = (view.arrays.get(f"generation.{name}") for name in ("neighbours", "neighbour_distances"))
        if found is None or distances is None:
            return None
        words = f"a picture drawn by {view.name}, and below it its nearest training pictures"
        figures = "".join(
            f"<figure>{img(_below(column), words, column.shape[1])}<figcaption>"
            f"{', '.join(number(distance, 2) for distance in of_column)}</figcaption></figure>"
            for column, of_column in zip(found.swapaxes(0, 1), distances.T, strict=True)
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
    for quantity in ("memorization", "duplicates"):
        for m in view.find(f"generation.{quantity}", NETWORK):
            real = view.evaluation.beside(m, FLOOR)
            near = labels.setting("near", m.protocol.settings.get("near", ""))
            body.append([
                f"{escape(labels.label(m))} <small>({escape(near)})</small>", value(m), value(real) if real else "—"
            ])  # fmt: skip
    return table(["share of pictures", "drawn", "real"], body) if body else ""


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
