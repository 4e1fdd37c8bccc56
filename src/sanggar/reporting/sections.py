"""The sections of a report, one function each: given the runs, the HTML of a section or None when it has nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from sanggar.reporting.figures import CLASSES, INK, LINES, Series, axes, line_chart, number, png, rows, svg, table
from sanggar.runs import Arrays, Run


@dataclass(frozen=True)
class View:
    """What a report knows of a run: the content of its files."""

    name: str
    run: Run
    metrics: list[dict[str, Any]]
    timing: list[dict[str, Any]]
    evaluation: dict[str, Any]
    pictures: Arrays

    @property
    def info(self) -> dict[str, Any]:
        """The run's record."""
        return self.run.info

    def numbers(self, key: str, **protocol: Any) -> list[dict[str, Any]]:
        """The measured numbers with this key whose protocol has these entries."""
        return [
            n for n in self.evaluation["numbers"]
            if n["key"] == key and all(n["protocol"].get(k) == v for k, v in protocol.items())
        ]  # fmt: skip


Views = list[View]
Section = Callable[[Views], str | None]


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
        cells = [_value(by_run[v.name]) if v.name in by_run else "—" for v in views]
        cells = [f"<b>{cell}</b>" if v.name in best else cell for v, cell in zip(views, cells, strict=True)]
        body.append([f"{escape(n['label'])} <sup>{index}</sup>", *cells, f"{n['better']} is better"])
        notes.append(f"<li>{escape(_protocol(n))}</li>")
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


def denoised(views: Views) -> str | None:
    """Clean, noisy, reconstructed, and what the best classical denoiser makes of it."""
    parts = []
    for view in views:
        if "grid.rows" in view.pictures:
            clean, noisy, network, classical = view.pictures["grid.rows"]
            best = view.pictures["grid.best"].tobytes().decode()
            named = {"clean": clean, "noisy": noisy, "reconstructed": network, best: classical}
            parts.append(_headed(view, views) + rows(named, "one test picture of each class"))
    return "".join(parts) or None


def against_noise(views: Views) -> str | None:
    """PSNR against the level of noise: the networks, and the classical denoisers on the same pictures.

    Runs measured by one protocol share a chart; others stand apart.
    """
    groups: dict[str, Views] = {}
    for view in views:
        found = view.numbers("denoising.psnr")
        if found:
            apart = {k: v for k, v in found[0]["protocol"].items() if k not in ("level", "setting")}
            groups.setdefault(str(apart), []).append(view)
    return "".join(_noise_chart(group, views) for group in groups.values()) or None


def _noise_chart(group: Views, views: Views) -> str:
    curves: dict[str, dict[float, float]] = {}
    for view in group:
        for n in view.numbers("denoising.psnr"):
            name = (view.name if len(views) > 1 else "network") if n["subject"] == "network" else n["subject"]
            curves.setdefault(name, {}).setdefault(n["protocol"]["level"], n["value"])
    networks = [view.name for view in group] if len(views) > 1 else ["network"]
    levels = sorted({level for curve in curves.values() for level in curve})
    styles = iter(("--", "-.", ":", (0, (5, 1)), (0, (1, 1))))
    series: Series = []
    curves = dict(sorted(curves.items(), key=lambda item: item[0] not in networks))
    for name, curve in curves.items():
        look: dict[str, Any] = {
            "color": LINES[len(series) % len(LINES)],
            "linewidth": 2.4,
            "marker": "o",
            "markersize": 4,
        }
        if name not in networks:
            look |= {"linewidth": 1.1, "marker": None, "linestyle": next(styles)}
        series.append((name, list(curve), list(curve.values()), look))
    body = [
        [escape(name), *(number(curve[x]) if x in curve else "—" for x in levels)] for name, curve in curves.items()
    ]
    for view in group:
        gains = {n["protocol"]["level"]: n for n in view.numbers("denoising.gain")}
        who = view.name if len(views) > 1 else "network"
        cells = [number(gains[x]["value"], 3) if x in gains else "—" for x in levels]
        body += [[f"{who} above the best classical", *cells]]
    sample = group[0].numbers("denoising.psnr")[0]["protocol"]
    words = (
        f"{view.name}: " * (len(views) > 1)
        + "PSNR by noise level. "
        + "; ".join(f"{name}: {y[0]:.1f} to {y[-1]:.1f} dB" for name, _, y, _ in series)
    )
    return (
        line_chart(series, f"{sample['noise']} noise, level on the scale [−1, 1]", "PSNR in dB", words)
        + table(["dB at noise", *(f"{level:g}" for level in levels)], [[escape(x) for x in row] for row in body])
        + f"<p class=note>The same {sample['n']:,} noisy test pictures for all, clamped to the pixel range and rounded "
        "to 8 bits; every output likewise. Classical denoisers are told the level and tuned for it on "
        f"{escape(sample['tuned_on'])}; a network is not told.</p>"
    )


def latent_space(views: Views) -> str | None:
    """What the latent keeps apart, in numbers and on a map."""
    keys = {"probe": "linear probe", "knn": "kNN", "silhouette": "silhouette", "rank": "effective rank"}
    body = [
        [escape(view.name if subject == "network" else f"{subject} (beside {view.name})"), *cells]
        for view in views
        for subject, cells in _latent_rows(view, list(keys)).items()
    ]
    if not body:
        return None
    maps = [_headed(view, views) + _map(view, views) for view in views if "map.places" in view.pictures]
    return table(["", *keys.values()], body) + "".join(maps)


