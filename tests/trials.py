"""Processes killed and commands at once, many of them: `python tests/trials.py KILLS PAIRS [SEED]`.

A kill ends a command with SIGKILL at a drawn moment, once or twice. What was there before must still be readable then,
and the command given again must come to what one comes to that nobody disturbed: weights, checkpoint, lines, numbers
and pictures byte for byte, with no file lost, doubled or left behind. A pair gives two commands on one run at once:
both succeed, or one is refused in words, and the run is whole. A study is killed as well, once for each fifty kills,
and its tables compared. What failed is kept in `trials/`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import sanggar

FAILED = Path("trials")
MEASURED = (
    "evaluation.images=60", "evaluation.train_images=300", "evaluation.anomaly.images=40",
    "evaluation.anomaly.regret_steps=1", "evaluation.bounds.images=20", "evaluation.generation.samples=100",
)  # fmt: skip
"""What makes measuring a matter of seconds"""
ALLOWED = {".lock"}
"""What may begin with a dot in a run that nobody writes"""


@dataclass(frozen=True)
class Command:
    """A command that writes, on a folder in which all it needs lies."""

    family: str
    name: str
    arguments: tuple[str, ...]
    again: tuple[str, ...]
    """what is given after a kill"""
    needs: str
    """state that it begins with: nothing, trained or measured"""
    seconds: float = field(default=0.0, compare=False)


def commands(family: str) -> list[Command]:
    """All that write, of a family."""
    from training.test_resume import SHORT

    resumed = ("train", "--resume", "run")
    found = [
        Command(family, "train", ("train", *SHORT[family], "--out", "run"), resumed, "nothing"),
        Command(family, "evaluate", ("evaluate", "run", "evaluation.seed=3"), (), "measured"),
        Command(family, "report", ("report", "run"), (), "measured"),
    ]
    if family in ("vae", "gan"):
        found.append(Command(family, "sample", ("sample", "run", "--count", "40", "--out", "drawn"), (), "measured"))
        found.append(Command(family, "sheet", ("sample", "run", "--count", "40", "--out", "drawn.png"), (), "measured"))
    if family == "autoencoder":
        found.append(Command(family, "prepare", ("data", "mine", "--out", "sheet.png"), (), "pictures"))
        found.append(Command(family, "anomaly", ("anomaly", "run", "mine8", "--out", "odd"), (), "measured"))
    return found


def contents(folder: Path) -> dict[str, object]:
    """What a folder holds, but for times, and what differs between two that did the same."""
    from sanggar.results.stored import read, read_arrays, read_tools
    from sanggar.runs import Run
    from training.test_resume import result

    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name.startswith(("mine", "said")) or path.name == "lock":
            continue
        if path.name.startswith(".") and path.name not in ALLOWED:
            raise AssertionError(f"left behind: {name}")
        if name.startswith("cache/prepared/"):  # in a folder called after the place of the pictures, of which it tells
            same = sum(known.startswith(f"prepared {path.name}") for known in found)
            found[f"prepared {path.name} {same}"] = path.read_bytes() if path.suffix == ".npy" else None
            continue
        found[name] = None
        if not name.startswith("run/") or name.endswith(("report.html", ".png", "recipe.yaml")):
            found[name] = path.read_bytes()
    if (folder / "run" / "run.json").exists():
        run = Run(folder / "run")
        found |= {f"trained {name}": value for name, value in result(run.path).items()}
        found["run.json"] = {k: v for k, v in run.info.items() if k not in ("created", "updated", "totals", "earlier")}
        if run.evaluation_file.exists():
            evaluation = read(run)
            found["measured"] = evaluation.model_dump(exclude={"seconds"})
            for kind, arrays in (("array", read_arrays(run)), ("tool", read_tools(run)[0])):
                found |= {f"{kind} {name}": array.tobytes() for name, array in arrays.items()}
    return found


def readable(folder: Path) -> None:
    """What was there before a command that was killed can still be read."""
    from sanggar.reporting.page import render, view
    from sanggar.runs import Run

    if (folder / "run" / "evaluation.json").exists():
        render([view(Run(folder / "run"))])


def in_folder(arguments: Sequence[str], folder: Path) -> list[str]:
    """Arguments with the places that are meant in a folder."""
    places = {"run", "drawn", "drawn.png", "mine", "mine8", "sheet.png", "odd"}
    return [str(folder / word) if word in places else word for word in arguments]


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """Names of what is not the same."""
    return sorted(name for name in {*one, *other} if name not in one or name not in other or one[name] != other[name])


class Trials:
    """What trials begin with, and what undisturbed commands come to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.expected: dict[Command, dict[str, object]] = {}
        self.seconds: dict[Command, float] = {}

    def start(self, command: Command, folder: Path) -> None:
        """Make what a command begins with."""
        folder.mkdir(parents=True)
        if command.needs == "measured":
            shutil.copytree(self.folder / command.family / "run", folder / "run")
        for name in ("mine", "mine8"):
            shutil.copytree(self.folder / name, folder / name)

    def prepare(self, family: str) -> None:
        """Train and measure a family's run, and do each command once undisturbed."""
        from training import killing
        from training.test_resume import SHORT

        place = self.folder / family
        place.mkdir(parents=True)
        for arguments in (("train", *SHORT[family], "--out", "run"), ("evaluate", "run", *MEASURED), ("report", "run")):
            said = place / "said"
            assert killing.run(*in_folder(arguments, place), said=said) == 0, said.read_text()
        for command in commands(family):
            folder = self.folder / "undisturbed" / family / command.name
            self.start(command, folder)
            began = time.monotonic()
            status = self.run(command.arguments, folder)
            assert status == 0, (folder / "said").read_text()
            self.seconds[command] = time.monotonic() - began
            self.expected[command] = contents(folder)

    def run(self, arguments: Sequence[str], folder: Path, kill: Callable[..., object] | None = None) -> int:
        """Run a command in a folder; `kill` is given the process."""
        from training import killing

        process = killing.start(*in_folder(arguments, folder), said=folder / "said", cache=folder / "cache")
        if kill is not None:
            kill(process)
        process.join()
        assert process.exitcode is not None
        return process.exitcode

    def kill(self, number: int, command: Command, draw: random.Random) -> tuple[str, str]:
        """One kill: what became of it, and what was wrong."""
        folder = self.folder / "killed" / str(number)
        self.start(command, folder)
        delay, times = draw.uniform(0, 0.9 * self.seconds[command]), draw.choice((1, 1, 1, 2))
        wrong: list[str] = []
        struck = 0
        arguments = command.arguments
        for _ in range(times):
            if struck and command.name in ("sample", "anomaly", "sheet") and (folder / command.arguments[-1]).exists():
                break  # it was killed when it was done
            status = self.run(arguments, folder, partial(_kill_after, delay))
            struck += status == -signal.SIGKILL
            if status not in (0, -signal.SIGKILL):
                wrong.append(f"ended with {status}: {(folder / 'said').read_text()[-300:]}")
            readable(folder)
            if command.name == "train" and (folder / "run" / "run.json").exists():
                arguments = command.again
            delay = draw.uniform(0, 0.9 * self.seconds[command])
        if command.name == "train" and not (folder / "run" / "run.json").exists() and (folder / "run").exists():
            shutil.rmtree(folder / "run")  # killed before it was one: the same command begins again
            arguments = command.arguments
        if command.name in ("sample", "anomaly") and (folder / command.arguments[-1]).exists():
            status = 0  # it was done
        elif command.name == "sheet" and (folder / "drawn.png").exists():
            (folder / "drawn.png").unlink()
            status = self.run(arguments, folder)
        else:
            status = self.run(arguments, folder)
        if status:
            wrong.append(f"given again it ended with {status}: {(folder / 'said').read_text()[-300:]}")
        else:
            wrong += differences(contents(folder), self.expected[command])
        return self._done(folder, f"{command.family} {command.name}", "killed" if struck else "too late", wrong)

    def pair(self, number: int, family: str, draw: random.Random) -> tuple[str, str]:
        """Two commands on one run at once."""
        from test_one_writer import intact
        from training import killing

        folder = self.folder / "pairs" / str(number)
        folder.mkdir(parents=True)
        shutil.copytree(self.folder / family / "run", folder / "run")
        every = {
            "resume": ("train", "--resume", "run", "training.steps=12"),
            "evaluate": ("evaluate", "run", "evaluation.seed=3"), "report": ("report", "run"),
            **({"sample": ("sample", "run", "--count", "40", "--out", "drawn")} if family in ("vae", "gan") else {}),
        }  # fmt: skip
        names = [draw.choice(list(every)) for _ in range(2)]
        started = []
        for index, name in enumerate(names):
            said, words = folder / f"said{index}", [w if w != "drawn" else f"drawn{index}" for w in every[name]]
            words = [str(folder / w) if w.startswith("drawn") else w for w in in_folder(words, folder)]
            started.append((killing.start(*words, said=said, cache=folder / "cache"), said))
            time.sleep(draw.choice((0.0, 0.0, 0.3, 1.0)))
        wrong = []
        ended = []
        for process, said in started:
            process.join()
            ended.append(process.exitcode)
            if process.exitcode:
                text = said.read_text()
                allowed = "is in use: `" in text or "was measured at step" in text or "belongs to another" in text
                if process.exitcode != 2 or not allowed:
                    wrong.append(f"{process.exitcode}: {text[-300:]}")
        if 0 not in ended:
            wrong.append(f"both refused: {ended}")
        try:
            run = intact(folder / "run")
            resumed = "resume" in names and 0 in [e for n, e in zip(names, ended, strict=True) if n == "resume"]
            if run.info["step"] != (12 if resumed else 8) or run.status != "finished":
                wrong.append(f"step {run.info['step']}, {run.status}")
            if list((folder / "run").glob("*.next.*")):
                wrong.append("arrays left behind")
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")
        refused = sum(map(bool, ended))
        return self._done(folder, f"{family} {' + '.join(sorted(names))}", f"{refused} refused", wrong)

    def _done(self, folder: Path, what: str, how: str, wrong: list[str]) -> tuple[str, str]:
        if wrong:
            FAILED.mkdir(exist_ok=True)
            shutil.copytree(folder, FAILED / f"{folder.parent.name}-{folder.name}", dirs_exist_ok=True)
            print(f"FAILED {folder.parent.name} {folder.name}: {what}: {'; '.join(wrong)[:600]}", flush=True)
        shutil.rmtree(folder)
        return f"{what}: {'FAILED' if wrong else how}", what


