"""What a training drew as it went: the same pictures, or the same latents as a strip and as a picture that moves."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from sanggar.reporting.figures import png, rows, sheet
from sanggar.reporting.view import View, Views, of_each

Grid = UInt8[np.ndarray, "rows columns height width channels"]

SCALE, GAP = 2, 2
"""Of the previews that training draws: each pixel is so wide, and so many pixels lie between two pictures."""
MOMENTS, FRAMES, FRAME_ROWS = 8, 40, 3
"""Moments of a strip through training; frames of the animation, and rows of the preview on each."""
FIRST, NEXT, LAST = 900, 150, 2500
"""Milliseconds that the first frame stands, the ones after it, and the last."""
DONE = (11, 98, 164)
"""The colour of how far the training has come, under a frame."""


def as_training_went(views: Views) -> str | None:
    """The same latents, or the same validation pictures, at a few moments of the training."""

    def write(view: View) -> str | None:
        files = sorted(view.run.samples_folder.glob("step-*.png"))
        if len(files) < 3:
            return None
        return _same_latents(view, files) if "generation.samples" in view.pictures else _same_pictures(view, files)

    return of_each(views, write)


def _same_pictures(view: View, files: list[Path]) -> str:
    """Validation pictures and what the network makes of them."""
    figures = []
    for i in sorted({0, len(files) // 8, len(files) // 3, len(files) - 1}):
        step = int(files[i].stem.removeprefix("step-"))
        with Image.open(files[i]) as image:
            picture = png(np.asarray(image), f"{view.name} at step {step}: clean, as shown, reconstructed")
        figures.append(f"<figure><figcaption>step {step:,}</figcaption>{picture}</figure>")
    return f'<div class="gallery">{"".join(figures)}</div><p class=note>Rows: clean, as shown, reconstructed.</p>'


def _same_latents(view: View, files: list[Path]) -> str:
    """The same latents through the training, as a strip and moving."""
    steps = [int(file.stem.removeprefix("step-")) for file in files]
    names, columns = view.info["data"]["classes"], _preview(files[0], view).shape[1]
    conditional = "generation.labels" in view.pictures and len(names) == columns
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


def _preview(file: Path, view: View) -> Grid:
    """A preview taken apart into its pictures."""
    height, width = view.info["data"]["height"], view.info["data"]["width"]
    with Image.open(file) as image:
        sheet = np.atleast_3d(np.asarray(image)[::SCALE, ::SCALE])
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


def _data(image: Image.Image, kind: str, **how: Any) -> str:
    """A picture as an address that holds it."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
