"""`FFNNClassifier` and `FFNNRegressor`: the from-scratch network as scikit-learn estimators.

Parameters and attributes are called as in scikit-learn's `MLPClassifier` and `MLPRegressor`, and mean the same where
both have them: from the same weights and in the same order of examples, both walk the same way. What differs is said
at the base class. Needs scikit-learn 1.6, for `validate_data` and the estimators' tags.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeGuard, TypeVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, DTypeLike
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from sanggar.errors import DataError, TrainingError, suggest
from sanggar.scratch.activations import ACTIVATIONS
from sanggar.scratch.initializers import Initializer
from sanggar.scratch.network import FFNN, Epoch
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
OF_THE_OPTIMIZER = (
    "solver", "learning_rate", "learning_rate_init", "momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon",
    "weight_decay",
)  # fmt: skip
"""Parameters that make another optimizer."""

Kind = TypeVar("Kind", bound="FFNNEstimator")
Examples = tuple[Array, Array, Array | None]
"""Inputs, targets, and weights where they differ."""
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
    - `initializer`, `normalization` and `dropout` are the engine's. Without an initializer, weights and biases begin
      as in scikit-learn: the same `random_state` gives the same numbers.

    What differs: the order of examples that `shuffle` makes. The loss of a wrong answer is not capped at 36 (16 in
    float32). A regressor with several outputs takes the same steps, and reports the penalties divided by the number of
    outputs. Where training goes on (`partial_fit`, `warm_start`), so do the random numbers: several `partial_fit` do
    what one longer `fit` does, also where `random_state` is a number. A parameter changed in between takes effect, or
    is refused where another network would be needed. Weights of examples are not negative, and those of a batch not all
    0; the statistics of batch normalization take no notice of them. With `early_stopping`, a training that runs away
    ends at once, with a warning and the best weights. The one column of `predict_proba` for one class is 1. Not
    offered: "lbfgs" and its `max_fun`, the loss "poisson", and sparse X (`X.toarray()` where it fits into memory).
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
    _optimizer: Optimizer
    _asked: dict[str, object]
    """the optimizer's parameters"""
    _seeded_by: int | RandomState | None
    """the `random_state` that the random numbers of training came from"""

    def __init__(
        self, hidden_layer_sizes: int | Sequence[int] = (100,), activation: str | Sequence[str] = "relu", *,
        solver: str = "adam", alpha: float = 1e-4, l1: float = 0.0, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: int | RandomState | None = None, tol: float = 1e-4, verbose: bool = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, initializer: str | Initializer | None = None,
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

    def fit(self: Kind, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Kind:
        """Train on `X (n, features)` and `y (n,)` or `(n, outputs)`; with `warm_start`, go on from where it is.

        `sample_weight (n,)`: the loss of a batch is its mean weighted by them, and penalties are divided by their sum.
        Raises ValueError for parameters and examples that make no sense, and when the loss is not finite any more.
        Warns (ConvergenceWarning) when `max_iter` epochs were not enough; for "cosine" they are by definition.
        """
        return self._train(X, y, sample_weight, first=not (self.warm_start and hasattr(self, "network_")))

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

    def _targets(self, y: Array, first: bool, once: bool, classes: ArrayLike | None) -> tuple[Array, int, str]:
        """What the network is trained on, the number of its outputs, and its loss."""
        raise NotImplementedError

    def _weights(self, sample_weight: ArrayLike | None, x: Array, y: Array, once: bool) -> Array | None:
        """What each example counts, or None where all count the same."""
        if sample_weight is None:
            return None
        return np.asarray(_check_sample_weight(sample_weight, x, ensure_non_negative=True))

    def _validation_score(self, x: Array, targets: Array, weights: Array | None) -> float:
        raise NotImplementedError

    # -- training ----------------------------------------------------------------------------------------------

    def _train(
        self: Kind, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, *, first: bool, once: bool = False,
        classes: ArrayLike | None = None,
    ) -> Kind:  # fmt: skip
        """All epochs, or with `once` a single one."""
        self._check()
        for name, needs_an_end in {"early_stopping": True, "learning_rate": "cosine"}.items():
            if once and getattr(self, name) == needs_an_end:
                raise ValueError(
                    f"partial_fit does not support {name}={needs_an_end!r}: it knows no last epoch, fit does."
                )
        x, given = validate_data(self, X, y, reset=first, multi_output=True, y_numeric=is_regressor(self), dtype=DTYPES)
        given = given.toarray() if hasattr(given, "toarray") else given
        given = column_or_1d(given, warn=True) if given.ndim == 2 and given.shape[1] == 1 else given
        targets, outputs, loss = self._targets(given, first, once, classes)
        weights = self._weights(sample_weight, x, given, once)
        random = check_random_state(self.random_state)
        shape = self._shape(x.shape[1], outputs, first)
        network = self._new_network(shape, loss, x.dtype, random) if first else self.network_
        held: Examples | None = None
        if self.early_stopping:
            (x, targets, weights), held = self._parted(x, targets, weights, random)
        batch_size = self._size_of_batches(len(x))
        if first:
            self.network_, self._built, self.t_, self.loss_curve_ = network, shape, 0, []
            self.n_layers_, self.n_outputs_, self.out_activation_ = len(network.widths), outputs, OUT[loss]
        if first or self.random_state != self._seeded_by:
            self._rng, self._seeded_by = np.random.default_rng(random.randint(2**31 - 1)), self.random_state
        self._begin(loss, first)
        self._take_optimizer(anew=first or not once)
        epochs = self.network_.epochs(
            x, targets, epochs=1 if once else self.max_iter, batch_size=batch_size, optimizer=self._optimizer,
            schedule=cosine if self.learning_rate == "cosine" else constant, seed=self._rng, shuffle=bool(self.shuffle),
            distributions=False, weights=weights, spread_penalty=True,
        )  # fmt: skip
        try:
            self._walk(epochs, len(x), held, once)
        except DataError as error:
            raise ValueError(f"sample_weight or class_weight: {error}") from None
        return self

    def _walk(self, epochs: Iterator[Epoch], examples: int, held: Examples | None, once: bool) -> None:
        """Go through the epochs until it is enough, and keep the best weights where examples are held out."""
        self.n_iter_, best = 0, self._copied() if held else {}
        try:
            for epoch in epochs:
                self.n_iter_, self.t_, self.loss_ = epoch.number, self.t_ + examples, epoch.train_loss * self._reported
                self.loss_curve_.append(self.loss_)
                if self._is_best(held) and held:
                    best = self._copied()
                if self._is_enough():
                    break
            else:
                if not once and self.learning_rate != "cosine":
                    text = f"max_iter={self.max_iter} epochs were not enough: the training has not converged yet."
                    warnings.warn(text, ConvergenceWarning, stacklevel=4)
        except TrainingError:
            text = (
                f"The loss is not finite any more in epoch {self.n_iter_ + 1}: learning_rate_init="
                f"{self.learning_rate_init:g} may be too high"
            )
            if not held or not self.n_iter_:
                # the first two sentences are scikit-learn's: whoever looks for them finds what helps there
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                    f"be preprocessed. {text}."
                ) from None
            warnings.warn(f"{text}. The best weights before are kept.", ConvergenceWarning, stacklevel=4)
            self.n_iter_, self.loss_ = self.n_iter_ + 1, math.nan
            self.loss_curve_.append(math.nan)
            self.validation_scores_ = [*(self.validation_scores_ or []), math.nan]
        if held:
            self.network_.load_arrays(best)

    def _check(self) -> None:
        if self.solver == "lbfgs":
            raise ValueError(f"the solver 'lbfgs' is not offered, only such as learn from batches: {SOLVERS}.")
        for name, known in {"solver": SOLVERS, "learning_rate": RATES}.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"there is no {name} {value!r}. {suggest(value, known)}")
        for name, (wanted, holds) in NUMBERS.items():
            if not holds(value := getattr(self, name)):
                raise ValueError(f"{name} is {wanted}, got {value!r}.")

    def _size_of_batches(self, examples: int) -> int:
        size = min(200, examples) if self.batch_size == "auto" else int(self.batch_size)
        if size > examples:
            warnings.warn(f"batch_size={size} is more than the {examples} examples: it takes all.", stacklevel=4)
            size = examples
        if self.normalization == "batch" and size < 2:
            raise ValueError(
                f"batch normalization needs batches of two or more: n_samples = {examples}, batches {size}."
            )
        return size

    def _shape(self, inputs: int, outputs: int, first: bool) -> dict[str, Any]:
        """What the network is made of. Raises ValueError where the one that is there is made of something else."""
        hidden = np.atleast_1d(self.hidden_layer_sizes).tolist()
        shape = {
            "widths": [inputs, *hidden, outputs], "activation": self._activations(len(hidden)),
            "initializer": self.initializer, "normalization": self.normalization, "dropout": float(self.dropout),
        }  # fmt: skip
        for name, value in {} if first else shape.items():
            if value != (there := self._built[name]):
                raise ValueError(
                    f"the network that is there has {name} {there}; asked for are {value}: set them back, or begin "
                    "anew by fit with warm_start=False."
                )
        return shape

    def _new_network(self, shape: dict[str, Any], loss: str, dtype: DTypeLike, random: RandomState) -> FFNN:
        start = "zero" if self.initializer is None else self.initializer
        seed = 0 if self.initializer is None else random.randint(2**31 - 1)
        network = FFNN(
            shape["widths"], [*shape["activation"], ENGINE.get(OUT[loss], OUT[loss])], loss=loss, initializer=start,
            normalization=self.normalization, dropout=float(self.dropout), seed=seed, dtype=dtype,
        )  # fmt: skip
        if self.initializer is None:
            variance = 2 if self.activation in ("logistic", "sigmoid") else 6
            for neurons in network.weights.values():
                bound = math.sqrt(variance / (len(neurons) - 1 + neurons.shape[1]))
                neurons[:-1] = random.uniform(-bound, bound, neurons[:-1].shape)
                neurons[-1] = random.uniform(-bound, bound, neurons.shape[1])
        return network

    def _begin(self, loss: str, first: bool) -> None:
        """Set up the records, new or those that are there, and the penalties."""
        if first or (self.best_loss_ is None) != bool(self.early_stopping):
            self._best, self._no_improvement_count = -math.inf, 0
            self.best_loss_, self.best_validation_score_ = None, None
            self.validation_scores_ = [] if self.early_stopping else None
        # scikit-learn sums over outputs and halves squares, the engine's losses are plain means. Penalties are scaled
        # along, and the optimizers take the factor out again: each step is as there
        summed = 1 if loss == "categorical_cross_entropy" else self.n_outputs_
        self._scale, self._reported = (2 / summed, 0.5) if loss == "mse" else (1 / summed, float(summed))
        self.network_.l1, self.network_.l2 = (self._scale * float(p) for p in (self.l1, self.alpha))

    def _activations(self, count: int) -> list[str]:
        given = [self.activation] * count if isinstance(self.activation, str) else [*self.activation]
        if len(given) != count:
            raise ValueError(f"activation: expected one for each of {count} hidden layers, got {len(given)}.")
        for name in given:
            if name not in (known := [*ENGINE, *ACTIVATIONS]):
                raise ValueError(f"there is no activation {name!r}. {suggest(name, known)}")
        return [ENGINE.get(name, name) for name in given]

    def _take_optimizer(self, anew: bool) -> None:
        """Set up the optimizer: a new one, or the one that is there, where its parameters are what they were."""
        asked = {name: getattr(self, name) for name in OF_THE_OPTIMIZER}
        if not anew and asked == self._asked:
            return
        optimizer, before = self._new_optimizer(), None if anew else self._optimizer
        if type(before) is type(optimizer) and before.remembers == optimizer.remembers:
            optimizer.load(before.arrays(), self.network_.parameters)
        self._optimizer, self._asked, self._rate = optimizer, asked, float(self.learning_rate_init)

    def _new_optimizer(self) -> Optimizer:
        rate = float(self.learning_rate_init)
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum)
            return SGD(rate / self._scale, float(self.momentum), nesterov, rate_in_velocity=True)
        # the other rules take no notice of a gradient's scale, but for epsilon
        betas, epsilon = (float(self.beta_1), float(self.beta_2)), float(self.epsilon * self._scale)
        if self.solver == "rmsprop":
            return RMSProp(rate, epsilon=epsilon)
        decay = float(self.weight_decay) if self.solver == "adamw" else 0.0
        return Adam(rate, betas, epsilon, decay, epsilon_hat=True)

    def _is_best(self, held: Examples | None) -> bool:
        """Note the epoch's loss, or its score on the held-out examples; whether it is the best so far."""
        with np.errstate(all="ignore"):  # a score may be infinite or not a number, where the training runs away
            found = self._validation_score(*held) if held else -self.loss_
        if self.verbose:  # in scikit-learn's words
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
            if held:
                print(f"Validation score: {found:f}")
        best, self._best = self._best, max(self._best, found)
        self._no_improvement_count = self._no_improvement_count + 1 if found < best + self.tol else 0
        if held:
            self.validation_scores_ = [*(self.validation_scores_ or []), found]
            self.best_validation_score_ = self._best
        else:
            self.best_loss_ = -self._best
        return found > best

    def _is_enough(self) -> bool:
        """Whether it has not become better for long. The learning rate of SGD falls here, where it is asked to."""
        falls = self.learning_rate if self.solver == "sgd" else "constant"
        if falls == "invscaling":
            self._rate = float(self.learning_rate_init) / (self.t_ + 1) ** self.power_t
        enough = self._no_improvement_count > self.n_iter_no_change
        if enough and falls == "adaptive" and self._rate > SMALLEST_RATE:
            self._rate, self._no_improvement_count, enough = self._rate / 5, 0, False
        if falls != "constant":
            self._optimizer.learning_rate = self._rate / self._scale
        return enough

    def _parted(
        self, x: Array, targets: Array, weights: Array | None, random: RandomState
    ) -> tuple[Examples, Examples]:
        """Examples to train on, and to score with: parted as in scikit-learn, two classes each in the same share."""
        two = targets[:, None] if targets.dtype == bool else None
        held, each = math.ceil(self.validation_fraction * len(x)), np.unique(targets, return_counts=True)[1]
        alone = two is not None and len(each) == 2 and each.min() == 1  # one example cannot be on either side
        if not alone and (held < 2 or len(x) - held < (1 if two is None else len(each))):
            raise ValueError(
                f"The validation set is too small, or leaves too few to learn from: validation_fraction="
                f"{self.validation_fraction} holds out {held} of {len(x)} examples, where two or more are needed. "
                "Change it, give more examples, or set early_stopping=False."
            )
        counts = np.ones(len(x)) if weights is None else weights
        try:
            x, held_x, targets, held_targets, counts, held_counts = train_test_split(
                x, targets, counts, test_size=self.validation_fraction, random_state=random, stratify=two
            )
        except ValueError as error:
            raise ValueError(
                "early_stopping=True holds out examples of both classes, and one class has a single example: give it "
                f"more, or set early_stopping=False. scikit-learn says, with True for the second class: {error}"
            ) from None
        if weights is None:
            return (x, targets, None), (held_x, held_targets, None)
        if not held_counts.sum() > 0:
            raise ValueError("sample_weight: all examples held out for early_stopping have weight 0.")
        return (x, targets, counts), (held_x, held_targets, held_counts)

    def _copied(self) -> dict[str, Array]:
        return {name: array.copy() for name, array in self.network_.arrays().items()}


