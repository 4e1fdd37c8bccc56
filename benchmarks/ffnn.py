"""Report 5's network on MNIST: seconds an epoch and accuracy, beside scikit-learn, PyTorch and NumPy by hand.

Everything runs on the report's split: 14,000 of the 70,000 pictures are the test, pixels from 0 to 1 in float32.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from benchmarks import plain_ffnn
from sanggar import recipe
from sanggar.data.images import to_vectors
from sanggar.data.sources import presence
from sanggar.plan import resolve
from sanggar.scratch import FFNN, SGD, AdamW
from sanggar.scratch.estimators import FFNNClassifier

HIDDEN = ((64,), (32, 32), (64, 64), (64, 64, 64), (256, 256))
ROWS = {(32, 32): (0.95457, 0.95229), (64, 64): (0.96471, 0.96014), (64,): (0.95307, 0.94686),
        (64, 64, 64): (0.96664, 0.96379)}  # fmt: skip
"""Hidden sizes of the report's comparison: its accuracy of scikit-learn, and of its own network."""
ROUNDS, SEEDS, EPOCHS = 5, 10, 10
Split = tuple[np.ndarray, np.ndarray]


def pictures() -> tuple[Split, Split]:
    """Train and test of `mnist-ffnn`, its validation pictures among the training ones."""
    plan = resolve(recipe.read("mnist-ffnn", ["data.validation=1"]))
    data = plan.source.load(plan.data)
    train, test = data.train.joined(data.validation), data.test
    return tuple(((to_vectors(s.pixels) + 1) / 2, s.labels) for s in (train, test))  # type: ignore[return-value]


# -- speed -----------------------------------------------------------------------------------------------------


def speed() -> None:
    """Seconds an epoch: batch 32, SGD 0.01 without momentum or penalty, in turns, in one process."""
    (x, y), _ = pictures()
    for threads in (None, 1):
        with threadpool_limits(threads, user_api="blas"):
            print(f"  {'as many threads as each likes' if threads is None else 'one thread each'}")
            for hidden in HIDDEN:
                _race(x, y, hidden)


