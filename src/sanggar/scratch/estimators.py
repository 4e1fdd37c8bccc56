"""`FFNNClassifier` and `FFNNRegressor`: the from-scratch network as scikit-learn estimators.

Parameters and attributes are called as in scikit-learn's `MLPClassifier` and `MLPRegressor`, and mean the same where
both have them: from the same weights and in the same order of examples, both walk the same way. What differs is said
at the base class. Needs scikit-learn 1.6, for `validate_data` and the estimators' tags.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TypeGuard, TypeVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from sanggar.errors import TrainingError, suggest
from sanggar.scratch.activations import ACTIVATIONS
from sanggar.scratch.initializers import Initializer
from sanggar.scratch.network import FFNN
from sanggar.scratch.optimizers import SGD, Adam, Optimizer, RMSProp, constant, cosine
from sanggar.scratch.tensor import Array

SOLVERS = ("sgd", "adam", "adamw", "rmsprop")
RATES = ("constant", "invscaling", "adaptive", "cosine")
ENGINE = {"identity": "linear", "logistic": "sigmoid"}
"""The engine's name of an activation, where scikit-learn has another."""
OUT = {"mse": "identity", "binary_cross_entropy": "logistic", "categorical_cross_entropy": "softmax"}
"""The last activation that goes with a loss, by scikit-learn's name."""
DTYPES = (np.float64, np.float32)
SMALLEST_RATE = 1e-6
"""Where an adaptive learning rate falls no further."""

Kind = TypeVar("Kind", bound="FFNNEstimator")
Rule = tuple[str, Callable[[object], bool]]
FROM_0: Rule = "a number from 0", lambda v: _real(v) and 0 <= v < math.inf
ABOVE_0: Rule = "a number above 0", lambda v: _real(v) and 0 < v < math.inf
SHARE: Rule = "a number from 0, below 1", lambda v: _real(v) and 0 <= v < 1
NUMBERS: dict[str, Rule] = {
    **dict.fromkeys(("alpha", "l1", "weight_decay", "power_t", "tol"), FROM_0),
    **dict.fromkeys(("learning_rate_init", "epsilon"), ABOVE_0),
    **dict.fromkeys(("momentum", "beta_1", "beta_2", "dropout"), SHARE),
    "validation_fraction": ("a number between 0 and 1", lambda v: _real(v) and 0 < v < 1),
    "max_iter": ("a whole number from 1", lambda v: _whole(v)),
    "n_iter_no_change": ("a whole number from 1, or infinite", lambda v: _whole(v) or v == math.inf),
    "batch_size": ("a whole number from 1, or 'auto'", lambda v: _whole(v) or v == "auto"),
}
"""What a parameter has to be, in words and in deed."""


class FFNNEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the two estimators: parameters, training, and what a fitted one shows.

    As in scikit-learn: `hidden_layer_sizes`, `alpha` (adds alpha · Σ w² / 2 / batch size to the loss), `batch_size`
    ("auto" is 200, or all examples where there are fewer), `learning_rate_init`, `power_t`, `max_iter`, `shuffle`,
    `random_state`, `tol`, `verbose`, `warm_start`, `momentum`, `nesterovs_momentum`, `early_stopping`,
    `validation_fraction`, `beta_1`, `beta_2`, `epsilon`, `n_iter_no_change`. More than there:

    - `activation` also takes the engine's names, and a sequence of names, one for each hidden layer;
    - `solver`: "sgd", "adam", "adamw" with `weight_decay`, or "rmsprop"; there is no "lbfgs";
    - `learning_rate`: "constant", "invscaling" and "adaptive" (both for "sgd" alone, as there), or "cosine", which
      falls to 0 over the `max_iter` epochs with any solver;
    - `l1` adds l1 · Σ|w| / batch size to the loss;
    - `initializer`, `normalization` and `dropout` are the engine's.

    What differs: biases begin at 0, where scikit-learn draws them as it draws weights, and "xavier_uniform" has one
    bound for every activation, where scikit-learn has a smaller one for "logistic". A last batch that is not full is
    penalized like a full one, not more. Adam adds `epsilon` after the correction for its first steps, as the paper's
    algorithm does, not before. A regressor with several outputs takes the same steps, and reports the penalties
    divided by the number of outputs. Examples held out for early stopping have the classes in the same shares also
    where there are more than two. Where training goes on (`partial_fit`, `warm_start`), so do the random numbers:
    several `partial_fit` do what one longer `fit` does, also where `random_state` is a number. A later `fit` with
    `warm_start` may lack classes. Sparse X and weights of examples are not taken.
    """

    network_: FFNN
    """what is trained"""
    n_layers_: int
    """with inputs and outputs"""
    n_outputs_: int
    """neurons of the last layer"""
    out_activation_: str
    """by scikit-learn's name"""
    n_iter_: int
    """epochs of the last call"""
    t_: int
    """examples seen, in all epochs of all calls"""
    loss_: float
    """mean over the batches of the last epoch, penalties included; in regression half the mean square"""
    loss_curve_: list[float]
    """`loss_` of every epoch of every call"""
    best_loss_: float | None
    """the smallest; None with early stopping"""
    validation_scores_: list[float] | None
    """accuracy or R² on the held-out examples, of every epoch; None without early stopping"""
    best_validation_score_: float | None
    """the highest, whose weights are kept; None without early stopping"""

    def __init__(
        self, hidden_layer_sizes: int | Sequence[int] = (100,), activation: str | Sequence[str] = "relu", *,
        solver: str = "adam", alpha: float = 1e-4, l1: float = 0.0, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: int | RandomState | None = None, tol: float = 1e-4, verbose: bool = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, initializer: str | Initializer = "xavier_uniform",
        normalization: str | None = None, dropout: float = 0.0, weight_decay: float = 0.01,
    ) -> None:  # fmt: skip
        # scikit-learn wants parameters kept as they were given: `fit` looks at them
        self.hidden_layer_sizes, self.activation, self.solver = hidden_layer_sizes, activation, solver
        self.alpha, self.l1, self.batch_size = alpha, l1, batch_size
        self.learning_rate, self.learning_rate_init, self.power_t = learning_rate, learning_rate_init, power_t
        self.max_iter, self.shuffle, self.random_state, self.tol = max_iter, shuffle, random_state, tol
        self.verbose, self.warm_start = verbose, warm_start
        self.momentum, self.nesterovs_momentum = momentum, nesterovs_momentum
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.beta_1, self.beta_2, self.epsilon, self.n_iter_no_change = beta_1, beta_2, epsilon, n_iter_no_change
        self.initializer, self.normalization = initializer, normalization
        self.dropout, self.weight_decay = dropout, weight_decay

    def fit(self: Kind, X: ArrayLike, y: ArrayLike) -> Kind:
        """Train on `X (n, features)` and `y (n,)` or `(n, outputs)`; with `warm_start`, go on from where it is.

        Raises ValueError for parameters and examples that make no sense, and when the loss is not finite any more.
        Warns (ConvergenceWarning) when `max_iter` epochs were not enough; for "cosine" they are by definition.
        """
        return self._train(X, y, first=not (self.warm_start and hasattr(self, "network_")))

    @property
    def coefs_(self) -> list[Array]:
        """By layer, the weights `(inputs, outputs)`: views into the network's."""
        return [neurons[:-1] for neurons in self.network_.weights.values()]

    @property
    def intercepts_(self) -> list[Array]:
        """By layer, the biases `(outputs,)`: views into the network's."""
        return [neurons[-1] for neurons in self.network_.weights.values()]

    def _outputs(self, X: ArrayLike) -> Array:
        check_is_fitted(self, "network_")
        return self.network_.predict(validate_data(self, X, reset=False, dtype=DTYPES))

    # -- where the two differ ----------------------------------------------------------------------------------

    def _targets(self, y: Array, first: bool, classes: ArrayLike | None) -> tuple[Array, int, str]:
        """What the network is trained on, the number of its outputs, and its loss."""
        raise NotImplementedError

    def _validation_score(self, x: Array, targets: Array) -> float:
        raise NotImplementedError

    # -- training ----------------------------------------------------------------------------------------------

    def _train(
        self: Kind, X: ArrayLike, y: ArrayLike, *, first: bool, once: bool = False, classes: ArrayLike | None = None
    ) -> Kind:
        """All epochs, or with `once` a single one."""
        self._check()
        if once and (self.early_stopping or self.learning_rate == "cosine"):
            raise ValueError("partial_fit knows no last epoch: early_stopping and learning_rate='cosine' need fit.")
        regression = is_regressor(self)
        x, given = validate_data(self, X, y, reset=first, multi_output=True, y_numeric=regression, dtype=DTYPES)
        given = given.toarray() if hasattr(given, "toarray") else given
        given = column_or_1d(given, warn=True) if given.ndim == 2 and given.shape[1] == 1 else given
        targets, outputs, loss = self._targets(given, first, classes)
        random = check_random_state(self.random_state)
        held: tuple[Array, Array] | None = None
        if self.early_stopping:
            by = None if regression or targets.ndim == 2 else targets
            (x, targets), held = _held_out(x, targets, self.validation_fraction, random, stratify=by)
        batch_size = self._begin(x, outputs, loss, first, random)
        if first or not once:
            self._optimizer = self._new_optimizer()
        self.n_iter_, best = 0, self._copied() if held else {}
        epochs = self.network_.epochs(
            x, targets, epochs=1 if once else self.max_iter, batch_size=batch_size, optimizer=self._optimizer,
            schedule=cosine if self.learning_rate == "cosine" else constant, seed=self._rng, shuffle=bool(self.shuffle),
            distributions=False,
        )  # fmt: skip
        try:
            for epoch in epochs:
                self.n_iter_, self.t_, self.loss_ = epoch.number, self.t_ + len(x), epoch.train_loss * self._reported
                self.loss_curve_.append(self.loss_)
                if self._is_best(held) and held:
                    best = self._copied()
                if self._is_enough():
                    break
            else:
                if not once and self.learning_rate != "cosine":
                    text = f"max_iter={self.max_iter} epochs were not enough: the training has not converged yet."
                    warnings.warn(text, ConvergenceWarning, stacklevel=3)
        except TrainingError:
            raise ValueError(
                f"the loss is not finite any more in epoch {self.n_iter_ + 1}: learning_rate_init="
                f"{self.learning_rate_init:g} may be too high, or X and y hold large values and need scaling."
            ) from None
        if held:
            self.network_.load_arrays(best)
        return self

    def _check(self) -> None:
        if self.solver == "lbfgs":
            raise ValueError(f"the solver 'lbfgs' is not offered, only such as learn from batches: {SOLVERS}.")
        for name, known in {"solver": SOLVERS, "learning_rate": RATES}.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"there is no {name} {value!r}. {suggest(value, known)}")
        for name, (wanted, holds) in NUMBERS.items():
            if not holds(value := getattr(self, name)):
                raise ValueError(f"{name} is {wanted}, got {value!r}.")

    def _begin(self, x: Array, outputs: int, loss: str, first: bool, random: RandomState) -> int:
        """Set up network and records, new or those that are there; returns the examples of a batch."""
        size = min(200, len(x)) if self.batch_size == "auto" else int(self.batch_size)
        if size > len(x):
            warnings.warn(f"batch_size={size} is more than the {len(x)} examples: it takes all.", stacklevel=4)
            size = len(x)
        if self.normalization == "batch" and size < 2:
            raise ValueError(f"batch normalization needs batches of two or more: n_samples = {len(x)}, batches {size}.")
        hidden = np.atleast_1d(self.hidden_layer_sizes).tolist()
        widths = [x.shape[1], *hidden, outputs]
        if first:
            self._rng = np.random.default_rng(random.randint(2**31 - 1))
            self.network_ = FFNN(
                widths, [*self._activations(len(hidden)), ENGINE.get(OUT[loss], OUT[loss])], loss=loss,
                initializer=self.initializer, normalization=self.normalization, dropout=float(self.dropout),
                seed=self._rng, dtype=x.dtype,
            )  # fmt: skip
            self.n_layers_, self.n_outputs_, self.out_activation_ = len(widths), outputs, OUT[loss]
            self.t_, self.loss_curve_ = 0, []
        elif self.network_.widths != widths:
            raise ValueError(f"the network that is there has widths {self.network_.widths}; asked for are {widths}.")
        if first or (self.best_loss_ is None) != bool(self.early_stopping):
            self._best, self._not_better, self.best_loss_, self.best_validation_score_ = -math.inf, 0, None, None
            self.validation_scores_ = [] if self.early_stopping else None
        # scikit-learn sums over outputs and halves squares, the engine's losses are plain means. Penalties are scaled
        # along, and the optimizers take the factor out again: each step is as there
        summed = 1 if loss == "categorical_cross_entropy" else outputs
        self._scale, self._reported = (2 / summed, 0.5) if loss == "mse" else (1 / summed, float(summed))
        self.network_.l1, self.network_.l2 = (self._scale * float(p) / size for p in (self.l1, self.alpha))
        return size

    def _activations(self, count: int) -> list[str]:
        given = [self.activation] * count if isinstance(self.activation, str) else [*self.activation]
        if len(given) != count:
            raise ValueError(f"activation: expected one for each of {count} hidden layers, got {len(given)}.")
        for name in given:
            if name not in (known := [*ENGINE, *ACTIVATIONS]):
                raise ValueError(f"there is no activation {name!r}. {suggest(name, known)}")
        return [ENGINE.get(name, name) for name in given]

    def _new_optimizer(self) -> Optimizer:
        rate = float(self.learning_rate_init)
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum)
            return SGD(rate / self._scale, float(self.momentum), nesterov)
        # the other rules take no notice of a gradient's scale, but for epsilon
        betas, epsilon = (float(self.beta_1), float(self.beta_2)), float(self.epsilon * self._scale)
        if self.solver == "rmsprop":
            return RMSProp(rate, epsilon=epsilon)
        return Adam(rate, betas, epsilon, float(self.weight_decay) if self.solver == "adamw" else 0.0)

    def _is_best(self, held: tuple[Array, Array] | None) -> bool:
        """Note the epoch's loss, or its score on the held-out examples; whether it is the best so far."""
        found = self._validation_score(*held) if held else -self.loss_
        if self.verbose:
            print(f"epoch {self.n_iter_:>3}  loss {self.loss_:.6f}" + (f"  validation {found:.4f}" if held else ""))
        best, self._best = self._best, max(self._best, found)
        self._not_better = self._not_better + 1 if found < best + self.tol else 0
        if held:
            self.validation_scores_ = [*(self.validation_scores_ or []), found]
            self.best_validation_score_ = self._best
        else:
            self.best_loss_ = -self._best
        return found > best

    def _is_enough(self) -> bool:
        """Whether it has not become better for long. The learning rate of SGD falls here, where it is asked to."""
        optimizer, falls = self._optimizer, self.learning_rate if self.solver == "sgd" else "constant"
        if falls == "invscaling":
            optimizer.learning_rate = self.learning_rate_init / (self.t_ + 1) ** self.power_t / self._scale
        if self._not_better <= self.n_iter_no_change:
            return False
        if falls != "adaptive" or optimizer.learning_rate * self._scale <= SMALLEST_RATE:
            return True
        optimizer.learning_rate /= 5
        self._not_better = 0
        return False

    def _copied(self) -> dict[str, Array]:
        return {name: array.copy() for name, array in self.network_.arrays().items()}


