"""The estimators in scikit-learn's own harness, and side by side with its networks from the same weights."""

from __future__ import annotations

import io
import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from sanggar.scratch.estimators import FFNNClassifier, FFNNRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS = scale(load_iris().data), load_iris().target
BINARY = make_classification(200, 8, random_state=1)
LABELS = [
    scale(a) if a.dtype == float else a for a in make_multilabel_classification(200, 6, n_classes=4, random_state=1)
]
LINE = [scale(a) for a in make_regression(200, 5, noise=5.0, random_state=1)]
LINES = [scale(a) for a in make_regression(200, 5, n_targets=3, noise=5.0, random_state=1)]


CHECKS: pytest.MarkDecorator = parametrize_with_checks(
    [
        FFNNClassifier(),
        FFNNRegressor(),
        FFNNClassifier((16, 8), ("gelu", "tanh"), normalization="batch", solver="rmsprop", l1=1e-3, max_iter=50),
        FFNNRegressor(32, solver="adamw", learning_rate_init=0.01, dropout=0.1, max_iter=50),
    ]
)


@CHECKS
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


# -- side by side ------------------------------------------------------------------------------------------------


def curves(data: Any, epochs: int = 15, **parameters: Any) -> tuple[Any, Any]:
    """Ours and scikit-learn's, both trained by the same parameters from the same weights."""
    x, y = data
    regression = np.issubdtype(np.asarray(y).dtype, np.floating)
    common: dict[str, Any] = {
        "hidden_layer_sizes": (7, 5), "activation": "tanh", "alpha": 0.5, "batch_size": 50, "shuffle": False,
        "warm_start": True, "max_iter": 1, "n_iter_no_change": 1000, "learning_rate_init": 0.05, "random_state": 3,
    }  # fmt: skip
    common |= parameters
    ours = (FFNNRegressor if regression else FFNNClassifier)(**common)
    theirs = (MLPRegressor if regression else MLPClassifier)(**common)
    ours.fit(x, y)
    theirs.fit(x, y)
    ours._best, ours._not_better, theirs._no_improvement_count = -np.inf, 0, 0
    theirs.best_loss_, theirs.best_validation_score_ = np.inf, -np.inf
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        mine[...] = other
    for network in (ours, theirs):
        network.set_params(max_iter=epochs).fit(x, y)
    return ours, theirs


def assert_same(ours: Any, theirs: Any, atol: float = 1e-9) -> None:
    np.testing.assert_allclose(ours.loss_curve_[1:], theirs.loss_curve_[1:], rtol=0, atol=atol)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=atol)
    assert (ours.t_, ours.n_iter_) == (theirs.t_, theirs.n_iter_)


DATA = {"classes": IRIS, "two classes": BINARY, "labels": LABELS, "a number": LINE}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "sgd", "momentum": 0},
        {"solver": "sgd", "momentum": 0.8, "nesterovs_momentum": False},
        {"solver": "sgd"},
        {"solver": "sgd", "momentum": 0, "learning_rate": "invscaling", "power_t": 0.3},
        {"solver": "adam", "epsilon": 1e-14},
    ],
    ids=str,
)
def test_it_learns_as_scikit_learns_networks_do(data: Any, parameters: dict[str, Any]) -> None:
    assert_same(*curves(data, **parameters), atol=1e-9 if parameters["solver"] == "sgd" else 1e-6)


def test_adams_two_epsilons_differ_little() -> None:
    ours, theirs = curves(IRIS, solver="adam", learning_rate_init=0.001)
    np.testing.assert_allclose(ours.loss_curve_[1:], theirs.loss_curve_[1:], rtol=1e-5)


@pytest.mark.parametrize("activation", ["identity", "logistic", "relu"])
def test_activations_of_scikit_learns_names_are_the_same(activation: str) -> None:
    assert_same(*curves(IRIS, solver="sgd", activation=activation))


def test_several_numbers_are_learned_in_the_same_steps_and_reported_alike_but_for_the_penalty() -> None:
    assert_same(*curves(LINES, solver="sgd", alpha=0.0))
    ours, theirs = curves(LINES, solver="sgd")
    np.testing.assert_allclose(ours.predict(LINES[0]), theirs.predict(LINES[0]), rtol=1e-9)