def _race(x: np.ndarray, y: np.ndarray, hidden: tuple[int, ...], epochs: int = 2) -> None:
    network, optimizer = FFNN([784, *hidden, 10]), SGD(0.01)
    plain = {**MATCHED, "alpha": 0.0}
    runs: dict[str, Callable[[], object]] = {
        "sanggar": lambda: network.fit(x, y, epochs=epochs, optimizer=optimizer, verbose=False),
        "by hand": _repeated(plain_ffnn.by_hand(x, y, hidden), epochs),
        "scikit-learn": lambda: _sklearn(x, y, hidden, 0, max_iter=epochs, **plain),
        "PyTorch": _repeated(plain_ffnn.eager_pytorch(x, y, hidden), epochs),
        "floor": _repeated(lambda: _floor(x, hidden), epochs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(ROUNDS + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if round_:  # the first does not count
                seconds[name].append((time.perf_counter() - began) / epochs)
    ratios = {
        name: statistics.median(b / a for a, b in zip(seconds["sanggar"], values, strict=True))
        for name, values in seconds.items()
    }
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"    {hidden!s:<13} sanggar {middle['sanggar']:.3f} s; times as long: "
        + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items() if name != "sanggar")
    )


def _repeated(epoch: Callable[[], object], times: int) -> Callable[[], object]:
    return lambda: [epoch() for _ in range(times)]


def _floor(x: np.ndarray, hidden: tuple[int, ...], size: int = 32) -> None:
    """Only what no NumPy loop can leave out: gathering the batches and multiplying the matrices."""
    rng, widths = np.random.default_rng(0), [784, *hidden, 10]
    weights = [rng.random((a, b), np.float32) for a, b in pairwise(widths)]
    layers = [rng.random((size, width), np.float32) for width in widths]
    order = rng.permutation(len(x))
    for start in range(0, len(x) - size + 1, size):
        layers[0] = np.take(x, order[start : start + size], axis=0)
        for i, w in enumerate(weights):
            layers[i] @ w
            layers[i].T @ layers[i + 1]
            if i:
                layers[i + 1] @ w.T


# -- accuracy --------------------------------------------------------------------------------------------------

MATCHED: dict[str, Any] = {
    "solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "alpha": 1e-4, "batch_size": 32,
    "learning_rate_init": 0.01, "tol": 0.0, "n_iter_no_change": 10**6,
}  # fmt: skip

PAIRS = (("sanggar, matched", "scikit-learn, matched"), ("sanggar, mnist-ffnn-plus", "scikit-learn, defaults"))


def _sklearn(x: np.ndarray, y: np.ndarray, hidden: tuple[int, ...], seed: int, **options: Any) -> MLPClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return MLPClassifier(hidden, random_state=seed, **options).fit(x, y)


def _matched(x: np.ndarray, y: np.ndarray, hidden: tuple[int, ...], seed: int) -> FFNNClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return FFNNClassifier(hidden, random_state=seed, max_iter=EPOCHS, **MATCHED).fit(x, y)


def _trained(hidden: tuple[int, ...], seed: int) -> dict[str, float]:
    """Test accuracy of each contestant for one seed."""
    (x, y), (test, labels) = pictures()
    with threadpool_limits(1, user_api="blas"):
        return {
            "sanggar, matched": _matched(x, y, hidden, seed).score(test, labels),
            "scikit-learn, matched": _sklearn(x, y, hidden, seed, max_iter=EPOCHS, **MATCHED).score(test, labels),
            "sanggar, mnist-ffnn-plus": _plus(x, y, hidden, seed, test, labels),
            "scikit-learn, defaults": _sklearn(x, y, hidden, seed, max_iter=EPOCHS).score(test, labels),
        }


def _plus(
    x: np.ndarray, y: np.ndarray, hidden: tuple[int, ...], seed: int, test: np.ndarray, labels: np.ndarray
) -> float:
    """The settings of `mnist-ffnn-plus`, read from the recipe."""
    plan = resolve(recipe.read("mnist-ffnn-plus"))
    training, optimizer = plan.training, plan.training.optimizer
    network = FFNN([784, *hidden, 10], normalization=plan.model.normalization, seed=seed)  # type: ignore[attr-defined]
    network.fit(
        x, y, epochs=EPOCHS, batch_size=training.batch_size, schedule=training.schedule.factor, seed=seed,
        verbose=False, optimizer=AdamW(optimizer.learning_rate, weight_decay=optimizer.weight_decay),  # type: ignore[union-attr]
    )  # fmt: skip
    return float((network.predict(test).argmax(axis=1) == labels).mean())


def accuracy() -> None:
    """Report 5's four rows against scikit-learn: same split, ten epochs, paired by seed."""
    print(f"  test accuracy in %, n = 14,000, mean of seeds 0 to {SEEDS - 1}; differences with their 95 % t-interval")
    with ProcessPoolExecutor() as pool:
        for hidden, (theirs, report) in ROWS.items():
            found = list(pool.map(_trained, [hidden] * SEEDS, range(SEEDS)))
            values = {name: 100 * np.array([line[name] for line in found]) for name in found[0]}
            print(f"  {hidden!s:<13} reported: scikit-learn {100 * theirs:.2f}, their network {100 * report:.2f}")
            for name, column in values.items():
                print(f"    {name:<26} {column.mean():6.2f}  (deviation over seeds {column.std(ddof=1):.2f})")
            for ours, other in PAIRS:
                gap = values[ours] - values[other]
                low, high = stats.t.interval(0.95, len(gap) - 1, gap.mean(), stats.sem(gap))
                print(f"    {ours} − {other}: {gap.mean():+.3f} [{low:+.3f}, {high:+.3f}] points", flush=True)


def main() -> None:
    """All of it."""
    if presence("mnist").state == "absent":
        print("  MNIST is not under the data root; `sanggar train mnist-ffnn` fetches it.")
        return
    for part in (speed, accuracy):
        print(f"{part.__name__}: {(part.__doc__ or '').splitlines()[0]}", flush=True)
        part()
