"""The sections of a report, one function each: given the runs, the HTML of a section or None when it has nothing."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from sanggar.reporting.anomaly import odd_pictures
from sanggar.reporting.attributes import attributes
from sanggar.reporting.comparison import cells, comparable, protocols, row_label
from sanggar.reporting.exploration import corners, drawn, traversals
from sanggar.reporting.figures import LINES, Series, line_chart, number, table
from sanggar.reporting.generation import (
    class_by_class,
    measured,
    neighbours,
    samples,
    truncation,
    walks,
)
from sanggar.reporting.inference import bound, dimensions, reconstructions
from sanggar.reporting.networks import classes, mistakes, network, neurons, watched
from sanggar.reporting.pictures import against_noise, best_and_worst, came_back, denoised, interpolation, latent_space
from sanggar.reporting.previews import as_training_went
from sanggar.reporting.view import Section, View, Views, headed, protocol, value

Curve = tuple[str, list[float], list[float], dict[str, Any]]
"""A line of a chart: name, x, y, how it looks."""


def what_was_run(views: Views) -> str:
    """Recipe, data, length, time, machine."""
    lines: list[tuple[str, Callable[[View], str]]] = [
        ("recipe", lambda v: escape(v.run.name)),
        ("data", lambda v: escape(f"{v.info['data']['source']}: {v.info['data']['about']}")),
        ("licence of the data", lambda v: escape(v.info["data"]["licence"])),
        (
            "train / validation / test",
            lambda v: " / ".join(f"{v.info['data'][k]:,}" for k in ("train", "validation", "test")),
        ),
        (
            "trained for",
            lambda v: f"{v.info['step']:,} steps, {v.metrics[-1]['epoch']:.4g} epochs" if v.metrics else "—",
        ),
        ("time", lambda v: _duration(v.info.get("totals", {}).get("seconds", 0.0))),
        ("on", lambda v: escape(_machine(v.info))),
        (
            "status",
            lambda v: escape(v.run.status + (", stopped early" if v.info.get("stopped_early") else "")),
        ),
    ]
    texts: dict[str, list[str]] = {}
    for view in views:
        texts.setdefault(view.info.get("about", ""), []).append(view.name)
    about = "".join(f"<p>{_whose(names, views)}{escape(text)}</p>" for text, names in texts.items() if text)
    body = [[name, *(write(view) for view in views)] for name, write in lines]
    notes = "".join(f"<p class=note>{escape(n)}</p>" for n in dict.fromkeys(v.info["data"]["note"] for v in views) if n)
    return about + table(["", *(escape(v.name) for v in views)], body, numeric_from=9) + notes


def _whose(names: list[str], views: Views) -> str:
    return f"<b>{escape(', '.join(names))}</b>: " if len(views) > 1 else ""


def headlines(views: Views) -> str | None:
    """The numbers to look at first. Numbers of different protocols stand in different rows and are never ranked."""
    found = comparable(views, lambda n: n["headline"])
    if not found:
        return None
    body = []
    for index, row in enumerate(found, start=1):
        body.append([row_label(row, index), *cells(row, views)])
    shown = table(["", *(escape(v.name) for v in views)], body)
    ranked = " The best of a row is bold; a row holds only numbers of one protocol." if len(views) > 1 else ""
    return (
        f"{shown}<p class=note>In brackets: 95 % interval over the pictures; it says nothing of other seeds."
        f"{ranked}</p>{protocols(found)}"
    )


def alarms(views: Views) -> str | None:
    """What the measuring found wrong."""
    found = [(view.name, alarm) for view in views for alarm in view.evaluation["alarms"]]
    if not found:
        return None
    return "".join(f'<p class="alarm"><b>{escape(name)}</b>: {escape(alarm)}</p>' for name, alarm in found)


def loss_curves(views: Views) -> str | None:
    """Train and validation loss over epochs. Runs whose losses are different things do not share a chart.

    Of a run with several phases, the loss of each: their sum would mean nothing.
    """
    groups: dict[str, Views] = {}
    for view in views:
        if view.metrics and len(_phases(view)) == 1:
            groups.setdefault(" + ".join(view.metrics[-1]["train"]), []).append(view)
    parts = [_loss_chart(name, group, views) for name, group in groups.items()]
    apart = [headed(view, views) + _phase_charts(view) for view in views if len(_phases(view)) > 1]
    if not parts and not apart:
        return None
    note = (
        "<p class=note>The train loss is the mean over the steps since the line before, while the network still "
        "changed; the validation loss is of the network at that moment. What is reported is the last, not the "
        "lowest.</p>"
    )
    against = (
        "<p class=note>Networks that play against each other are each only as good as the other lets them be: their "
        "losses do not fall as the pictures get better, and say nothing of quality. What to look for: a critic whose "
        "loss goes to 0 has won, and the generator learns nothing more.</p>"
    )
    return "".join(parts + apart) + note + (against if apart else "")


def _phases(view: View) -> list[str]:
    """What is before the stroke in the names of the losses."""
    return list(dict.fromkeys(name.split("/")[0] for line in view.metrics for name in line["train"]))


def _phase_charts(view: View) -> str:
    """The losses of several phases; apart from them what is only there in training, such as a penalty at some steps."""
    both = {name for line in view.metrics for name in line["validation"]}
    losses: Series = []
    for i, phase in enumerate(_phases(view)):
        terms = [name for name in both if name.split("/")[0] == phase]
        for split, style in (("train", "-"), ("validation", "--")):
            found = [(line["epoch"], sum(line[split].get(name, 0.0) for name in terms)) for line in view.metrics]
            losses.append(_line(f"{phase}, {split}", found, i, style))
    penalties: Series = []
    for name in dict.fromkeys(name for line in view.metrics for name in line["train"] if name not in both):
        found = [(line["epoch"], line["train"][name]) for line in view.metrics if name in line["train"]]
        penalties.append(_line(f"{name}, train", found, len(penalties)))
    charts = ""
    for series, what in ((losses, "loss"), (penalties, "penalty")):
        if series:
            last = "; ".join(f"{label} ends at {values[-1]:.4f}" for label, _, values, _ in series)
            charts += line_chart(series, "epoch", what, f"{view.name}: {what} of each phase by epoch. {last}.")
    body = [[escape(label), number(values[0]), number(values[-1])] for label, _, values, _ in losses + penalties]
    return charts + table(["", "first", "last"], body)


def _line(name: str, points: list[tuple[float, float]], colour: int, style: str = "-") -> Curve:
    """A line of a chart; too short a one is marked."""
    marker = "o" if len(points) < 3 else None
    look = {"color": LINES[colour % len(LINES)], "linestyle": style, "marker": marker}
    return name, [x for x, _ in points], [y for _, y in points], look


def _loss_chart(name: str, group: Views, views: Views) -> str:
    series: Series = []
    for i, view in enumerate(group):
        prefix = f"{view.name}, " if len(views) > 1 else ""
        for split, style in (("train", "-"), ("validation", "--")):
            losses = [(line["epoch"], sum(line[split].values())) for line in view.metrics]
            series.append(_line(f"{prefix}{split}", losses, i, style))
    last = "; ".join(f"{label} ends at {losses[-1]:.4f}" for label, _, losses, _ in series)
    positive = all(min(losses) > 0 for _, _, losses, _ in series)
    chart = line_chart(series, "epoch", name, f"Loss {name} by epoch. {last}.", log=positive)
    body = [
        [escape(label), number(losses[0]), number(losses[-1]), number(min(losses))] for label, _, losses, _ in series
    ]
    return chart + table([escape(name), "first", "last", "lowest"], body)


def everything(views: Views) -> str:
    """Every number with its protocol, the recipes, the versions."""
    parts = []
    for view in views:
        body = [[escape(_label(n)), value(n), escape(protocol(n))] for n in view.evaluation["numbers"]]
        versions = ", ".join(f"{name} {v}" for name, v in view.info["versions"].items())
        data = view.info["data"]
        parts.append(
            f"<h3>{escape(view.name)}</h3>"
            f"<details><summary>All {len(body)} numbers</summary>"
            f"{table(['', 'value', 'protocol'], body, numeric_from=9)}</details>"
            "<details><summary>The recipe, every default filled in</summary>"
            f"<pre tabindex=0>{escape(view.run.recipe_text())}</pre></details>"
            f"<p>sanggar {escape(view.info['package'])}, {escape(versions)}, {escape(view.info['platform'])}. "
            f"Run <code>{view.info['identity'][:16]}</code>, data <code>{data['fingerprint'][:16]}</code>, "
            f"created {escape(view.info['created'])}.</p>"
        )
    return "".join(parts)


def _label(n: dict[str, Any]) -> str:
    """What was measured, and of what, where that is not the network."""
    return n["label"] if n["subject"] == "network" or n["subject"] in n["label"] else f"{n['label']}: {n['subject']}"


SECTIONS: dict[str, tuple[str, Section]] = {
    "run": ("What was run, and on what", what_was_run),
    "alarms": ("Alarms", alarms),
    "numbers": ("Headline numbers", headlines),
    "generation": ("Beside real pictures", measured),
    "asked": ("Class by class, as asked for", class_by_class),
    "samples": ("Samples", samples),
    "drawn": ("Drawn from the latent space", drawn),
    "bound": ("The bound, its rate and its distortion", bound),
    "dimensions": ("What each dimension holds", dimensions),
    "loss": ("Loss", loss_curves),
    "watched": ("What was watched", watched),
    "classes": ("Class by class", classes),
    "mistakes": ("Mistakes", mistakes),
    "network": ("The network", network),
    "neurons": ("Weights and gradients", neurons),
    "fidelity": ("How well pictures come back", came_back),
    "reconstructions": ("Reconstructions", reconstructions),
    "denoised": ("Clean, noisy, reconstructed", denoised),
    "noise": ("PSNR against noise", against_noise),
    "latent": ("The latent space", latent_space),
    "interpolation": ("Interpolation", interpolation),
    "attributes": ("Attributes in the latent space", attributes),
    "corners": ("Between four pictures", corners),
    "traversals": ("Along single dimensions", traversals),
    "extremes": ("Best and worst", best_and_worst),
    "anomaly": ("Odd pictures", odd_pictures),
    "training": ("As training went", as_training_went),
    "walks": ("Walks through the latent space", walks),
    "truncation": ("Truncation", truncation),
    "neighbours": ("Nearest training pictures", neighbours),
    "everything": ("Recipe, versions, protocol", everything),
}


def _machine(info: dict[str, Any]) -> str:
    device = info["device"]
    count = device["threads"]
    threads = f", {count} thread{'s' * (count > 1)}" if device["kind"] == "cpu" else ""
    processes = f", {device['processes']} processes" if device["processes"] > 1 else ""
    return f"{device['name']} ({device['kind']}, {device['precision']}{threads}{processes})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
