"""Pictures of one's own, looked at by a run's network: a table of scores, and a heat map of each."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from sanggar.data.images import write_png
from sanggar.errors import DataError
from sanggar.files import filled, vacant
from sanggar.tools.anomaly import Scores, heat, overlaid
from sanggar.tools.detector import Detector
from sanggar.trained import TrainedModel

TABLE = "scores.csv"
EDGE = 224
"""Pixels that a heat map's shorter edge is enlarged to, at most."""


def inspect(painter: TrainedModel, images: str | Path, out: Path, say: Callable[[str], None] = print) -> str:
    """Write `scores.csv` and heat maps of pictures (a file, a folder, an `.npz`) into `out`, which appears at once.

    A line a picture: its name, its heat map, and of each score the value and the share of normal validation pictures
    that score lower. Gives back in words what was written and how much of it is odd. Raises RunError when the network
    does not reconstruct or the folder cannot be written, DataError when pictures or the folder do not fit.
    """
    painter.need("reconstruct")
    vacant(out)
    if out.suffix in (".csv", ".png", ".npz"):
        raise DataError(f"{out}: expected a folder, for {TABLE} and a heat map of each picture.")
    pixels, names = painter.read(images)
    came_back, detector = painter.reconstruct(pixels), Detector.of_run(painter, say)
    found = detector.scores(pixels, came_back)
    shares = detector.shares(found)
    plain = [re.sub(r"[^\w-]+", "-", Path(name).stem) for name in names]
    maps = [f"{number:05d}-{stem}.png" for number, stem in enumerate(plain)]
    warm = heat(pixels, came_back)
    scale = max(1, EDGE // min(pixels.shape[1:3]))
    with filled(out) as folder:
        (folder / TABLE).write_text(_table(names, maps, found, shares), encoding="utf-8", newline="")
        for name, picture, error in zip(maps, pixels, warm, strict=True):
            (folder / name).write_bytes(write_png(overlaid(picture, error, detector.known.limit, scale)))
    main = "together" if "together" in shares else "reconstruction"
    odd = int((shares[main] >= 0.95).sum())
    return f"{out / TABLE}: {len(names):,} pictures, {odd:,} odder than 95 % of the normal ones by the score `{main}`"


def _table(names: Sequence[str], maps: Sequence[str], found: Scores, shares: Scores) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "heat_map", *(column for name in found for column in (name, f"{name}_share"))])
    for i, (name, warm) in enumerate(zip(names, maps, strict=True)):
        cells = [cell for key in found for cell in (f"{found[key][i]:.6g}", f"{shares[key][i]:.4f}")]
        writer.writerow([name, warm, *cells])
    return buffer.getvalue()
