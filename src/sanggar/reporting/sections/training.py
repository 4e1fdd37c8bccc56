"""Sections about the training: losses, what was watched, and the pictures drawn as it went."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from sanggar.errors import RunError
from sanggar.reporting.figures import LINES, Curve, Series, img, line_chart, number, rows, sheet, table
from sanggar.reporting.view import View, Views, headed, of_each

Grid = UInt8[np.ndarray, "rows columns height width channels"]
Samples = list[tuple[int, Path]]
"""Previews with their steps, in their order"""

SCALE, GAP = 2, 2
"""Of the previews that training draws: each pixel is so wide, and so many pixels lie between two pictures."""
SHEET = 16
"""Pictures that a preview may have along an edge, at most."""
MOMENTS, FRAMES, FRAME_ROWS = 8, 40, 3
"""Moments of a strip through training; frames of the animation, and rows of the preview on each."""
FIRST, NEXT, LAST = 900, 150, 2500
"""Milliseconds that the first frame stands, the ones after it, and the last."""
DONE = (11, 98, 164)
"""The colour of how far the training has come, under a frame."""


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
    game = any("critic" in _phases(view) for view in views)
    return "".join(parts + apart) + note + (against if game else "")


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
            found = [  # a phase of a part of the training has losses in its lines alone
                (line["epoch"], float(sum(line[split].get(name, 0.0) for name in terms)))
                for line in view.metrics if not line[split].keys().isdisjoint(terms)
            ]  # fmt: skip
            if found:
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


def watched(views: Views) -> str | None:
    """What was watched and not minimized, over epochs: a chart for each name, on train and validation."""
    names = {name for view in views for line in view.metrics for name in line.get("watched", {}).get("validation", {})}
    return "".join(_watched_chart(name, views) for name in sorted(names)) or None


def _watched_chart(name: str, views: Views) -> str:
    series: Series = []
    for i, view in enumerate(views):
        for split, style in (("train", "-"), ("validation", "--")):
            found = [
                (line["epoch"], line["watched"][split][name])
                for line in view.metrics
                if name in line.get("watched", {}).get(split, {})
            ]
            if found:
                epochs, values = map(list, zip(*found, strict=True))
                look = {"color": LINES[i % len(LINES)], "linestyle": style, "marker": "o" if len(found) < 3 else None}
                series.append((f"{view.name}, {split}" if len(views) > 1 else split, epochs, values, look))
    last = "; ".join(f"{label} ends at {values[-1]:.4f}" for label, _, values, _ in series)
    return line_chart(series, "epoch", name, f"{name} by epoch. {last}.")


def as_training_went(views: Views) -> str | None:
    """The same latents, or the same validation pictures, at a few moments of the training."""

    def write(view: View) -> str | None:
        samples = view.run.samples()
        if len(samples) < 3:
            return None
        return _same_latents(view, samples) if "generation.samples" in view.arrays else _same_pictures(view, samples)

    return of_each(views, write)


def _same_pictures(view: View, samples: Samples) -> str:
    """Validation pictures and what the network makes of them."""
    figures, height = [], int(view.info["data"]["height"])
    for i in sorted({0, len(samples) // 8, len(samples) // 3, len(samples) - 1}):
        step, file = samples[i]
        picture = img(_drawn(file, view), f"{view.name} at step {step}: clean, as shown, reconstructed", height)
        figures.append(f"<figure><figcaption>step {step:,}</figcaption>{picture}</figure>")
    return f'<div class="gallery">{"".join(figures)}</div><p class=note>Rows: clean, as shown, reconstructed.</p>'


def _same_latents(view: View, samples: Samples) -> str:
    """The same latents through the training, as a strip and moving."""
    steps, files = [step for step, _ in samples], [file for _, file in samples]
    names, columns = view.info["data"]["classes"], _preview(files[0], view).shape[1]
    conditional = "generation.labels" in view.arrays and len(names) == columns
    asked = f"; classes from left to right: {escape(', '.join(names))}" if conditional else ""
    strip = {f"step {steps[i]:,}": _preview(files[i], view)[0] for i in _spread(len(files), MOMENTS)}
    frames = sorted({round(place) for place in np.linspace(0, len(files) - 1, FRAMES).tolist()})
    moving = _moving(
        [_preview(files[i], view)[:FRAME_ROWS] for i in frames],
        f"the same latents drawn by {view.name} from step {steps[0]:,} to step {steps[-1]:,} of its training",
    )
    return (
        rows(strip, f"the same latents drawn by {view.name}")
        + "<details open><summary>The same, moving (closing this stops it)</summary>"
        + f'<div class="rows">{moving}</div></details>'
        + f"<p class=note>Each place has a latent of its own{asked}. The strip is the first row of what "
        "moves; the line below that is how far the training has come.</p>"
    )


def _spread(count: int, wanted: int) -> list[int]:
    """Positions among `count`, first and last included; closer at the beginning, where more happens."""
    return sorted({round(place) - 1 for place in np.geomspace(1, count, wanted).tolist()})


def _drawn(file: Path, view: View) -> np.ndarray:
    """A preview as training drew it. Raises RunError where it is none, or far larger, before it is decoded."""
    height, width = view.info["data"]["height"], view.info["data"]["width"]
    try:
        with Image.open(file, formats=["PNG"]) as image:
            if image.width > SHEET * SCALE * (width + GAP) or image.height > SHEET * SCALE * (height + GAP):
                raise ValueError(f"{image.width}×{image.height} pixels are more than training draws")
            return np.asarray(image)
    except Exception as error:  # a damaged file makes Pillow raise anything
        raise RunError(f"{file} is no preview that can be read ({error}). Remove it: the others are shown.") from None


def _preview(file: Path, view: View) -> Grid:
    """A preview taken apart into its pictures."""
    height, width = view.info["data"]["height"], view.info["data"]["width"]
    sheet = np.atleast_3d(_drawn(file, view)[::SCALE, ::SCALE])
    sheet = np.pad(sheet, ((0, GAP), (0, GAP), (0, 0)))  # now each picture has a gap below and beside it
    lines, columns = sheet.shape[0] // (height + GAP), sheet.shape[1] // (width + GAP)
    sheet = sheet[: lines * (height + GAP), : columns * (width + GAP)]
    cut = sheet.reshape(lines, height + GAP, columns, width + GAP, -1).swapaxes(1, 2)
    return cut[:, :, :height, :width]


def _moving(pictures: list[Grid], words: str) -> str:
    """Sheets one after the other; the last one alone where the reader wants nothing to move, and on paper."""
    frames = []
    for i, grid in enumerate(pictures):
        shown = sheet(grid)
        frame = np.full((*shown.shape[:2], 3), 128, np.uint8)
        frame[shown[..., 3] > 0] = shown[shown[..., 3] > 0, :3]
        bar = np.full((2 * GAP, frame.shape[1], 3), 128, np.uint8)
        bar[GAP:, : round(frame.shape[1] * i / (len(pictures) - 1))] = DONE
        frames.append(Image.fromarray(np.concatenate([frame, bar])))
    small = frames[0].width < 200  # shown much larger than it is, and every flaw with it
    moving = _data(
        frames[0], "webp", save_all=True, append_images=frames[1:], loop=0, lossless=small, quality=60,
        duration=[FIRST, *[NEXT] * (len(frames) - 2), LAST],
    )  # fmt: skip
    return (
        f'<picture><source media="(prefers-reduced-motion: reduce), print" srcset="{_data(frames[-1], "png")}">'
        f'<img src="{moving}" alt="{escape(words, quote=True)}" width="{frames[0].width}" height="{frames[0].height}">'
        "</picture>"
    )


def _data(image: Image.Image, kind: str, **how: object) -> str:
    """A picture as an address that holds it."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