def test_an_adaptive_rate_falls_in_the_same_epochs() -> None:
    ours, theirs = curves(
        IRIS, 400, solver="sgd", momentum=0, learning_rate="adaptive", tol=0.01, n_iter_no_change=2, batch_size=150
    )
    assert ours.n_iter_ < 400
    assert_same(ours, theirs)
    assert ours._optimizer.learning_rate == theirs._optimizer.learning_rate <= 1e-6


def test_it_stops_where_scikit_learn_stops() -> None:
    ours, theirs = curves(LINE, 500, solver="sgd", tol=1e-3, n_iter_no_change=4)
    assert ours.n_iter_ < 500
    assert_same(ours, theirs)
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_)


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_what_is_predicted_has_scikit_learns_shapes_and_types(data: Any) -> None:
    ours, theirs = curves(data, 3, solver="sgd")
    x, y = data
    methods = ("predict", "predict_proba", "predict_log_proba") if hasattr(theirs, "classes_") else ("predict",)
    for method in methods:
        mine, other = getattr(ours, method)(x), getattr(theirs, method)(x)
        np.testing.assert_allclose(mine, other, rtol=1e-6)
        assert mine.dtype == other.dtype
    assert ours.score(x, y) == pytest.approx(theirs.score(x, y))
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert [a.shape for a in ours.coefs_ + ours.intercepts_] == [a.shape for a in theirs.coefs_ + theirs.intercepts_]


@pytest.mark.parametrize("data", [BINARY, LINE], ids=["two classes", "a number"])
def test_early_stopping_scores_the_same_held_out_examples_and_keeps_the_best_weights(data: Any) -> None:
    ours, theirs = curves(
        data, 200, solver="sgd", batch_size=40, validation_fraction=0.2, early_stopping=True, n_iter_no_change=5
    )
    assert ours.n_iter_ < 200
    assert ours.validation_scores_[1:] == pytest.approx(theirs.validation_scores_[1:])
    assert ours.best_validation_score_ == max(ours.validation_scores_)
    assert ours.best_loss_ is None
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0])


# -- in use ------------------------------------------------------------------------------------------------------


def test_it_learns_iris_in_a_pipeline() -> None:
    pipeline = make_pipeline(StandardScaler(), FFNNClassifier(16, learning_rate_init=0.02, random_state=0))
    names = load_iris().target_names[IRIS[1]]
    assert pipeline.fit(load_iris().data, names).score(load_iris().data, names) > 0.95
    assert [*pipeline.classes_] == ["setosa", "versicolor", "virginica"]


def test_a_grid_search_finds_how_many_neurons_are_needed() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    y = x[:, 0] * x[:, 1] > 0
    network = FFNNClassifier(learning_rate_init=0.03, max_iter=60, random_state=0)
    search = GridSearchCV(network, {"hidden_layer_sizes": [(), (16,)], "alpha": np.logspace(-4, -3, 2)}, cv=3)
    assert search.fit(x, y).best_params_["hidden_layer_sizes"] == (16,)
    assert search.best_score_ > 0.9


def test_columns_of_a_data_frame_are_known_by_name() -> None:
    frame = load_iris(as_frame=True).data
    network = FFNNClassifier(random_state=0).fit(frame, pd.Series(IRIS[1]))
    assert [*network.feature_names_in_] == [*frame.columns]
    np.testing.assert_array_equal(
        network.predict(frame),
        FFNNClassifier(random_state=0).fit(*load_iris(return_X_y=True)).predict(frame.to_numpy()),
    )
    with pytest.raises(ValueError, match="feature names"):
        network.predict(frame[frame.columns[::-1]])


def test_a_copy_has_the_parameters_and_nothing_learned() -> None:
    network = FFNNRegressor((4, 4), ["relu", "tanh"], dropout=0.2, random_state=1).fit(*LINE)
    copy = clone(network)
    assert copy.get_params() == network.get_params()
    assert not hasattr(copy, "coefs_")
    with pytest.raises(NotFittedError):
        copy.predict(LINE[0])


