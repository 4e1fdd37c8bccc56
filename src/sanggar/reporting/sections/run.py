"""Sections about the whole run: what was run, the first numbers, alarms, and everything at the end."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from sanggar.files import Tree
from sanggar.reporting import labels
from sanggar.reporting.comparison import cells, comparable, protocols, row_label
from sanggar.reporting.diagnosis import diagnose
from sanggar.reporting.figures import table
from sanggar.reporting.view import View, Views, marked, of_each, value


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


def in_short(views: Views) -> str | None:
    """What each network is good at, what it is worse at than what is simplest, and what to change first."""

    def write(view: View) -> str | None:
        said = [marked(labels.diagnosis(d.key, d.values)) for d in diagnose(view)]
        return f"<p>{' '.join(said)}</p>" if said else None

    return of_each(views, write)


def _whose(names: list[str], views: Views) -> str:
    return f"<b>{escape(', '.join(names))}</b>: " if len(views) > 1 else ""


def headlines(views: Views) -> str | None:
    """The numbers to look at first. Numbers of different protocols stand in different rows and are never ranked."""
    found = comparable(views, lambda m: m.headline)
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
    found = [(view.name, labels.alarm(alarm)) for view in views for alarm in view.evaluation.alarms]
    if not found:
        return None
    return "".join(f'<p class="alarm"><b>{escape(name)}</b>: {marked(alarm)}</p>' for name, alarm in found)


def everything(views: Views) -> str:
    """Every number with its protocol, the recipes, the versions."""
    parts = []
    for view in views:
        body = [
            [escape(labels.label_with_subject(m)), value(m), escape(labels.protocol(m))]
            for m in view.evaluation.measurements
        ]
        versions = ", ".join(f"{name} {v}" for name, v in view.info["versions"].items())
        data = view.info["data"]
        parts.append(
            f"<h3>{escape(view.name)}</h3>"
            f"<details><summary>All {len(body)} numbers</summary>"
            f"{table(['', 'value', 'protocol'], body, numeric_from=9)}</details>"
            "<details><summary>The recipe, every default filled in</summary>"
            f"<pre tabindex=0>{escape(view.run.recipe_text())}</pre></details>"
            f"<p>sanggar {escape(view.info['package'])}, {escape(versions)}, {escape(view.info['platform'])}. "
            f"Run <code>{escape(str(view.info['identity'])[:16])}</code>, "
            f"data <code>{escape(str(data['fingerprint'])[:16])}</code>, "
            f"created {escape(view.info['created'])}.</p>"
        )
    return "".join(parts)


def _machine(info: Tree) -> str:
    device = info["device"]
    count = device["threads"]
    threads = f", {count} thread{'s' * (count > 1)}" if device["kind"] == "cpu" else ""
    threads += f", batches in {device['parts']} parts" if device.get("parts", 1) > 1 else ""
    processes = f", {device['processes']} processes" if device["processes"] > 1 else ""
    return f"{device['name']} ({device['kind']}, {device['precision']}{threads}{processes})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
