"""`FFNN`: a feed-forward network that is built, trained, looked into, saved and loaded."""

from __future__ import annotations

import io
import json
import math
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from sanggar.errors import DataError, NetworkError, TrainingError, suggest
from sanggar.files import write_atomic
from sanggar.scratch import ops
from sanggar.scratch.initializers import Generator, Initializer
from sanggar.scratch.layers import Activation, BatchNorm, Dense, Dropout, Layer, LayerNorm, RMSNorm, Sequential
from sanggar.scratch.losses import FROM_LOGITS, check_labels, one_hot
from sanggar.scratch.losses import loss as named_loss
from sanggar.scratch.optimizers import SGD, Optimizer, Schedule, constant
from sanggar.scratch.tensor import Array, Operand, Tensor, no_grad

NORMALIZATIONS: dict[str, Callable[..., Layer]] = {"rms": RMSNorm, "layer": LayerNorm, "batch": BatchNorm}
LAST = {"mse": "linear", "binary_cross_entropy": "sigmoid", "categorical_cross_entropy": "softmax"}
"""The last activation that goes with a loss."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BLOCK_BYTES = 1 << 21
"""Examples that are gathered at a time, ahead of the training."""
HEADER = "sanggar.ffnn"
"""Where a file says how its network was built."""
ODD = (ValueError, TypeError, AttributeError, RuntimeError)
"""What the content of a file that is something else leads to."""
CHUNK = 4096
"""Examples that go through the network at a time when it is used."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the examples did."""

    number: int
    """from 1"""
    train_loss: float
    """mean over the epoch's batches, penalty included, while the network still changed"""
    validation_loss: float | None
    """of the network after the epoch, without penalty"""
    validation_accuracy: float | None
    """share of examples whose class is right, where there are classes"""
    seconds: float
    """of training, validation aside"""
    weights: dict[str, list[float]] = field(repr=False)
    """by layer: the 5, 25, 50, 75 and 95 % quantiles of its weights and biases"""
    gradients: dict[str, list[float]] = field(repr=False)
    """the same of the gradients of the last step"""

    def __str__(self) -> str:
        parts = [f"epoch {self.number:>3}", f"train {self.train_loss:.4f}"]
        if self.validation_loss is not None:
            parts.append(f"validation {self.validation_loss:.4f}")
        if self.validation_accuracy is not None:
            parts.append(f"accuracy {self.validation_accuracy:.4f}")
        return "  ".join([*parts, f"{self.seconds:.2f} s"])