@pytest.mark.parametrize("parameters", [{}, {"normalization": "batch", "dropout": 0.1}], ids=str)
def test_a_fitted_one_comes_back_from_joblib_and_goes_on_as_if_nothing_had_happened(parameters: dict[str, Any]) -> None:
    network = FFNNClassifier(8, random_state=1, max_iter=3, **parameters).fit(*IRIS)
    file = io.BytesIO()
    joblib.dump(network, file)
    file.seek(0)
    back = joblib.load(file)
    np.testing.assert_array_equal(back.predict_proba(IRIS[0]), network.predict_proba(IRIS[0]))
    assert back.partial_fit(*IRIS).loss_ == network.partial_fit(*IRIS).loss_


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "rmsprop"])
def test_partial_fit_is_an_epoch_more(solver: str) -> None:
    parameters: dict[str, Any] = {"solver": solver, "random_state": 5, "dropout": 0.1, "batch_size": 20}
    whole = FFNNClassifier(8, max_iter=4, **parameters).fit(*IRIS)
    pieces = FFNNClassifier(8, **parameters)
    for _ in range(4):
        pieces.partial_fit(*IRIS, classes=[0, 1, 2])
    assert pieces.loss_curve_ == whole.loss_curve_
    assert (pieces.t_, pieces.n_iter_) == (whole.t_, 1)
    np.testing.assert_array_equal(pieces.coefs_[0], whole.coefs_[0])


def test_partial_fit_takes_batches_that_lack_a_class_but_no_new_class() -> None:
    x, y = IRIS
    network = FFNNClassifier(8)
    with pytest.raises(ValueError, match="needs classes"):
        network.partial_fit(x, y)
    network.partial_fit(x[y < 2], y[y < 2], classes=[2, 1, 0]).partial_fit(x[y == 2], y[y == 2])
    assert [*network.classes_] == [0, 1, 2]
    with pytest.raises(ValueError, match="other classes"):
        network.partial_fit(x, y + 1)
    with pytest.raises(ValueError, match="classes are"):
        network.partial_fit(x, y, classes=[0, 1])
    several, rows = LABELS
    assert FFNNClassifier(8).partial_fit(several, rows).partial_fit(several, rows, classes=range(4)).n_outputs_ == 4
    with pytest.raises(ValueError, match="other classes"):
        network.partial_fit(x, np.eye(3, dtype=int)[y])


def test_a_warm_start_goes_on_and_a_cold_one_begins_anew() -> None:
    network = FFNNRegressor(8, max_iter=5, random_state=2, solver="sgd").fit(*LINE)
    first = [*network.loss_curve_]
    assert network.fit(*LINE).loss_curve_ == first
    network.set_params(warm_start=True).fit(*LINE)
    assert network.loss_curve_[:5] == first
    assert len(network.loss_curve_) == 10
    assert network.loss_ < first[-1]
    assert (network.n_iter_, network.t_) == (5, 2000)
    with pytest.raises(ValueError, match=r"widths \[5, 8, 1\]"):
        network.set_params(hidden_layer_sizes=9).fit(*LINE)


def test_a_random_state_decides_everything() -> None:
    def weights(random_state: Any) -> Any:
        return FFNNClassifier(8, max_iter=2, dropout=0.1, random_state=random_state).fit(*IRIS).coefs_[0]

    np.testing.assert_array_equal(weights(4), weights(4))
    np.testing.assert_array_equal(weights(np.random.RandomState(4)), weights(4))
    state = np.random.RandomState(4)
    assert (weights(state) != weights(state)).any()
    assert (weights(None) != weights(None)).any()


def test_numbers_are_of_the_type_of_X() -> None:
    for dtype in (np.float32, np.float64):
        network = FFNNRegressor(8, max_iter=2).fit(LINE[0].astype(dtype), LINE[1])
        assert network.network_.dtype == network.coefs_[0].dtype == network.predict(LINE[0]).dtype == dtype


