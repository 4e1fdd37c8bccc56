"""The trial of each ruler on each kind of pictures: `python -m benchmarks rulers`, some minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from sanggar.data.dataset import Dataset
from sanggar.data.image_folder import FolderOptions
from sanggar.data.sources import SOURCES
from sanggar.errors import DataError
from sanggar.evaluation.ruler_trial import Trial, trials
from sanggar.instruments.judge import GENERAL, JUDGES, Judge, open_judge
from sanggar.models.classifier import Classifier

N = 2000
"""Pictures that are spoiled, and as many that they are compared with"""


def pictures() -> dict[str, tuple[str, Dataset]]:
    """By source, the judge of its own and its pictures: those that are on this machine."""
    found = {}
    for name in ("mnist", "fashion-mnist", "cifar-10", "glyphs"):
        try:
            found[name] = name, SOURCES[name].load(SOURCES[name].Options(source=name))
        except DataError:
            print(f"  {name}: not on this machine")
    try:
        faces = FolderOptions(source="folder", path="utkface-128", size=64, label="gender", test=0.1)
        found["faces"] = "faces", SOURCES["folder"].load(faces)
    except DataError:
        print("  faces: not on this machine")
    return found


def random(general: Judge) -> Judge:
    """The same network with its first weights (Naeem et al. 2020, arXiv:2002.09797)."""
    torch.manual_seed(0)
    network = Classifier(general.network.options, general.spec)
    network.eval_on("cpu")
    return replace(general, network=network, hash="random")


Extract = Callable[[np.ndarray], np.ndarray]


def rulers(own: str) -> dict[str, Extract]:
    """By name, what gives features of a source's pictures."""
    found: dict[str, Extract] = {} if own not in JUDGES else {"own": open_judge(own, "cpu").features}
    if GENERAL in JUDGES:
        general = open_judge(GENERAL, "cpu")
        found |= {"general": general.features, "random": random(general).features}
    return found


def _row(trial: Trial) -> str:
    values = " ".join(f"{value:9.3f}" for value in trial.values)
    return f"{trial.fault:>16} {trial.quantity:<13} {values}  {'yes' if trial.passed else 'NO'}"


def main() -> None:
    """Print every trial: the numbers at each step of a fault, and whether they are in order."""
    for source, (own, dataset) in pictures().items():
        for name, features in rulers(own).items():
            found = trials(features, dataset.train.first(2 * N), dataset.test.first(2 * N), 0)
            passed = sum(trial.passed for trial in found)
            print(f"\n  {source}, {name}: {passed} of {len(found)} in order")
            for trial in found:
                print(f"  {_row(trial)}")


if __name__ == "__main__":
    main()
