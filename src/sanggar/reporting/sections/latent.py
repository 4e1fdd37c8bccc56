"""Sections about the latent space: what it keeps apart, a map of it, and walks through it."""

from __future__ import annotations

from html import escape

import numpy as np
from matplotlib.axes import Axes

from sanggar.reporting import labels
from sanggar.reporting.figures import CLASSES, INK, axes, rows, small, svg, table
from sanggar.reporting.view import View, Views, headed, of_each, value
from sanggar.results import NETWORK

THUMBNAIL = 48
"""Pixels that a picture on the map is brought down to, about: it is drawn some 14 points high"""
COLUMNS = {
    "latent.probe": "linear probe",
    "latent.knn": "kNN",
    "latent.silhouette": "silhouette",
    "latent.rank": "effective rank",
}


def latent_space(views: Views) -> str | None:
    """What the latent keeps apart, in numbers and on a map."""
    body = []
    for view in views:
        for subject, cells in _rows(view).items():
            own = view.name if subject == NETWORK else f"{labels.subject(subject)} (beside {view.name})"
            body.append([escape(own), *cells])
    if not body:
        return None
    maps = [headed(view, views) + _map(view, views) for view in views if "latent.map_places" in view.arrays]
    return table(["", *COLUMNS.values()], body) + "".join(maps)


def _rows(view: View) -> dict[str, list[str]]:
    """What was measured of each representation, a cell a column."""
    by_subject: dict[str, dict[str, str]] = {}
    for key in COLUMNS:
        for m in view.find(key):
            by_subject.setdefault(m.subject, {})[key] = value(m)
    return {subject: [cells.get(key, "—") for key in COLUMNS] for subject, cells in by_subject.items()}


def _map(view: View, views: Views) -> str:
    places, of = view.arrays["latent.map_places"], view.arrays["latent.map_labels"]
    figure, ax = axes(5.4, 5.0)
    for label, name in enumerate(view.classes):
        mine = places[of == label]
        if len(mine) == 0:
            continue
        colour = CLASSES[label % len(CLASSES)]
        ax.scatter(mine[:, 0], mine[:, 1], s=7, color=colour, linewidths=0, alpha=0.75, rasterized=True)
        ax.text(
            float(np.median(mine[:, 0])), float(np.median(mine[:, 1])), name, ha="center", va="center", fontsize=9,
            fontweight="bold", color="white", zorder=5,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": colour, "edgecolor": "none"},
        )  # fmt: skip
    _thumbnails(ax, places, places[view.arrays["latent.map_chosen"]], view.arrays["latent.map_thumbnails"])
    ax.set_axis_off()
    words = (
        f"{view.name}: " * (len(views) > 1)
        + f"t-SNE map of the latents of {len(places):,} test pictures, coloured by class: {', '.join(view.classes)}."
    )
    return svg(figure, words) + (
        f"<p class=note>openTSNE, perplexity 30, on the latents of {len(places):,} test pictures; names stand at the "
        "median of each class. Distances between far groups mean little on such a map: the table above is the "
        "measurement.</p>"
    )  # fmt: skip


def _thumbnails(ax: Axes, places: np.ndarray, chosen: np.ndarray, thumbnails: np.ndarray) -> None:
    """Draw those pictures on the map that do not cover one another."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    taken: list[np.ndarray] = []
    apart = np.ptp(places, axis=0).max() / 9
    for place, thumbnail in zip(chosen, thumbnails, strict=True):
        if all(np.linalg.norm(place - other) > apart for other in taken):
            taken.append(place)
            # three equal channels: matplotlib would put a colour map on a grey picture
            shown = small(thumbnail, THUMBNAIL)
            picture = OffsetImage(shown, zoom=14 / shown.shape[0], interpolation="nearest")
            ax.add_artist(
                AnnotationBbox(picture, place, pad=0.1, bboxprops={"linewidth": 0.5, "edgecolor": INK}, zorder=4)
            )


def interpolation(views: Views) -> str | None:
    """Straight walks between the latents of two test pictures."""

    def write(view: View) -> str | None:
        if "latent.strips" not in view.arrays:
            return None
        strips, (first, last) = view.arrays["latent.strips"], view.arrays["latent.strip_ends"]
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