def killed_study(folder: Path, kills: int, draw: random.Random) -> list[str]:
    """A study whose command, and sometimes a worker before, is killed at drawn moments: what is wrong in the end."""
    from studies.test_study import STUDY, ended, stopped

    width = {**STUDY["tables"]["width"], "set": {"training.epochs": 30}, "seeds": 8}
    study = {**STUDY, "name": "toy", "tables": {"width": width}, "budgets": {"full": {}}}
    places = folder / "whole" / "toy", folder / "killed" / "toy"
    wrong = []
    for place in places:
        place.parent.mkdir(parents=True)
    for number in range(kills):
        begun = len(list(places[1].glob("runs/*/run.json")))
        after = min(begun + draw.randrange(2), 16)
        workers = stopped(study, places[1], after, signal.SIGKILL, draw.random() < 0.5, draw.uniform(0, 3))
        if not ended(workers, 60):
            wrong.append(f"after kill {number} workers went on")
    for place in places:
        sanggar.study({**study}, out=place, executor="here", workers=2)
    told = [(place / "toy-full.md").read_text() for place in places]
    runs = [sorted(run.name for run in place.glob("runs/*")) for place in places]
    if told[0] != told[1]:
        wrong.append("another table")
    if runs[0] != runs[1]:
        wrong.append("other runs")
    return wrong


