"""Preparing a folder of faces beside only decoding them; and the memory of training from small and large caches."""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from sanggar.data.cache import prepare
from sanggar.data.listing import list_pictures
from sanggar.data.sources import root
from sanggar.data.workers import processors

FACES = "utkface-128"
ROUNDS = 3
SMALL, LARGE = 2_000, int(os.environ.get("SANGGAR_BENCHMARK_PICTURES", "200000"))
EDGE, DISTINCT = 128, 500


@contextmanager
def own_cache() -> Iterator[Path]:
    """A cache that is gone afterwards, beside the data, where the disk is large."""
    before = os.environ.get("SANGGAR_CACHE")
    with tempfile.TemporaryDirectory(dir=root()) as folder:
        os.environ["SANGGAR_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop("SANGGAR_CACHE")
            if before is not None:
                os.environ["SANGGAR_CACHE"] = before


def decode(path: str) -> None:
    """What any reader of the folder has to do at least."""
    with Image.open(path) as image:
        image.convert("RGB")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of processors: of this process and of those that it started and saw end."""
    before, began = os.times(), time.perf_counter()
    work()
    return time.perf_counter() - began, sum(os.times()[:4]) - sum(before[:4])


def only_decoding(paths: list[str]) -> None:
    """Decode every file with as many workers as preparing has, and do nothing with the pixels."""
    with get_context("fork").Pool(processors()) as pool:
        for _ in pool.imap_unordered(decode, paths, chunksize=64):
            pass


def preparing() -> None:
    """Both, in turns."""
    found = list_pictures(root() / FACES)
    paths = [str(found.place / name) for name in found.names]
    taken: dict[str, list[tuple[float, float]]] = {"only decoding": [], "preparing": []}
    for _ in range(ROUNDS):
        taken["only decoding"].append(timed(lambda: only_decoding(paths)))
        with own_cache(), redirect_stderr(io.StringIO()):
            taken["preparing"].append(
                timed(lambda: prepare(found.place, found.names, found.stamps, EDGE, "crop", True))
            )
    for index, clock in enumerate(("on the clock", "of processors")):
        for name, values in taken.items():
            each = [value[index] for value in values]
            print(f"    {name:<14} {statistics.median(each):6.1f} s {clock}   ({', '.join(f'{v:.1f}' for v in each)})")
        ratios = [b[index] / a[index] for a, b in zip(*taken.values(), strict=True)]
        print(f"    preparing takes {statistics.median(ratios):.2f} times as long {clock}   ({len(paths):,} JPEGs)")


def generated(folder: Path, count: int) -> None:
    """A folder of as many pictures, which are links to a few; in the cache each takes its own place."""
    draw = np.random.default_rng(0)
    source, pictures = folder / ".distinct", folder / "pictures"
    source.mkdir(parents=True)
    pictures.mkdir()
    for index in range(DISTINCT):
        blocks = draw.integers(0, 256, (8, 8, 3), np.uint8).repeat(EDGE // 8, 0).repeat(EDGE // 8, 1)
        Image.fromarray(blocks).save(source / f"{index}.jpg")
    for index in range(count):
        os.link(source / f"{index % DISTINCT}.jpg", pictures / f"{index:06d}.jpg")
    lines = [f"{index:06d}.jpg,{index % 97},{'ab'[index % 2]}" for index in range(count)]
    (folder / "attributes.csv").write_text("\n".join(["file,number,flag", *lines]) + "\n")


TRAINING = """
import re, sys
import sanggar
def anonymous():
    return int(re.search(r"Anonymous: +([0-9]+) kB", open("/proc/self/smaps_rollup").read())[1])
most = 0
def watch(record):
    global most
    if record.step % 5 == 0:
        most = max(most, anonymous())
recipe = {
    "name": "memory", "data": {"source": "folder", "path": sys.argv[1], "validation": 100, "test": 100},
    "model": {"family": "autoencoder", "widths": [8, 16, 32, 32]},
    "training": {"steps": 30, "batch_size": 32, "validate_every": 30, "device": "cpu", "precision": "fp32"},
}
sanggar.train(recipe, out=sys.argv[1] + "-run" + sys.argv[2], watch=watch)
print(most / 1024)
"""


def anonymous(count: int) -> float:
    """The most MB of its own memory that a training from a cache of `count` pictures takes."""
    with own_cache() as cache:
        folder = cache / "generated"
        generated(folder, count)
        for turn in ("prepares", "finds"):
            call = [sys.executable, "-c", TRAINING, str(folder), turn]
            found = float(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
            print(f"    {count:>7,} pictures, a process that {turn} them: {found:6.1f} MB of its own", flush=True)
    return found


def main() -> None:
    """All of it."""
    if not (root() / FACES).is_dir():
        print(f"  {FACES} is not under the data root.")
        return
    print("  preparing", flush=True)
    preparing()
    if Path("/proc/self/smaps_rollup").exists():
        print(
            f"  memory of a training at {EDGE}×{EDGE} (SANGGAR_BENCHMARK_PICTURES says how many are many)", flush=True
        )
        few, many = anonymous(SMALL), anonymous(LARGE)
        print(f"    {many / few:.3f} times as much for {LARGE / SMALL:.0f} times the pictures")
