"""Inspecting pictures by a run's model: a table of anomaly scores, and a heat map of each picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from sanggar.data.images import write_png
from sanggar.errors import DataError
from sanggar.files import filled, name_part, vacant
from sanggar.tools.detector import Detector, Scores, heat, overlaid
from sanggar.trained import TrainedModel

TABLE = "scores.csv"
EDGE = 224
"""Pixels that a heat map's shorter edge is enlarged to, at most"""
ODD = 95
"""Percentage of normal pictures that score lower, from which on a picture is counted as odd"""


def inspect(model: TrainedModel, images: str | Path, out: Path, say: Callable[[str], None] = print) -> str:
    """Write `scores.csv` and heat maps of pictures (a file, a folder, an `.npz`) into `out`, which appears at once.

    A line a picture: its name, its heat map, and of each score the value and the share of normal validation pictures
    that score lower. Returns in words what was written and how many pictures are odd. Raises RunError when the model
    does not reconstruct or the folder cannot be written, DataError when pictures or the folder do not fit.
    """
    model.need("reconstruct")
    vacant(out)
    if out.suffix in (".csv", ".png", ".npz"):
        raise DataError(f"{out}: expected a folder, for {TABLE} and a heat map of each picture.")
    pixels, names = model.read(images)
    reconstructed, detector = model.reconstruct(pixels), Detector.of_run(model, say)
    scored = detector.scores(pixels, reconstructed)
    shares = detector.shares(scored)
    files = [f"{number:05d}-{name_part(Path(name).stem)}.png" for number, name in enumerate(names)]
    maps = heat(pixels, reconstructed)
    scale = max(1, EDGE // min(pixels.shape[1:3]))
    with filled(out) as folder:
        table = _table(names, files, scored, shares).encode("utf-8", "backslashreplace")  # a name may be no text
        (folder / TABLE).write_bytes(table)
        for file, picture, warm in zip(files, pixels, maps, strict=True):
            (folder / file).write_bytes(write_png(overlaid(picture, warm, detector.known.limit, scale)))
    main = "together" if "together" in shares else "reconstruction"
    odd = int((shares[main] >= ODD / 100).sum())
    counts = f"{len(names):,} pictures, {odd:,} odder than {ODD} % of the normal ones"
    return f"{out / TABLE}: {counts} by the score `{main}`"


def _table(names: Sequence[str], files: Sequence[str], scored: Scores, shares: Scores) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "heat_map", *(column for name in scored for column in (name, f"{name}_share"))])
    for i, (name, file) in enumerate(zip(names, files, strict=True)):
        cells = [cell for key in scored for cell in (f"{scored[key][i]:.6g}", f"{shares[key][i]:.4f}")]
        writer.writerow([name, file, *cells])
    return buffer.getvalue()