class FFNNClassifier(ClassifierMixin, FFNNEstimator):  # type: ignore[misc]
    """A classifier: two classes by one sigmoid, more by softmax, several labels at once by a sigmoid each.

    The parameters are those of `FFNNEstimator`. Several labels at once are asked for by a `y (n, labels)` of 0 and 1.
    """

    classes_: Array
    """in order; for several labels at once, their numbers"""

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> FFNNClassifier:
        """One epoch more. The first call needs all `classes` that will ever come, unless y are several labels at once.

        Raises ValueError as `fit`, and where a class is new.
        """
        first = not hasattr(self, "network_")
        if first and classes is None and type_of_target(y) != "multilabel-indicator":
            raise ValueError("the first partial_fit needs classes: all that will ever come.")
        if not first and classes is not None and not self._multilabel:
            given, known = np.asarray(classes).tolist(), self.classes_.tolist()
            if set(given) != set(known):
                raise ValueError(f"classes are {known} since the first fit, now {given} are given.")
        return self._train(X, y, first=first, once=True, classes=classes)

    def predict(self, X: ArrayLike) -> Array:
        """The likeliest class `(n,)`, or for several labels at once 1 where a label is likely, `(n, labels)`."""
        found = self._outputs(X)
        if self._multilabel:
            return (found > 0.5).astype(int)
        return self.classes_[found.argmax(axis=1) if self.n_outputs_ > 1 else (found[:, 0] > 0.5).astype(int)]

    def predict_proba(self, X: ArrayLike) -> Array:
        """The probability of each class, or of each label, `(n, classes)`, in the order of `classes_`."""
        found = self._outputs(X)
        return found if self.n_outputs_ > 1 else np.hstack([1 - found, found])

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """The logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _targets(self, y: Array, first: bool, classes: ArrayLike | None) -> tuple[Array, int, str]:
        check_classification_targets(y)
        found, multilabel = unique_labels(y), type_of_target(y) == "multilabel-indicator"
        if first:
            self._multilabel = multilabel
            self.classes_ = found if classes is None or multilabel else unique_labels(classes)
        new = set(found.tolist()) - set(self.classes_.tolist())
        if new or multilabel != self._multilabel:
            raise ValueError(f"y has other classes than at first, when they were {self.classes_.tolist()}: {found}.")
        count = len(self.classes_)
        if multilabel:
            return y, count, "binary_cross_entropy"
        if count == 1:
            raise ValueError(f"a classifier learns from two classes or more; y holds one class, {found.tolist()}.")
        if count == 2:
            return y == self.classes_[1], 1, "binary_cross_entropy"
        return np.searchsorted(self.classes_, y), count, "categorical_cross_entropy"

    def _validation_score(self, x: Array, targets: Array) -> float:
        accuracy = self.network_.evaluate(x, targets)[1]
        assert accuracy is not None
        return accuracy


class FFNNRegressor(RegressorMixin, FFNNEstimator):  # type: ignore[misc]
    """A regressor of one number or several, by least squares. The parameters are those of `FFNNEstimator`."""

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> FFNNRegressor:
        """One epoch more. Raises ValueError as `fit`."""
        return self._train(X, y, first=not hasattr(self, "network_"), once=True)

    def predict(self, X: ArrayLike) -> Array:
        """The numbers `(n,)`, or `(n, outputs)` where there are several."""
        found = self._outputs(X)
        return found if self.n_outputs_ > 1 else found[:, 0]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y: Array, first: bool, classes: ArrayLike | None) -> tuple[Array, int, str]:
        return np.asarray(y, float), 1 if y.ndim == 1 else y.shape[1], "mse"

    def _validation_score(self, x: Array, targets: Array) -> float:
        return float(r2_score(targets, self.network_.predict(x)))


def _held_out(
    x: Array, targets: Array, share: float, random: RandomState, stratify: Array | None
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Examples and targets to train on, and to score with."""
    x, held_x, targets, held = train_test_split(x, targets, test_size=share, random_state=random, stratify=stratify)
    if len(held_x) < 2:
        raise ValueError(f"validation_fraction={share} holds out {len(held_x)} example: two or more are needed.")
    return (x, targets), (held_x, held)


def _real(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
