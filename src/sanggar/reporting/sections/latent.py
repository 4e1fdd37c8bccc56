"""Sections about the latent space: what it keeps apart, a map of it, and walks through it."""

from __future__ import annotations

from html import escape

import numpy as np

from sanggar.reporting import labels
from sanggar.reporting.figures import CLASSES, INK, axes, rows, svg, table
from sanggar.reporting.view import View, Views, headed, of_each, value
from sanggar.results import NETWORK


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
