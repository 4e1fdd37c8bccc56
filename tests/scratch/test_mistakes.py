"""Every mistake of a user is named in one line: by an error of the documented kind, and by no warning of NumPy's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sanggar.errors import DataError, NetworkError, SanggarError, TrainingError
from sanggar.scratch import FFNN, SGD, Adam, AdamW, BatchNorm, Dense, Dropout, LayerNorm, RMSNorm, RMSProp, Tensor, ops
from sanggar.scratch.activations import ACTIVATIONS, activation
from sanggar.scratch.initializers import initializer
from sanggar.scratch.losses import LOSSES, categorical_cross_entropy_from_logits, loss
from sanggar.scratch.network import NORMALIZATIONS
from sanggar.scratch.optimizers import optimizer

X: Any = np.random.default_rng(0).normal(size=(6, 3))
LABELS: Any = np.array([0, 1, 0, 1, 0, 1])
ROWS: Any = np.eye(2)[LABELS]


def holding(value: float, *more: float) -> Any:
    """Inputs in which the first entries are others."""
    x = X.copy()
    x.flat[: 1 + len(more)] = [value, *more]
    return x


def fit(x: Any = X, y: Any = LABELS, network: FFNN | None = None, **options: Any) -> Any:
    """Train a network, of three inputs and two classes where none is given."""
    return (FFNN([3, 4, 2]) if network is None else network).fit(x, y, **{"epochs": 3, "verbose": False} | options)


def load(content: bytes) -> FFNN:
    """The network of a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.npz")
        path.write_bytes(content)
        return FFNN.load(path)


def saved(network: FFNN | None = None) -> bytes:
    """The content of a network's file."""
    with tempfile.TemporaryDirectory() as folder:
        (FFNN([3, 4, 2]) if network is None else network).save(Path(folder, "network.npz"))
        return Path(folder, "network.npz").read_bytes()


def listed(offset: int, byte: int) -> bytes:
    """A network's file whose table of contents has another byte at an offset of the first entry."""
    content = bytearray(saved())
    content[content.index(b"PK\1\2") + offset] = byte
    return bytes(content)


def written(save: Callable[..., None], *arguments: Any, **arrays: Any) -> bytes:
    """What one of NumPy's ways to save writes."""
    with tempfile.TemporaryFile() as file:
        save(file, *arguments, **arrays)
        file.seek(0)
        return file.read()


def twice(first: FFNN, second: FFNN) -> Any:
    """Two networks trained by one optimizer."""
    adam = Adam()
    return [fit(network=network, optimizer=adam) for network in (first, second)]


def far_too_fast(network: Callable[[], FFNN]) -> Any:
    """A network trained at a rate that no network bears."""
    return fit(network=network(), optimizer=SGD(1e30), epochs=20)


def headed(content: str) -> FFNN:
    """The network of a file whose header says this."""
    return load(written(np.savez, **{"sanggar.ffnn": np.array(content)}))


