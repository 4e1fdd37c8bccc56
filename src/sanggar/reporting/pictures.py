"""Sections made of pictures: what a network does to them, and where they lie in its latent space."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from sanggar.reporting.comparison import Number, any_of, cells, comparable, protocols, row_label
from sanggar.reporting.figures import CLASSES, INK, LINES, Series, axes, line_chart, number, rows, svg, table
from sanggar.reporting.view import View, Views, headed, of_each, prefix, value


def came_back(views: Views) -> str | None:
    """How well undisturbed pictures come back, beside PCA of each latent size."""

    def wanted(n: Number) -> bool:
        return bool(n["key"].startswith("reconstruction.") and n["protocol"]["input"] == "clean")

    def of(n: Number) -> tuple[str, str, int]:
        return n["label"], n["protocol"]["data"], n["protocol"]["n"]

    found = comparable(views, lambda n: wanted(n) and n["subject"] == "network")
    beside: dict[int, dict[tuple[str, str, int], Number]] = {}
    for view in views:
        for n in view.evaluation["numbers"]:
            if wanted(n) and n["subject"] == "PCA":
                beside.setdefault(n["protocol"]["size"], {})[of(n)] = n
    if not found or not beside:
        return None
    having = [view for view in views if any(view.name in row for row in found)]
    body = []
    for index, row in enumerate(found, start=1):
        others = [values.get(of(any_of(row))) for _, values in sorted(beside.items())]
        body.append([row_label(row, index), *cells(row, having), *(value(n) if n else "—" for n in others)])
    names = [*(escape(view.name) for view in having), *(f"PCA of {size}" for size in sorted(beside))]
    note = (
        "<p class=note>PCA takes as many numbers as the latent has, fitted to training pictures; it is what a latent "
        "of that size holds without a network.</p>"
    )
    return table(["", *names], body) + note + protocols(found)


def denoised(views: Views) -> str | None:
    """Clean, noisy, reconstructed, and what the best classical denoiser makes of it."""

    def write(view: View) -> str | None:
        if "grid.rows" not in view.pictures:
            return None
        clean, noisy, network, classical = view.pictures["grid.rows"]
        best = view.pictures["grid.best"].tobytes().decode()
        named = {"clean": clean, "noisy": noisy, "reconstructed": network, best: classical}
        return rows(named, "one test picture of each class")

    return of_each(views, write)


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
    maps = [headed(view, views) + _map(view, views) for view in views if "map.places" in view.pictures]
    return table(["", *keys.values()], body) + "".join(maps)


def _latent_rows(view: View, keys: list[str]) -> dict[str, list[str]]:
    """What was measured of each representation, a cell a key."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        for n in view.numbers(f"latent.{key}"):
            found.setdefault(n["subject"], {})[key] = value(n)
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

    def write(view: View) -> str | None:
        if "strips.pictures" not in view.pictures:
            return None
        strips, (first, last) = view.pictures["strips.pictures"], view.pictures["strips.ends"]
        named = {
            f"walk {i + 1}": np.concatenate([first[i : i + 1], strip, last[i : i + 1]])
            for i, strip in enumerate(strips)
        }
        return rows(named, "a test picture, nine decoded steps, another test picture")

    note = (
        "<p class=note>First and last: the test pictures themselves. Between them: decoded from evenly spaced "
        "latents.</p>"
    )
    return of_each(views, write, note)


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
                    f"<h3>{prefix(view, views)}{which} eight: {ratios.min():.1f} to {ratios.max():.1f} dB</h3>"
                    + rows(named, f"the {which} reconstructions of the test split")
                )
    return "".join(parts) or None