class FFNN:
    """A feed-forward network: layers of neurons with an activation each.

    `widths` are the inputs, the neurons of each hidden layer, and the outputs. `activations` names one for each layer
    after the inputs, or one for all hidden layers; the last then follows the loss (softmax, sigmoid or linear).
    `normalization` ("rms", "layer", "batch") stands between a hidden layer and its activation, `dropout` after it.
    `l1` adds l1 · Σ|w| to the loss and `l2` adds l2 · Σ w² / 2, over all weights but the biases. Where the last
    activation and the loss belong together, they are computed as one, from the logits. All numbers are `dtype`.
    Raises NetworkError for names, widths and numbers that make no sense.
    """

    def __init__(
        self, widths: Sequence[int], activations: str | Sequence[str] = "relu", *,
        loss: str = "categorical_cross_entropy", initializer: str | Initializer = "he_normal",
        normalization: str | None = None, dropout: float = 0.0, l1: float = 0.0, l2: float = 0.0,
        seed: int | Generator = 0, dtype: DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        self.widths, self.loss_name, self.dtype = [*widths], loss, _dtype(dtype)
        self.activations = _activations(activations, len(self.widths) - 1, loss)
        self.normalization, self.dropout, self.l1, self.l2 = normalization, dropout, l1, l2
        self.initializer = initializer if isinstance(initializer, str) else getattr(initializer, "__name__", "custom")
        if not (0 <= l1 < math.inf and 0 <= l2 < math.inf):
            raise NetworkError(f"penalties are numbers from 0, got l1={l1!r}, l2={l2!r}.")
        self.body = Sequential(*self._layers(initializer, np.random.default_rng(seed)))
        self.parameters: list[Tensor] = list(self.body.parameters.values())
        """everything that training changes"""
        self.dense = {name: layer for name, layer in self.body.layers.items() if isinstance(layer, Dense)}
        """the layers of neurons by name: dense1, dense2, …"""
        self.head = Activation(self.activations[-1])
        self._loss, self._from_logits = named_loss(loss), FROM_LOGITS.get((self.activations[-1], loss))
        self._gradient_scale = 1.0

    def _layers(self, initializer: str | Initializer, rng: Generator) -> Iterator[Layer]:
        if len(self.widths) < 2:
            raise NetworkError(f"a network has at least inputs and outputs, got the widths {self.widths}.")
        if self.normalization is not None and self.normalization not in NORMALIZATIONS:
            raise NetworkError(
                f"there is no normalization {self.normalization!r}. {suggest(self.normalization, NORMALIZATIONS)}"
            )
        last, dropout = len(self.widths) - 2, Dropout(self.dropout)
        for i, (inputs, outputs) in enumerate(pairwise(self.widths)):
            yield Dense(inputs, outputs, initializer, seed=rng, dtype=self.dtype)
            if i < last:
                if self.normalization is not None:
                    yield NORMALIZATIONS[self.normalization](outputs, dtype=self.dtype)
                yield Activation(self.activations[i])
                if dropout.rate:
                    yield dropout

    # -- a step ------------------------------------------------------------------------------------------------

    def forward(self, x: Operand, rng: Generator | None = None) -> Tensor:
        """The outputs `(n, outputs)` of a batch `(n, inputs)`; with a generator, as in training."""
        return self.head(self.logits(x, rng))

    def logits(self, x: Operand, rng: Generator | None = None) -> Tensor:
        """What goes into the last activation, `(n, outputs)`; with a generator, as in training."""
        return self.body(x if isinstance(x, Tensor) else Tensor(np.asarray(x, self.dtype)), rng)

    def error(self, logits: Tensor, y: ArrayLike, weights: Array | None = None) -> Tensor:
        """The mean loss of a batch by its logits, without penalty; weighted where examples have `weights (n,)`."""
        return self._from_logits(logits, y, weights) if self._from_logits else self._loss(self.head(logits), y, weights)

    def penalty(self, times: float = 1.0) -> Tensor:
        """What l1 and l2 add to the loss, so many times."""
        value = Tensor(np.zeros((), self.dtype))
        for layer in self.dense.values():
            value = value + ops.penalty(layer.neurons, self.l1 * times, self.l2 * times)
        return value

    def loss(
        self, x: Operand, y: ArrayLike, rng: Generator | None = None, weights: Array | None = None, times: float = 1.0
    ) -> Tensor:
        """The mean loss of a batch, penalty (`times`) included; with a generator, as in training."""
        error = self.error(self.logits(x, rng), y, weights)
        return error + self.penalty(times) if self.l1 or self.l2 else error

    def backward(self, loss: Tensor) -> None:
        """Gradients of all parameters by a loss, in place of those before."""
        self._gradient_scale = 1.0
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()

    def train_step(
        self, x: Operand, y: ArrayLike, optimizer: Optimizer, rng: Generator,
        weights: Array | None = None, times: float = 1.0,
    ) -> float:  # fmt: skip
        """One step on a batch; its loss. Raises TrainingError when that is not finite."""
        return self.descend(self.loss(x, y, rng, weights, times), optimizer)

    def descend(self, loss: Tensor, optimizer: Optimizer) -> float:
        """One step of the optimizer down a loss; its value. Raises TrainingError when that is not finite."""
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {optimizer.steps + 1}: the learning rate ({optimizer.rate:g}) "
                "may be too high."
            )
        optimizer.minimize(loss, self.parameters)
        self._gradient_scale = optimizer.gradient_scale
        return value

    # -- training ----------------------------------------------------------------------------------------------

    def fit(
        self, x: ArrayLike, y: ArrayLike, *, epochs: int = 10, batch_size: int = 32, optimizer: Optimizer | None = None,
        schedule: Schedule = constant, validation: tuple[ArrayLike, ArrayLike] | None = None, seed: int | Generator = 0,
        verbose: bool = True,
    ) -> list[Epoch]:  # fmt: skip
        """Train, and return what each epoch did; `verbose` prints a line for each as it ends.

        `x (n, inputs)`; `y` are class numbers `(n,)` or rows `(n, outputs)`. The optimizer is SGD(0.01) where none is
        given. `seed` decides order and dropout. Raises DataError for examples that do not fit or are not finite,
        TrainingError when the loss is not finite any more.
        """
        history = []
        for epoch in self.epochs(
            x, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer, schedule=schedule,
            validation=validation, seed=seed,
        ):  # fmt: skip
            history.append(epoch)
            if verbose:
                print(f"{epoch}  of {epochs}", file=sys.stderr, flush=True)
        return history

    def epochs(
        self, x: ArrayLike, y: ArrayLike, *, epochs: int, batch_size: int = 32, optimizer: Optimizer | None = None,
        schedule: Schedule = constant, validation: tuple[ArrayLike, ArrayLike] | None = None, seed: int | Generator = 0,
        shuffle: bool = True, distributions: bool = True, weights: Array | None = None, spread_penalty: bool = False,
    ) -> Iterator[Epoch]:  # fmt: skip
        """As `fit`, but an iterator of the epochs: whoever walks it may stop whenever it likes.

        Without `distributions` an epoch says nothing of weights and gradients: half the time of a small one.
        `weights (n,)`, numbers from 0, say how much each example counts in the loss of its batch. With
        `spread_penalty` the penalties are divided by the number of examples of a batch, or by the sum of their weights.
        """
        x, y = self.examples(x, y)
        if validation is not None:
            validation = self.examples(*validation, name="validation")
        whole = all(isinstance(n, int | np.integer) for n in (batch_size, epochs))
        if not whole or batch_size < 1 or epochs < 0:
            raise NetworkError(
                f"batch_size is a whole number from 1 and epochs one from 0, got {batch_size} and {epochs}."
            )
        optimizer = SGD() if optimizer is None else optimizer
        ops.warm_up()
        rng = np.random.default_rng(seed)
        batch_size = min(batch_size, len(x))
        # batch norm cannot learn from one example
        per_epoch = len(x) // batch_size + (len(x) % batch_size > (self.normalization == "batch"))
        step, steps = 0, epochs * per_epoch
        for number in range(1, epochs + 1):
            began, total, seen = time.perf_counter(), 0.0, 0
            order = rng.permutation(len(x)) if shuffle else np.arange(len(x))
            with np.errstate(all="ignore"):  # a loss that is not finite is told in one line
                for batch, targets in islice(self._batches(x, y, order, batch_size), per_epoch):
                    optimizer.rate = optimizer.learning_rate * schedule(step, steps)
                    counts = None if weights is None else weights[order[seen : seen + len(batch)]]
                    times = 1 / (len(batch) if counts is None else counts.sum()) if spread_penalty else 1.0
                    total += self.train_step(batch, targets, optimizer, rng, counts, float(times)) * len(batch)
                    seen += len(batch)
                    step += 1
            seconds = time.perf_counter() - began
            if not all(np.isfinite(array).all() for array in self.arrays().values()):
                raise TrainingError(
                    f"the weights are not finite after epoch {number}: the learning rate ({optimizer.learning_rate:g}) "
                    "may be too high."
                )
            with np.errstate(all="ignore"):
                loss, accuracy = (None, None) if validation is None else self.evaluate(*validation)
            if loss is not None and not math.isfinite(loss):
                raise TrainingError(
                    f"the validation loss became {loss} after epoch {number}: the learning rate "
                    f"({optimizer.learning_rate:g}) may be too high."
                )
            spread = (quantiles(of) if distributions else {} for of in (self.weights, self.gradients))
            yield Epoch(number, total / seen, loss, accuracy, seconds, *spread)

    def _batches(self, x: Array, y: Array, order: Array, size: int) -> Iterator[tuple[Array, Array]]:
        """Batches in an order: good until the next one is taken.

        Examples are gathered many batches at a time by a second thread, into one buffer while the other is used.
        """
        rows = max(1, BLOCK_BYTES // (size * x.shape[1] * x.itemsize)) * size
        buffers = [np.empty((min(rows, len(order)), x.shape[1]), x.dtype) for _ in range(2)]

        def gather(start: int) -> tuple[Array, Array]:
            index = order[start : start + rows]
            examples = buffers[start // rows % 2][: len(index)]
            np.take(x, index, axis=0, out=examples, mode="clip")  # any other mode would make a copy first
            return examples, one_hot(y[index], self.widths[-1], self.dtype) if y.ndim == 1 else y[index]

        with ThreadPoolExecutor(1) as pool:
            found = gather(0)
            for start in range(rows, len(order) + rows, rows):
                ahead = pool.submit(gather, start) if start < len(order) else None
                for i in range(0, len(found[0]), size):
                    yield found[0][i : i + size], found[1][i : i + size]
                if ahead is not None:
                    found = ahead.result()

    # -- use ---------------------------------------------------------------------------------------------------

    def predict(self, x: ArrayLike) -> Array:
        """The outputs `(n, outputs)`: for a softmax, the probability of each class. Raises DataError."""
        return self.head(Tensor(self.predict_logits(x))).data

    def predict_logits(self, x: ArrayLike) -> Array:
        """What goes into the last activation, `(n, outputs)`. Raises DataError."""
        x = self._inputs(x, "x")
        with no_grad():
            parts = [self.logits(x[i : i + CHUNK]).data for i in range(0, len(x), CHUNK)]
        return np.concatenate(parts)

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> tuple[float, float | None]:
        """Mean loss without penalty, and accuracy where there are classes. Raises DataError."""
        x, y = self.examples(x, y, name="evaluation")
        total, hits = 0.0, 0
        with no_grad():
            for i in range(0, len(x), CHUNK):
                logits, targets = self.logits(x[i : i + CHUNK]), y[i : i + CHUNK]
                total += self.error(logits, targets).item() * len(targets)
                hits += int(self._right(self.head(logits).data, targets).sum())
        return total / len(x), (hits / len(x) if self._has_classes else None)

    @property
    def _has_classes(self) -> bool:
        return self.loss_name != "mse"

    def _right(self, outputs: Array, targets: Array) -> Array:
        if self.loss_name == "categorical_cross_entropy":
            return np.asarray(outputs.argmax(axis=1) == (targets if targets.ndim == 1 else targets.argmax(axis=1)))
        return np.asarray(((outputs > 0.5) == (targets > 0.5)).all(axis=1))

    def examples(self, x: ArrayLike, y: ArrayLike, name: str = "training") -> tuple[Array, Array]:
        """Inputs and targets as training wants them. Raises DataError with what is wrong."""
        x, y = self._inputs(x, f"{name} x"), _array(y, f"{name} y")
        if y.shape[:1] != x.shape[:1]:
            raise DataError(f"{name}: {len(x)} examples, but {y.shape[0] if y.ndim else 'no'} targets.")
        outputs = self.widths[-1]
        if self.loss_name == "categorical_cross_entropy" and y.ndim == 1:
            return x, check_labels(y, outputs)
        if y.ndim == 1 and outputs == 1:
            y = y[:, None]
        if y.shape != (len(x), outputs):
            raise DataError(f"{name} y: expected shape ({len(x)}, {outputs}), got {y.shape}.")
        y = self._finite(y, f"{name} y")
        if self._has_classes and not ((y >= 0) & (y <= 1)).all():
            raise DataError(f"{name} y: expected probabilities, from 0 to 1, got {y.min():g} to {y.max():g}.")
        if self.loss_name == "categorical_cross_entropy" and np.abs(y.sum(axis=1) - 1).max() > 1e-3:
            raise DataError(f"{name} y: expected rows of probabilities that sum to 1.")
        return x, y

    def _inputs(self, x: ArrayLike, name: str) -> Array:
        x = _array(x, name)
        if x.ndim != 2 or x.shape[1] != self.widths[0]:
            raise DataError(f"{name}: expected shape (n, {self.widths[0]}), got {x.shape}.")
        if len(x) == 0:
            raise DataError(f"{name}: there are no examples.")
        return self._finite(x, name)

    def _finite(self, array: Array, name: str) -> Array:
        """The array in the network's dtype. Raises DataError where it holds a value that is not finite there."""
        if array.dtype.kind not in "biuf":
            raise DataError(f"{name}: expected numbers, got {array.dtype}.")
        with np.errstate(over="ignore", invalid="ignore"):
            array = array.astype(self.dtype, copy=False)
            # a sum is finite if everything is, and costs no memory; only where it is not, look closer
            fine = math.isfinite(array.sum()) or np.isfinite(array).all()
        if not fine:
            wrong = np.argwhere(~np.isfinite(array))[0].tolist()
            raise DataError(f"{name}: holds a value that is not finite, the first at {wrong}.")
        return array

    # -- looking into it ---------------------------------------------------------------------------------------

    @property
    def weights(self) -> dict[str, Array]:
        """By layer, `(inputs + 1, outputs)`: a column is a neuron, its weights and, in the last row, its bias."""
        return {name: layer.neurons.data for name, layer in self.dense.items()}

    @property
    def gradients(self) -> dict[str, Array]:
        """By layer, as `weights`: the gradients of the last step, or of the last `backward`; 0 before the first."""
        return {
            name: np.zeros_like(layer.neurons.data) if layer.neurons.grad is None
            else layer.neurons.grad / self._gradient_scale
            for name, layer in self.dense.items()
        }  # fmt: skip

    def summary(self) -> str:
        """The layers, their widths and parameters, as a table."""
        rows, width = [("layer", "output", "parameters"), ("input", str(self.widths[0]), "")], self.widths[0]
        for name, layer in self.body.layers.items():
            width = layer.neurons.shape[1] if isinstance(layer, Dense) else width
            kind = f"{name} ({layer.name})" if isinstance(layer, Activation) else name
            count = sum(parameter.size for parameter in layer.parameters.values())
            rows.append((kind, str(width), f"{count:,}" if count else ""))
        rows.append((f"output ({self.head.name})", str(width), ""))
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        total = sum(parameter.size for parameter in self.parameters)
        return "\n".join([*lines, f"{total:,} parameters, {self.dtype}; loss {self.loss_name}"])

    # -- files -------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, Array]:
        """Parameters and buffers by name: the arrays themselves."""
        return self.body.arrays()

    def load_arrays(self, arrays: dict[str, Array]) -> None:
        """Take over what `arrays` gave. Raises NetworkError when it belongs to another network."""
        mine = self.arrays()
        shapes, given = ({name: (a.shape, a.dtype) for name, a in of.items()} for of in (mine, arrays))
        if shapes != given:
            odd = [name for name in {**shapes, **given} if shapes.get(name) != given.get(name)]
            raise NetworkError(f"these arrays belong to another network: {', '.join(odd)} differ.")
        for name, array in mine.items():
            array[...] = arrays[name]

    def save(self, path: str | Path) -> None:
        """Write the network to an `.npz` file: its arrays, and how it was built."""
        built = {
            "widths": [int(width) for width in self.widths], "activations": self.activations, "loss": self.loss_name,
            "normalization": self.normalization, "dropout": float(self.dropout), "l1": float(self.l1),
            "l2": float(self.l2), "dtype": self.dtype.name,
        }  # fmt: skip
        buffer = io.BytesIO()
        content: dict[str, Any] = {**self.arrays(), HEADER: np.array(json.dumps(built))}
        np.savez(buffer, **content)
        write_atomic(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> FFNN:
        """The network of a file that `save` wrote. Raises DataError when it is damaged or something else."""
        try:
            # read before it is looked into: NumPy leaves damaged files open
            with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
                arrays = dict(file)
            built = json.loads(str(arrays.pop(HEADER)))
            network = cls(built.pop("widths"), built.pop("activations"), **built)
            network.load_arrays(arrays)
        except FileNotFoundError:
            raise DataError(f"There is no file {path}.") from None
        except KeyError:
            raise DataError(f"{path}: not a network that FFNN.save wrote.") from None
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, *ODD) as error:
            said = " ".join(str(error).split()).rstrip(".")
            raise DataError(f"{path}: damaged, or not a network that FFNN.save wrote ({said}).") from None
        return network


def _array(given: ArrayLike, name: str) -> Array:
    try:
        return np.asarray(given)
    except ValueError:
        raise DataError(f"{name}: expected an array, got rows of different lengths.") from None


def _dtype(given: DTypeLike) -> np.dtype[np.floating]:
    try:
        found: np.dtype[Any] | None = np.dtype(given)
    except TypeError:
        found = None
    if found is None or found not in (np.float32, np.float64):
        raise NetworkError(f"a network computes in float32 or float64, not in {found or repr(given)}.")
    return found


def quantiles(arrays: dict[str, Array]) -> dict[str, list[float]]:
    """By name: the 5, 25, 50, 75 and 95 % quantiles of each array."""
    return {name: np.quantile(array, QUANTILES).tolist() for name, array in arrays.items()}


def _activations(given: str | Sequence[str], count: int, loss: str) -> list[str]:
    """One activation for each layer after the inputs."""
    if isinstance(given, str):
        return [given] * (count - 1) + [LAST.get(loss, "linear")]
    if len(given) != count:
        raise NetworkError(f"expected an activation for each of the {count} layers after the inputs, got {len(given)}.")
    return list(given)