def _kill_after(delay: float, process: object) -> None:
    process.join(delay)  # type: ignore[attr-defined]
    if process.exitcode is None:  # type: ignore[attr-defined]
        process.kill()  # type: ignore[attr-defined]


def main() -> None:
    """All of them, as many at once as there are processors; ends with 1 where one failed."""
    from training.test_resume import SMALL

    kills, pairs, seed = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0
    at_once = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        trials = Trials(Path(folder))
        _pictures(Path(folder))
        list(pool.map(trials.prepare, SMALL))
        every = sorted(trials.expected, key=lambda command: (command.family, command.name))
        draws = [random.Random(f"{seed} {number}") for number in range(kills + pairs)]
        done = Counter[str]()
        for kind, jobs in (
            ("kills", [partial(trials.kill, n, every[n % len(every)], draws[n]) for n in range(kills)]),
            ("pairs", [partial(trials.pair, n, list(SMALL)[n % len(SMALL)], draws[kills + n]) for n in range(pairs)]),
        ):
            found = Counter(said for said, _ in pool.map(lambda job: job(), jobs))
            done += found
            for said, count in sorted(found.items()):
                print(f"{count:5} {said}", flush=True)
            failed = sum(count for said, count in found.items() if said.endswith("FAILED"))
            late = sum(count for said, count in found.items() if said.endswith("too late"))
            print(f"{len(jobs)} {kind}, {late} too late, {failed} failed", flush=True)
        times = -(-kills // 50)
        wrong = killed_study(Path(folder) / "study", times, random.Random(f"{seed} study"))
        print(f"a study killed {times} times: {'; '.join(wrong) or 'the same tables, byte for byte'}", flush=True)
    sys.exit(bool(wrong) or any(said.endswith("FAILED") for said in done))


def _pictures(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    from gathering import write_pictures

    write_pictures(folder / "mine", 420, ("a", "b"), table=False)
    (folder / "mine8").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / "mine8" / f"{number}.png")


if __name__ == "__main__":
    main()