MISTAKES: dict[str, tuple[Callable[[], object], type[SanggarError], str]] = {
    # tensors and operations
    "a tensor of words": (lambda: Tensor(["a"]), NetworkError, "a tensor holds real numbers"),
    "a tensor of complex numbers": (lambda: Tensor([1j]), NetworkError, "a tensor holds real numbers"),
    "a tensor of nothing": (lambda: Tensor(None), NetworkError, "a tensor holds real numbers"),  # type: ignore[arg-type]
    "a ragged tensor": (lambda: Tensor([[1.0], [1.0, 2.0]]), NetworkError, "a tensor holds real numbers"),
    "item() of several": (lambda: Tensor([1, 2]).item(), NetworkError, "one number; this one has shape (2,)"),
    "item() of none": (lambda: Tensor([]).item(), NetworkError, "one number; this one has shape (0,)"),
    "backward() of a constant": (lambda: (Tensor([1.0]) * 2).backward(), NetworkError, "requires_grad=True"),
    "+ of shapes": (lambda: Tensor(X) + np.ones(2), NetworkError, "+: shapes (6, 3) and (2,) cannot be broadcast"),
    "- of shapes": (lambda: np.ones(2) - Tensor(X), NetworkError, "-: shapes (2,) and (6, 3) cannot be broadcast"),
    "* of shapes": (lambda: Tensor(X) * [1, 2], NetworkError, "*: shapes (6, 3) and (2,) cannot be broadcast"),
    "/ of shapes": (lambda: Tensor(X) / Tensor(X.T), NetworkError, "/: shapes (6, 3) and (3, 6) cannot be broadcast"),
    "+ of words": (lambda: Tensor(X) + "a", NetworkError, "a tensor holds real numbers"),
    "@ of shapes": (lambda: Tensor(X) @ X, NetworkError, "the inner widths must be equal"),
    "@ of vectors": (lambda: Tensor(np.ones(3)) @ np.ones(2), NetworkError, "(3,) and (2,) do not fit"),
    "@ of numbers": (lambda: Tensor(X) @ 2.0, NetworkError, "(6, 3) and () do not fit"),
    "@ of stacks": (
        lambda: Tensor(np.ones((2, 2, 3))) @ np.ones((3, 3, 2)), NetworkError, "(2, 2, 3) and (3, 3, 2) do not fit"
    ),
    "a power of arrays": (lambda: Tensor(X) ** X, NetworkError, "the exponent of a power is one number"),
    "a power of tensors": (lambda: Tensor(X) ** Tensor(2.0), NetworkError, "the exponent of a power is one number"),  # type: ignore[operator]
    "an axis too far": (lambda: Tensor(X).sum(2), NetworkError, "axis 2 is not one of the 2 axes of (6, 3)"),
    "an axis too far back": (lambda: Tensor(X).mean((0, -3)), NetworkError, "axis (0, -3) is not one of the 2 axes"),
    "an axis twice": (lambda: Tensor(X).sum((0, 0)), NetworkError, "axis (0, 0) is not"),
    "an axis twice from both ends": (lambda: ops.logsumexp(Tensor(X), (1, -1)), NetworkError, "axis (1, -1) is not"),
    "the largest of nothing": (lambda: ops.max(Tensor([])), NetworkError, "no largest entry along an empty axis"),
    "too few entries": (lambda: Tensor(X).reshape(5, 3), NetworkError, "18 entries of shape (6, 3) do not fit (5, 3)"),
    "two free widths": (lambda: Tensor(X).reshape(-1, -1), NetworkError, "do not fit (-1, -1)"),
    "axes out of order": (lambda: ops.transpose(Tensor(X), (0, 0)), NetworkError, "does not order the 2 axes"),
    "too few axes": (lambda: ops.transpose(Tensor(X), (0,)), NetworkError, "does not order the 2 axes"),
    "nothing to join": (lambda: ops.concatenate([]), NetworkError, "nothing cannot be joined along axis 0"),
    "joined shapes": (lambda: ops.concatenate([Tensor(X), Tensor(X.T)]), NetworkError, "(6, 3), (3, 6) cannot be"),
    "joined along no axis": (lambda: ops.concatenate([Tensor(X)], 2), NetworkError, "along axis 2"),
    "an index too far": (lambda: Tensor(X)[6], NetworkError, "index 6 is out of bounds"),
    "too many indices": (lambda: Tensor(X)[0, 0, 0], NetworkError, "too many indices"),
    "an index that is none": (lambda: Tensor(X)["a"], NetworkError, "index:"),  # type: ignore[index]
    "a mask of another shape": (lambda: Tensor(X)[np.ones(5, bool)], NetworkError, "index:"),
    "a slice that does not move": (lambda: Tensor(X)[::0], NetworkError, "index:"),
    # layers
    "neurons for other inputs": (lambda: Dense(4, 2)(Tensor(X)), NetworkError, "takes an array (n, 4), got (6, 3)"),
    "neurons for one example": (lambda: Dense(3, 2)(Tensor(X[0])), NetworkError, "takes an array (n, 3), got (3,)"),
    "a width of 0": (lambda: Dense(0, 2), NetworkError, "a whole number above 0, got 0"),
    "a width below 0": (lambda: Dense(3, -2), NetworkError, "a whole number above 0, got -2"),
    "a width with a fraction": (lambda: Dense(3, 2.5), NetworkError, "a whole number above 0, got 2.5"),  # type: ignore[arg-type]
    "a norm's width": (lambda: RMSNorm(0), NetworkError, "a whole number above 0, got 0"),
    "RMS norm of other inputs": (lambda: RMSNorm(4)(Tensor(X)), NetworkError, "(n, 4)"),
    "RMS norm of wider inputs": (lambda: RMSNorm(1)(Tensor(X)), NetworkError, "(n, 1)"),
    "layer norm of one example": (lambda: LayerNorm(3)(Tensor(X[0])), NetworkError, "(n, 3)"),
    "batch norm of other inputs": (
        lambda: BatchNorm(4)(Tensor(X), np.random.default_rng(0)), NetworkError, "(n, 4)"
    ),
    "batch norm of one example": (
        lambda: BatchNorm(3)(Tensor(X[:1]), np.random.default_rng(0)), NetworkError, "two or more; this one has 1"
    ),
    "batch norm of no example": (
        lambda: BatchNorm(3)(Tensor(X[:0]), np.random.default_rng(0)), NetworkError, "two or more; this one has 0"
    ),
    "nothing kept": (lambda: Dropout(1.0), NetworkError, "at least 0 and below 1, got 1.0"),
    "a rate below 0": (lambda: Dropout(-0.1), NetworkError, "at least 0 and below 1, got -0.1"),
    "a rate that is no number": (lambda: Dropout(float("nan")), NetworkError, "at least 0 and below 1, got nan"),
    # names
    "an activation's name": (lambda: activation("rleu"), NetworkError, "no activation 'rleu'. Did you mean 'relu'?"),
    "a loss's name": (lambda: loss("msee"), NetworkError, "no loss 'msee'. Did you mean 'mse'?"),
    "an initializer's name": (lambda: initializer("he_norm"), NetworkError, "Did you mean 'he_normal'?"),
    "an optimizer's name": (lambda: optimizer("adamm"), NetworkError, "no optimizer 'adamm'. Did you mean 'adam'?"),
    "a name like no other": (lambda: optimizer("zzz"), NetworkError, "Known: sgd, adam, adamw, rmsprop."),
    "a network's activation": (lambda: FFNN([3, 4, 2], "tanhh"), NetworkError, "Did you mean 'tanh'?"),
    "a network's last activation": (lambda: FFNN([3, 2], ["sotfmax"]), NetworkError, "Did you mean 'softmax'?"),
    "a network's loss": (
        lambda: FFNN([3, 2], loss="categorical_crossentropy"), NetworkError, "Did you mean 'categorical_cross_entropy'?"
    ),
    "a network's initializer": (lambda: FFNN([3, 2], initializer="xavier"), NetworkError, "Did you mean 'xavier_"),
    "an initializer that is none": (lambda: FFNN([3, 2], initializer=["he_normal"]), NetworkError, "no initializer"),  # type: ignore[arg-type]
    "a network's normalization": (lambda: FFNN([3, 2], normalization="bath"), NetworkError, "Did you mean 'batch'?"),
    # networks
    "no widths": (lambda: FFNN([]), NetworkError, "at least inputs and outputs"),
    "one width": (lambda: FFNN([3]), NetworkError, "at least inputs and outputs, got the widths [3]"),
    "a hidden width of 0": (lambda: FFNN([3, 0, 2]), NetworkError, "a whole number above 0, got 0"),
    "a hidden width below 0": (lambda: FFNN([3, -1, 2]), NetworkError, "a whole number above 0, got -1"),
    "a hidden width with a fraction": (lambda: FFNN([3, 2.5, 2]), NetworkError, "a whole number above 0, got 2.5"),  # type: ignore[list-item]
    "a width in words": (lambda: FFNN([3, "4", 2]), NetworkError, "a whole number above 0, got '4'"),  # type: ignore[list-item]
    "an activation too few": (
        lambda: FFNN([3, 4, 4, 2], ["relu", "softmax"]), NetworkError, "each of the 3 layers after the inputs, got 2"
    ),
    "an activation too many": (
        lambda: FFNN([3, 2], ["relu", "softmax"]), NetworkError, "each of the 1 layers after the inputs, got 2"
    ),
    "half precision": (lambda: FFNN([3, 2], dtype="float16"), NetworkError, "float32 or float64, not in float16"),
    "whole numbers": (lambda: FFNN([3, 2], dtype="int32"), NetworkError, "float32 or float64, not in int32"),
    "a dtype that is none": (lambda: FFNN([3, 2], dtype="float33"), NetworkError, "float32 or float64"),
    "a penalty below 0": (lambda: FFNN([3, 2], l2=-0.1), NetworkError, "penalties are numbers from 0"),
    "a penalty that is no number": (lambda: FFNN([3, 2], l1=float("nan")), NetworkError, "numbers from 0, got l1=nan"),
    "a penalty without end": (lambda: FFNN([3, 2], l1=float("inf")), NetworkError, "penalties are numbers from 0"),
    "dropout of everything": (lambda: FFNN([3, 4, 2], dropout=1.0), NetworkError, "below 1, got 1.0"),
    "dropout without a hidden layer": (lambda: FFNN([3, 2], dropout=5.0), NetworkError, "below 1, got 5.0"),
    "weights of another shape": (
        lambda: FFNN([3, 2], initializer=lambda shape, rng: np.ones((7, 2))), NetworkError, "(3, 2)"
    ),
    "weights the other way round": (
        lambda: FFNN([3, 2], initializer=lambda shape, rng: np.ones((2, 3))), NetworkError, "(3, 2)"
    ),
    "arrays of another network": (
        lambda: FFNN([3, 4, 2]).load_arrays(FFNN([3, 5, 2]).arrays()), NetworkError, "dense1.neurons, dense2"
    ),
    "arrays of a network with more": (
        lambda: FFNN([3, 4, 2]).load_arrays(FFNN([3, 4, 2], normalization="rms").arrays()), NetworkError,
        "rmsnorm1.scale"
    ),
    # optimizers
    "a learning rate of 0": (lambda: SGD(0.0), NetworkError, "a number above 0, got 0.0"),
    "a learning rate below 0": (lambda: Adam(-0.1), NetworkError, "a number above 0, got -0.1"),
    "a learning rate that is no number": (lambda: AdamW(float("nan")), NetworkError, "a number above 0, got nan"),
    "a learning rate without end": (lambda: RMSProp(float("inf")), NetworkError, "a number above 0, got inf"),
    "a momentum of 1": (lambda: SGD(momentum=1.0), NetworkError, "momentum is at least 0 and below 1, got 1.0"),
    "a momentum below 0": (lambda: RMSProp(momentum=-0.5), NetworkError, "momentum is at least 0 and below 1"),
    "nesterov without momentum": (lambda: SGD(nesterov=True), NetworkError, "nesterov needs a momentum above 0"),
    "a beta of 1": (lambda: Adam(betas=(0.9, 1.0)), NetworkError, "beta is at least 0 and below 1, got 1.0"),
    "a smoothing of 1": (lambda: RMSProp(smoothing=1.0), NetworkError, "smoothing is at least 0 and below 1, got 1.0"),
    "an optimizer for other layers": (
        lambda: twice(FFNN([3, 4, 2]), FFNN([3, 4, 4, 2])), NetworkError, "knows 2 parameters, and was given 3"
    ),
    "an optimizer for other widths": (
        lambda: twice(FFNN([3, 4, 2]), FFNN([3, 5, 2])), NetworkError, "(4, 4)"
    ),
    "an optimizer's memory of others": (
        lambda: Adam().load({"steps": np.array(1), "0.mean": np.ones(3), "0.square": np.ones(3)}, [Tensor(np.ones(2))]),
        NetworkError, "does not fit these parameters"
    ),
    "an optimizer's memory without steps": (lambda: Adam().load({}, []), NetworkError, "does not fit"),
    "a loss of several numbers": (
        lambda: SGD().minimize(Tensor(X, requires_grad=True) * 2, []), NetworkError, "needs one number"
    ),
    # losses
    **{f"{name} of other targets": (
        partial(LOSSES[name], Tensor(X), X.T), DataError, "targets: expected shape (6, 3)"
    ) for name in LOSSES},
    **{f"{name} of nothing": (
        partial(LOSSES[name], Tensor(X[:0]), X[:0]), DataError, "with something in it, got (0, 3)"
    ) for name in LOSSES},
    "a class too high": (
        lambda: categorical_cross_entropy_from_logits(Tensor(X), [0, 1, 2, 3, 0, 0]), DataError,
        "3 is not one of the 3 classes"
    ),
    "logits of one example": (
        lambda: categorical_cross_entropy_from_logits(Tensor(X[0]), [1.0, 0.0, 0.0]), DataError, "(n, classes)"
    ),
    # data
    "inputs of another width": (lambda: fit(X[:, :2]), DataError, "training x: expected shape (n, 3), got (6, 2)"),
    "one example without its axis": (lambda: fit(X[0], 1), DataError, "training x: expected shape (n, 3), got (3,)"),
    "no examples": (lambda: fit(X[:0], LABELS[:0]), DataError, "training x: there are no examples"),
    "ragged inputs": (lambda: fit([[1, 2, 3], [4]], [0, 1]), DataError, "training x"),
    "inputs in words": (lambda: fit(np.full((6, 3), "a")), DataError, "training x: expected numbers"),
    "inputs that are no numbers": (lambda: fit(holding(np.nan)), DataError, "the first at [0, 0]"),
    "infinite inputs": (lambda: fit(holding(1.0, np.inf)), DataError, "the first at [0, 1]"),
    "inputs infinite both ways": (lambda: fit(holding(np.inf, -np.inf)), DataError, "the first at [0, 0]"),
    "inputs too large for float32": (lambda: fit(holding(1e300)), DataError, "training x"),
    "inputs too large to add up": (lambda: fit(holding(1.7e308, 1.7e308)), DataError, "training x"),
    "targets too large for float32": (
        lambda: fit(y=1e300 * ROWS, network=FFNN([3, 2], loss="mse")), DataError, "training y"
    ),
    "a label too few": (lambda: fit(y=LABELS[:5]), DataError, "training: 6 examples, but 5 targets"),
    "one label for all": (lambda: fit(y=1), DataError, "target"),
    "no labels at all": (lambda: fit(y=None), DataError, "target"),
    "a label too high": (lambda: fit(y=LABELS + 1), DataError, "2 is not one of the 2 classes, 0 to 1"),
    "a label below 0": (lambda: fit(y=LABELS - 1), DataError, "-1 is not one of the 2 classes"),
    "labels with fractions": (lambda: fit(y=LABELS / 2), DataError, "expected class numbers (n,), got float64"),
    "labels in words": (lambda: fit(y=np.full(6, "a")), DataError, "expected class numbers (n,), got <U1"),
    "labels as a column": (lambda: fit(y=LABELS[:, None]), DataError, "training y: expected shape (6, 2), got (6, 1)"),
    "rows of other classes": (lambda: fit(y=np.eye(3)[LABELS]), DataError, "expected shape (6, 2), got (6, 3)"),
    "rows of different lengths": (lambda: fit(X[:2], [[1, 0], [1]]), DataError, "training y"),
    "rows that are no distributions": (lambda: fit(y=ROWS * 3), DataError, "training y"),
    "rows that are no numbers": (lambda: fit(y=ROWS * np.nan), DataError, "training y: holds a value"),
    "an answer that is neither no nor yes": (
        lambda: fit(y=LABELS * 2, network=FFNN([3, 1], loss="binary_cross_entropy")), DataError, "training y"
    ),
    "an answer below no": (
        lambda: fit(y=2.0 * LABELS - 1, network=FFNN([3, 1], loss="binary_cross_entropy")), DataError, "training y"
    ),
    "validation of another width": (
        lambda: fit(validation=(X[:, :2], LABELS)), DataError, "validation x: expected shape (n, 3), got (6, 2)"
    ),
    "evaluation of another width": (
        lambda: FFNN([3, 2]).evaluate(X[:, :2], LABELS), DataError, "evaluation x: expected shape (n, 3), got (6, 2)"
    ),
    "prediction of another width": (lambda: FFNN([3, 2]).predict(X[:, :2]), DataError, "x: expected shape (n, 3)"),
    "prediction of nothing": (lambda: FFNN([3, 2]).predict(X[:0]), DataError, "x: there are no examples"),
    "prediction for no number": (lambda: FFNN([3, 2]).predict(holding(np.nan)), DataError, "x: holds a value"),
    # training
    "batches of none": (lambda: fit(batch_size=0), NetworkError, "got 0 and 3"),
    "batches with a fraction": (lambda: fit(batch_size=2.5), NetworkError, "got 2.5 and 3"),
    "epochs below 0": (lambda: fit(epochs=-1), NetworkError, "got 32 and -1"),
    "epochs with a fraction": (lambda: fit(epochs=1.5), NetworkError, "got 32 and 1.5"),
    "batch norm on batches of one": (
        lambda: fit(network=FFNN([3, 4, 2], normalization="batch"), batch_size=1), NetworkError, "two or more"
    ),
    **{f"{name} far too fast": (
        partial(far_too_fast, network), TrainingError,
        "the learning rate (1e+30) may be too high"
    ) for name, network in {
        "a classifier": partial(FFNN, [3, 4, 4, 2]),
        "a network of double precision": partial(FFNN, [3, 4, 4, 2], dtype="f8", l2=1.0),
        "a penalized network": partial(FFNN, [3, 4, 2], l1=0.1, l2=0.1),
        **{f"a network with {kind} norm": partial(FFNN, [3, 4, 2], normalization=kind, l2=1.0)
           for kind in NORMALIZATIONS},
        **{f"a network of {kind}": partial(FFNN, [3, 4, 2], kind, l2=1.0) for kind in ACTIVATIONS},
    }.items()},
    "a regression too fast": (
        lambda: fit(y=ROWS, network=FFNN([3, 4, 2], loss="mse"), optimizer=SGD(100.0), epochs=50), TrainingError,
        "may be too high"
    ),
    "a last step too far": (
        lambda: fit(optimizer=SGD(1e38), network=FFNN([3, 4, 2], l2=1e3), epochs=1), TrainingError, "may be too high"
    ),
    "a last step too far for its validation": (
        lambda: fit(optimizer=SGD(1e30), epochs=1, validation=(X, LABELS)), TrainingError, "may be too high"
    ),
    # files
    "a file that is not there": (lambda: FFNN.load("/nowhere/network.npz"), DataError, "no file /nowhere/network.npz"),
    "a folder": (lambda: FFNN.load("/"), DataError, "damaged, or not a network"),
    "an empty file": (lambda: load(b""), DataError, "damaged, or not a network"),
    "a text": (lambda: load(b"weights: 1 2 3\n"), DataError, "damaged, or not a network"),
    "a truncated file": (lambda: load(saved()[:-100]), DataError, "damaged, or not a network"),
    "half a file": (lambda: load(saved()[: len(saved()) // 2]), DataError, "damaged, or not a network"),
    "a file with a hole": (
        lambda: load(bytes(0 if 100 <= i < 140 else byte for i, byte in enumerate(saved()))), DataError, "damaged"
    ),
    "a zip file that claims a password": (
        lambda: load(listed(8, 1)), DataError, "damaged, or not a network"
    ),
    "a zip file of another time": (
        lambda: load(listed(6, 255)), DataError, "damaged, or not a network"
    ),
    "somebody else's arrays": (lambda: load(written(np.savez, a=X)), DataError, "not a network that FFNN.save wrote"),
    "one array": (lambda: load(written(np.save, X)), DataError, "not a network that FFNN.save wrote"),
    "objects": (
        lambda: load(written(np.savez, **{"sanggar.ffnn": np.array([{}], object)})), DataError, "damaged, or not"
    ),
    "one object": (lambda: load(written(np.save, np.array([{}], object))), DataError, "damaged, or not a network"),
    **{f"a header of {content}": (
        partial(headed, content), DataError,
        "not a network that FFNN.save wrote"
    ) for content in ("", "{}", "[1]", "7", '{"widths": [3, 2]}', '{"widths": [3, 2], "activations": "relu"}',
                      '{"widths": "32", "activations": ["relu"]}', '{"widths": [3, 2], "activations": [["relu"]]}',
                      '{"widths": [3, 2], "activations": ["softmax"], "colour": 1}')},
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.filterwarnings("error")
def test_a_mistake_is_named(name: str) -> None:
    mistake, kind, words = MISTAKES[name]
    with pytest.raises(kind) as raised:
        mistake()
    assert raised.type is kind
    said = str(raised.value)
    assert words in said
    assert "\n" not in said
    assert said.endswith((".", "?"))