def _latent_rows(view: View, keys: list[str]) -> dict[str, list[str]]:
    """What was measured of each representation, a cell a key."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        for n in view.numbers(f"latent.{key}"):
            found.setdefault(n["subject"], {})[key] = _value(n)
    return {subject: [cells.get(key, "—") for key in keys] for subject, cells in found.items()}


def _map(view: View, views: Views) -> str:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    places, labels = view.pictures["map.places"], view.pictures["map.labels"]
    classes = view.info["data"]["classes"]
    figure, ax = axes(5.4, 5.0)
    for label, name in enumerate(classes):
        mine = places[labels == label]
        if len(mine) == 0:
            continue
        colour = CLASSES[label % len(CLASSES)]
        ax.scatter(mine[:, 0], mine[:, 1], s=7, color=colour, linewidths=0, alpha=0.75, rasterized=True)
        ax.text(
            float(np.median(mine[:, 0])), float(np.median(mine[:, 1])), name, ha="center", va="center", fontsize=9,
            fontweight="bold", color="white", zorder=5,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": colour, "edgecolor": "none"},
        )  # fmt: skip
    taken: list[np.ndarray] = []
    apart = np.ptp(places, axis=0).max() / 9
    for place, thumbnail in zip(places[view.pictures["map.chosen"]], view.pictures["map.thumbnails"], strict=True):
        if all(np.linalg.norm(place - other) > apart for other in taken):
            taken.append(place)
            # three equal channels: matplotlib would put a colour map on a grey picture
            shown = np.broadcast_to(thumbnail, (*thumbnail.shape[:2], 3))
            picture = OffsetImage(shown, zoom=14 / thumbnail.shape[0], interpolation="nearest")
            ax.add_artist(
                AnnotationBbox(picture, place, pad=0.1, bboxprops={"linewidth": 0.5, "edgecolor": INK}, zorder=4)
            )
    ax.set_axis_off()
    words = (
        f"{view.name}: " * (len(views) > 1)
        + f"t-SNE map of the latents of {len(places):,} test pictures, coloured by class: {', '.join(classes)}."
    )
    return svg(figure, words) + (
        f"<p class=note>openTSNE, perplexity 30, on the latents of {len(places):,} test pictures; names stand at the "
        "median of each class. Distances between far groups mean little on such a map: the table above is the "
        "measurement.</p>"
    )  # fmt: skip


def interpolation(views: Views) -> str | None:
    """Straight walks between the latents of two test pictures."""
    parts = []
    for view in views:
        if "strips.pictures" in view.pictures:
            strips, (first, last) = view.pictures["strips.pictures"], view.pictures["strips.ends"]
            named = {
                f"walk {i + 1}": np.concatenate([first[i : i + 1], strip, last[i : i + 1]])
                for i, strip in enumerate(strips)
            }
            parts.append(_headed(view, views) + rows(named, "a test picture, nine decoded steps, another test picture"))
    note = (
        "<p class=note>First and last: the test pictures themselves. Between them: decoded from evenly spaced "
        "latents.</p>"
    )
    return "".join(parts) + note if parts else None


def best_and_worst(views: Views) -> str | None:
    """Where the network does best and worst."""
    parts = []
    for view in views:
        for which in ("worst", "best"):
            if f"{which}.rows" in view.pictures:
                clean, shown, back = view.pictures[f"{which}.rows"]
                ratios = view.pictures[f"{which}.psnr"]
                named = {"clean": clean, "shown": shown, "came back": back}
                parts.append(
                    f"<h3>{_prefix(view, views)}{which} eight: {ratios.min():.1f} to {ratios.max():.1f} dB</h3>"
                    + rows(named, f"the {which} reconstructions of the test split")
                )
    return "".join(parts) or None


def everything(views: Views) -> str:
    """Every number with its protocol, the recipes, the versions."""
    parts = []
    for view in views:
        body = [
            [escape(n["label"]), _value(n), escape(_protocol(n))] for n in view.evaluation["numbers"]
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
    "denoised": ("Clean, noisy, reconstructed", denoised),
    "noise": ("PSNR against noise", against_noise),
    "latent": ("The latent space", latent_space),
    "interpolation": ("Interpolation", interpolation),
    "extremes": ("Best and worst", best_and_worst),
    "training": ("As training went", as_training_went),
    "everything": ("Recipe, versions, protocol", everything),
}


def _value(n: dict[str, Any]) -> str:
    digits = 4
    text = number(n["value"], digits)
    if n["interval"]:
        text += f" <small>[{number(n['interval'][0], digits)}, {number(n['interval'][1], digits)}]</small>"
    return f"{text} {escape(n['unit'])}".strip()


def _best(by_run: dict[str, dict[str, Any]], better: str) -> list[str]:
    """The runs with the best value; none where all are equal."""
    values = [n["value"] for n in by_run.values()]
    best = max(values) if better == "higher" else min(values)
    return [name for name, n in by_run.items() if n["value"] == best] if len(set(values)) > 1 else []


def _protocol(n: dict[str, Any]) -> str:
    return "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in n["protocol"].items())


def _machine(info: dict[str, Any]) -> str:
    device = info["device"]
    threads = f", {device['threads']} threads" if device["kind"] == "cpu" else ""
    processes = f", {device['processes']} processes" if device["processes"] > 1 else ""
    return f"{device['name']} ({device['kind']}, {device['precision']}{threads}{processes})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _prefix(view: View, views: Views) -> str:
    return f"{escape(view.name)}: " if len(views) > 1 else ""


def _headed(view: View, views: Views) -> str:
    return f"<h3>{escape(view.name)}</h3>" if len(views) > 1 else ""