def test_alpha_l1_and_weight_decay_make_weights_small() -> None:
    def weights(**parameters: Any) -> Any:
        network = FFNNClassifier(16, learning_rate_init=0.01, random_state=0, **{"alpha": 0, **parameters}).fit(*BINARY)
        return np.concatenate([a.ravel() for a in network.coefs_])

    free = weights()
    assert np.linalg.norm(weights(alpha=10)) < 0.5 * np.linalg.norm(free)
    assert np.linalg.norm(weights(solver="adamw", weight_decay=1)) < 0.7 * np.linalg.norm(free)
    assert (np.abs(weights(l1=2)) < 0.01).mean() > 0.5 > 0.1 > (np.abs(free) < 0.01).mean()


def test_a_cosine_comes_to_rest_after_max_iter_epochs() -> None:
    parameters: dict[str, Any] = {"solver": "sgd", "max_iter": 20, "tol": 0.0, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = FFNNClassifier(8, learning_rate="cosine", **parameters).fit(*IRIS)
    assert network.n_iter_ == 20
    assert network._optimizer.rate < 0.01 * network.learning_rate_init
    with pytest.warns(ConvergenceWarning, match="max_iter=20"):
        FFNNClassifier(8, **parameters).fit(*IRIS)


def test_verbose_prints_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    FFNNClassifier(4, max_iter=2, verbose=True, early_stopping=True).fit(*IRIS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("loss")[0] for line in lines] == ["epoch   1  ", "epoch   2  "]
    assert all("validation" in line for line in lines)


# -- what makes no sense -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "lbfgs"}, "'lbfgs' is not offered"),
        ({"solver": "adm"}, "Did you mean 'adam'"),
        ({"learning_rate": "cosin"}, "Did you mean 'cosine'"),
        ({"activation": "logisitc"}, "Did you mean 'logistic'"),
        ({"activation": ("relu", "tanh")}, "one for each of 1 hidden layers, got 2"),
        ({"initializer": "xavier"}, "Did you mean 'xavier_"),
        ({"normalization": "bach"}, "Did you mean 'batch'"),
        ({"hidden_layer_sizes": (8, 0)}, "above 0, got 0"),
        ({"hidden_layer_sizes": 2.5}, "above 0, got 2.5"),
        ({"alpha": -1}, "alpha is a number from 0, got -1"),
        ({"l1": "much"}, "l1 is a number"),
        ({"tol": np.nan}, "tol is a number"),
        ({"learning_rate_init": 0}, "learning_rate_init is a number above 0"),
        ({"momentum": 1}, "momentum is a number from 0, below 1"),
        ({"dropout": 1.0}, "dropout is"),
        ({"max_iter": 0}, "max_iter is a whole number"),
        ({"batch_size": "all"}, "or 'auto', got 'all'"),
        ({"n_iter_no_change": 1.5}, "n_iter_no_change is"),
        ({"early_stopping": True, "validation_fraction": 0}, "validation_fraction is"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "should be greater or equal"),
        ({"normalization": "batch", "batch_size": 1}, "two or more"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FFNNClassifier(**parameters).fit(*IRIS)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_that_runs_away_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match=r"in epoch \d+: learning_rate_init=10000 may be too high"):
        FFNNRegressor(solver="sgd", learning_rate_init=1e4).fit(*LINE)


@pytest.mark.parametrize("parameters", [{"early_stopping": True}, {"learning_rate": "cosine"}], ids=str)
def test_partial_fit_refuses_what_needs_a_last_epoch(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="knows no last epoch"):
        FFNNRegressor(**parameters).partial_fit(*LINE)


def test_a_validation_set_of_one_example_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        FFNNRegressor(early_stopping=True).fit(LINE[0][:9], LINE[1][:9])


def test_a_batch_larger_than_the_examples_takes_all_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="batch_size=1000 is more than the 150 examples"):
        FFNNClassifier(4, batch_size=1000, max_iter=1).fit(*IRIS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_examples_that_are_not_finite_are_refused(value: float) -> None:
    x, y = LINE[0].copy(), LINE[1].copy()
    network = FFNNRegressor(4, max_iter=1).fit(x, y)
    x[3, 2] = value
    for method, given in ((network.fit, (x, y)), (network.predict, (x,))):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            method(*given)
    y[3] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        network.fit(LINE[0], y)


def test_one_class_is_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match=r"one class, \[2\]"):
        FFNNClassifier().fit(IRIS[0], np.full(150, 2))