class FFNNClassifier(ClassifierMixin, FFNNEstimator):  # type: ignore[misc]
    """A classifier: two classes by one sigmoid, more by softmax, several labels at once by a sigmoid each.

    The parameters are those of `FFNNEstimator`, and `class_weight`: a dictionary of weights by class, 1 where one is
    not named, or "balanced" for weights inverse to how many examples a class has; the weights of examples are
    multiplied by them. Several labels at once are asked for by a `y (n, labels)` of 0 and 1.
    """

    classes_: Array
    """in order; for several labels at once, their numbers"""

    def __init__(
        self, hidden_layer_sizes: int | Sequence[int] = (100,), activation: str | Sequence[str] = "relu", *,
        solver: str = "adam", alpha: float = 1e-4, l1: float = 0.0, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: int | RandomState | None = None, tol: float = 1e-4, verbose: bool = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, initializer: str | Initializer | None = None,
        normalization: str | None = None, dropout: float = 0.0, weight_decay: float = 0.01,
        class_weight: Mapping[Any, float] | str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            hidden_layer_sizes, activation, solver=solver, alpha=alpha, l1=l1, batch_size=batch_size,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, power_t=power_t, max_iter=max_iter,
            shuffle=shuffle, random_state=random_state, tol=tol, verbose=verbose, warm_start=warm_start,
            momentum=momentum, nesterovs_momentum=nesterovs_momentum, early_stopping=early_stopping,
            validation_fraction=validation_fraction, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
            n_iter_no_change=n_iter_no_change, initializer=initializer, normalization=normalization, dropout=dropout,
            weight_decay=weight_decay,
        )  # fmt: skip
        self.class_weight = class_weight

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> FFNNClassifier:
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
        return self._train(X, y, sample_weight, first=first, once=True, classes=classes)

    def predict(self, X: ArrayLike) -> Array:
        """The likeliest class `(n,)`, or for several labels at once 1 where a label is likely, `(n, labels)`."""
        found = self._decided(self._outputs(X))
        return found if self._multilabel else self.classes_[found]

    def predict_proba(self, X: ArrayLike) -> Array:
        """The probability of each class, or of each label, `(n, classes)`, in the order of `classes_`."""
        found = self._outputs(X)
        if len(self.classes_) == 1:
            return np.ones_like(found)
        return found if self.n_outputs_ > 1 else np.hstack([1 - found, found])

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """The logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _decided(self, outputs: Array) -> Array:
        """By the outputs: the number of the class `(n,)`, or for several labels 1 where one is likely."""
        if self._multilabel:
            return (outputs > 0.5).astype(int)
        if self.n_outputs_ > 1:
            return np.asarray(outputs.argmax(axis=1))
        return ((outputs[:, 0] > 0.5) & (len(self.classes_) == 2)).astype(int)

    def _targets(self, y: Array, first: bool, once: bool, classes: ArrayLike | None) -> tuple[Array, int, str]:
        check_classification_targets(y)
        found, multilabel = unique_labels(y), type_of_target(y) == "multilabel-indicator"
        if first:
            self._multilabel = multilabel
            self.classes_ = found if classes is None or multilabel else unique_labels(classes)
        new = set(found.tolist()) - set(self.classes_.tolist())
        if new or multilabel != self._multilabel:
            raise ValueError(f"y has other classes than at first, when they were {self.classes_.tolist()}: {found}.")
        if not first and not once and len(found) < len(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {found}"
            )
        count = len(self.classes_)
        if multilabel:
            return y, count, "binary_cross_entropy"
        if count <= 2:  # of one class alone there are no positive examples
            return (y == self.classes_[-1]) & (count == 2), 1, "binary_cross_entropy"
        return np.searchsorted(self.classes_, y), count, "categorical_cross_entropy"

    def _weights(self, sample_weight: ArrayLike | None, x: Array, y: Array, once: bool) -> Array | None:
        weights = super()._weights(sample_weight, x, y, once)
        if self.class_weight is None:
            return weights
        if self._multilabel:
            raise ValueError("class_weight is for examples of one class each; for several labels give sample_weight.")
        if once and self.class_weight == "balanced":
            raise ValueError(
                "partial_fit does not know how many examples of a class will come: class_weight='balanced' needs fit; "
                "or give a dictionary of weights by class."
            )
        of_class = self._by_class(y, weights)[np.searchsorted(self.classes_, y)]
        return np.asarray(of_class if weights is None else of_class * weights)

    def _by_class(self, y: Array, weights: Array | None) -> Array:
        """The weight of each class."""
        given, classes = self.class_weight, self.classes_.tolist()
        if given == "balanced":
            counted = {} if weights is None else {"sample_weight": weights}
            return np.asarray(compute_class_weight(given, classes=self.classes_, y=y, **counted))
        if not isinstance(given, Mapping) or not all(FROM_0[1](weight) for weight in given.values()):
            raise ValueError(f"class_weight is None, 'balanced', or numbers from 0 by class, got {given!r}.")
        unknown = [name for name in given if name not in classes]
        if unknown and len(given) - len(unknown) < len(classes):  # as in scikit-learn, others may be there beside all
            raise ValueError(f"class_weight names {unknown}, which are not among the classes {classes}.")
        return np.array([given.get(name, 1.0) for name in classes])

    def _validation_score(self, x: Array, targets: Array, weights: Array | None) -> float:
        right = self._decided(self.network_.predict(x)) == targets
        return float(np.average(right.all(axis=1) if self._multilabel else right, weights=weights))


class FFNNRegressor(RegressorMixin, FFNNEstimator):  # type: ignore[misc]
    """A regressor of one number or several, by least squares. The parameters are those of `FFNNEstimator`."""

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> FFNNRegressor:
        """One epoch more. Raises ValueError as `fit`."""
        return self._train(X, y, sample_weight, first=not hasattr(self, "network_"), once=True)

    def predict(self, X: ArrayLike) -> Array:
        """The numbers `(n,)`, or `(n, outputs)` where there are several."""
        found = self._outputs(X)
        return found if self.n_outputs_ > 1 else found[:, 0]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y: Array, first: bool, once: bool, classes: ArrayLike | None) -> tuple[Array, int, str]:
        return np.asarray(y, float), 1 if y.ndim == 1 else y.shape[1], "mse"

    def _validation_score(self, x: Array, targets: Array, weights: Array | None) -> float:
        found = self.network_.predict(x)
        return float(r2_score(targets, found, sample_weight=weights)) if np.isfinite(found).all() else math.nan


def _real(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
