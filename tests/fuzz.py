"""Changed files at every door, coverage-guided (atheris, libFuzzer): `python tests/fuzz.py MINUTES [DOOR …]`.

A door fails where a file ends in anything but a reading or a refusal in words, takes ten seconds or two gigabytes,
starts a process, or writes anywhere else. What failed is kept in `fuzz/`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

FAILED = Path("fuzz")
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0", "-max_len=200000")


def at_door(name: str, seconds: int, corpus: Path) -> None:
    """Try files at one door; does not come back."""
    import atheris

    with atheris.instrument_imports(include=["sanggar"]):
        from doors import DOORS, through

    place = corpus.parent / "tried"

    def one(content: bytes) -> None:
        try:
            through(DOORS[name], content, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    for number, content in enumerate(DOORS[name].good()):
        (corpus / str(number)).write_bytes(content)
    prefix = f"-artifact_prefix={FAILED}/{name.replace(' ', '-').replace('/', '-')}-"
    atheris.Setup([sys.argv[0], str(corpus), f"-max_total_time={seconds}", *LIMITS, prefix], one)
    atheris.Fuzz()


def tried(name: str, seconds: int) -> tuple[int, str]:
    """Files tried at a door within some seconds, in a process of its own; and what ended it, where something did."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        command = [sys.executable, __file__, "--door", name, str(seconds), str(corpus)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    count = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    said = done.stdout[-3000:] + done.stderr[-1500:]
    return int(count[1]) if count else 0, "" if done.returncode == 0 else said


def made_today(folder: Path) -> Path:
    """A run of a small VAE, trained and measured here and now."""
    from sanggar import evaluate, train

    small = (
        "model.widths=[4,8]", "model.latent_size=6", "training.epochs=2", "training.device=cpu",
        "evaluation.images=40", "evaluation.generation.samples=100", "evaluation.bounds.images=20",
    )  # fmt: skip
    return evaluate(train("digits-vae", small, out=folder / "run", watch=lambda record: None)).path


def main() -> None:
    """All doors, as many at once as there are processors; ends with 1 where one failed."""
    from doors import DOORS, TODAYS

    minutes, names = float(sys.argv[1]), sys.argv[2:] or list(DOORS)
    FAILED.mkdir(exist_ok=True)
    at_once = cpu_count() or 1
    seconds = max(5, int(60 * minutes * at_once / len(names)))
    total, failed = 0, []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        os.environ[TODAYS] = str(made_today(Path(folder)))
        for name, (count, reason) in zip(names, pool.map(lambda name: tried(name, seconds), names), strict=True):
            total += count
            print(f"{name:<28} {count:>8,} files" + ("   FAILED" if reason else ""), flush=True)
            if reason:
                failed.append(name)
                print(reason, flush=True)
    print(f"{total:,} files at {len(names)} doors, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--door"]:
        at_door(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
