"""The sections of a report, one function each: given the runs, the HTML of a section or None when it has nothing."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np

from sanggar.reporting.figures import LINES, Series, line_chart, number, png, table
from sanggar.reporting.networks import classes, mistakes, network, neurons, watched
from sanggar.reporting.pictures import against_noise, best_and_worst, denoised, interpolation, latent_space
from sanggar.reporting.view import Section, View, Views, protocol, value


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
    about = "".join(f"<p>{escape(text)}</p>" for text in dict.fromkeys(v.info.get("about", "") for v in views) if text)
    body = [[name, *(write(view) for view in views)] for name, write in lines]
    notes = "".join(f"<p class=note>{escape(n)}</p>" for n in dict.fromkeys(v.info["data"]["note"] for v in views) if n)
    return about + table(["", *(escape(v.name) for v in views)], body, numeric_from=9) + notes


def headlines(views: Views) -> str | None:
    """The numbers to look at first. Numbers of different protocols stand in different rows and are never ranked."""
    protocols: dict[str, dict[str, Any]] = {}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for view in views:
        for n in view.evaluation["numbers"]:
            if n["headline"]:
                row = f"{n['label']} {sorted((k, str(w)) for k, w in n['protocol'].items())}"
                protocols[row] = n
                found.setdefault(row, {})[view.name] = n
    if not found:
        return None
    body, notes = [], []
    for index, (row, by_run) in enumerate(found.items(), start=1):
        n = protocols[row]
        best = _best(by_run, n["better"]) if len(by_run) > 1 else ()
        cells = [value(by_run[v.name]) if v.name in by_run else "—" for v in views]
        cells = [f"<b>{cell}</b>" if v.name in best else cell for v, cell in zip(views, cells, strict=True)]
        body.append([f"{escape(n['label'])} <sup>{index}</sup>", *cells, f"{n['better']} is better"])
        notes.append(f"<li>{escape(protocol(n))}</li>")
    shown = table(["", *(escape(v.name) for v in views), ""], body)
    ranked = " The best of a row is bold; a row holds only numbers of one protocol." if len(views) > 1 else ""
    return (
        f"{shown}<p class=note>In brackets: 95 % interval over the pictures; it says nothing of other seeds."
        f"{ranked}</p>"
        f"<details><summary>Protocol of each number</summary><ol>{''.join(notes)}</ol></details>"
    )


def alarms(views: Views) -> str | None:
    """What the measuring found wrong."""
    found = [(view.name, alarm) for view in views for alarm in view.evaluation["alarms"]]
    if not found:
        return None
    return "".join(f'<p class="alarm"><b>{escape(name)}</b>: {escape(alarm)}</p>' for name, alarm in found)


def loss_curves(views: Views) -> str | None:
    """Train and validation loss over epochs. Runs whose losses are different things do not share a chart."""
    groups: dict[str, Views] = {}
    for view in views:
        if view.metrics:
            groups.setdefault(" + ".join(view.metrics[-1]["train"]), []).append(view)
    if not groups:
        return None
    return "".join(_loss_chart(name, group, views) for name, group in groups.items()) + (
        "<p class=note>The train loss is the mean over the steps since the line before, while the network still "
        "changed; the validation loss is of the network at that moment. What is reported is the last, not the "
        "lowest.</p>"
    )


def _loss_chart(name: str, group: Views, views: Views) -> str:
    series: Series = []
    for i, view in enumerate(group):
        epochs = [line["epoch"] for line in view.metrics]
        prefix = f"{view.name}, " if len(views) > 1 else ""
        for split, style in (("train", "-"), ("validation", "--")):
            losses = [sum(line[split].values()) for line in view.metrics]
            look = {"color": LINES[i % len(LINES)], "linestyle": style, "marker": "o" if len(losses) < 3 else None}
            series.append((f"{prefix}{split}", epochs, losses, look))
    last = "; ".join(f"{label} ends at {losses[-1]:.4f}" for label, _, losses, _ in series)
    positive = all(min(losses) > 0 for _, _, losses, _ in series)
    chart = line_chart(series, "epoch", name, f"Loss {name} by epoch. {last}.", log=positive)
    body = [
        [escape(label), number(losses[0]), number(losses[-1]), number(min(losses))] for label, _, losses, _ in series
    ]
    return chart + table([escape(name), "first", "last", "lowest"], body)


def as_training_went(views: Views) -> str | None:
    """The same validation pictures at a few moments of the training."""
    parts = []
    for view in views:
        files = sorted(view.run.samples_folder.glob("step-*.png"))
        if len(files) < 3:
            continue
        chosen = [files[i] for i in sorted({0, len(files) // 8, len(files) // 3, len(files) - 1})]
        from PIL import Image

        for file in chosen:
            step = int(file.stem.removeprefix("step-"))
            with Image.open(file) as image:
                picture = png(np.asarray(image), f"{view.name} at step {step}: clean, as shown, reconstructed")
            parts.append(f"<figure><figcaption>{escape(view.name)}, step {step:,}</figcaption>{picture}</figure>")
    if not parts:
        return None
    return f'<div class="gallery">{"".join(parts)}</div><p class=note>Rows: clean, as shown, reconstructed.</p>'


def everything(views: Views) -> str:
    """Every number with its protocol, the recipes, the versions."""
    parts = []
    for view in views:
        body = [
            [escape(n["label"]), value(n), escape(protocol(n))] for n in view.evaluation["numbers"]
        ]  # fmt: skip
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


SECTIONS: dict[str, tuple[str, Section]] = {
    "run": ("What was run, and on what", what_was_run),
    "alarms": ("Alarms", alarms),
    "numbers": ("Headline numbers", headlines),
    "loss": ("Loss", loss_curves),
    "watched": ("What was watched", watched),
    "classes": ("Class by class", classes),
    "mistakes": ("Mistakes", mistakes),
    "network": ("The network", network),
    "neurons": ("Weights and gradients", neurons),
    "denoised": ("Clean, noisy, reconstructed", denoised),
    "noise": ("PSNR against noise", against_noise),
    "latent": ("The latent space", latent_space),
    "interpolation": ("Interpolation", interpolation),
    "extremes": ("Best and worst", best_and_worst),
    "training": ("As training went", as_training_went),
    "everything": ("Recipe, versions, protocol", everything),
}


def _best(by_run: dict[str, dict[str, Any]], better: str) -> list[str]:
    """The runs with the best value; none where all are equal."""
    values = [n["value"] for n in by_run.values()]
    best = max(values) if better == "higher" else min(values)
    return [name for name, n in by_run.items() if n["value"] == best] if len(set(values)) > 1 else []


def _machine(info: dict[str, Any]) -> str:
    device = info["device"]
    threads = f", {device['threads']} threads" if device["kind"] == "cpu" else ""
    processes = f", {device['processes']} processes" if device["processes"] > 1 else ""
    return f"{device['name']} ({device['kind']}, {device['precision']}{threads}{processes})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
