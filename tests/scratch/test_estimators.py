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

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("one_thread"),
]

IRIS = scale(load_iris().data), load_iris().target
BINARY = make_classification(200, 8, random_state=1)
LABELS = [
    scale(a) if a.dtype == float else a for a in make_multilabel_classification(200, 6, n_classes=4, random_state=2)
]
LINE = [scale(a) for a in make_regression(200, 5, noise=5.0, random_state=1)]
CLASSIFIERS: Any = (FFNNClassifier, MLPClassifier)
LINES = [scale(a) for a in make_regression(200, 5, n_targets=3, noise=5.0, random_state=1)]


def failing(estimator: Any) -> dict[str, str]:
    """Of scikit-learn's checks, those that an estimator cannot pass, and why."""
    found = {}
    if estimator.dropout:
        found["check_sample_weight_equivalence_on_dense_data"] = "dropout falls on each of several equal examples anew"
    if estimator.normalization == "batch":
        reason = "the statistics of batch normalization take no notice of weights"
        found |= dict.fromkeys(
            ("check_sample_weight_equivalence_on_dense_data", "check_class_weight_classifiers"), reason
        )
    return found


CHECKS: pytest.MarkDecorator = parametrize_with_checks([FFNNClassifier()], expected_failed_checks=failing)
OTHER_CHECKS: pytest.MarkDecorator = parametrize_with_checks(
    [
        FFNNRegressor(),
        FFNNClassifier((16, 8), ("gelu", "tanh"), normalization="batch", solver="rmsprop", l1=1e-3, max_iter=50),
        FFNNRegressor(32, solver="adamw", learning_rate_init=0.01, dropout=0.1, max_iter=50),
    ],
    expected_failed_checks=failing,
)


@CHECKS
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@OTHER_CHECKS
def test_scikit_learns_checks_of_other_settings(estimator: Any, check: Any) -> None:
    check(estimator)


# -- side by side ------------------------------------------------------------------------------------------------


def curves(data: Any, epochs: int = 15, sample_weight: Any = None, **parameters: Any) -> tuple[Any, Any]:
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
    ours.fit(x, y, sample_weight)
    theirs.fit(x, y, sample_weight)
    ours._best, ours._no_improvement_count, theirs._no_improvement_count = -np.inf, 0, 0
    theirs.best_loss_, theirs.best_validation_score_ = np.inf, -np.inf
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        mine[...] = other
    for network in (ours, theirs):
        network.set_params(max_iter=epochs).fit(x, y, sample_weight)
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
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False, "batch_size": 70},
        {"solver": "adam", "epsilon": 0.01},
    ],
    ids=str,
)
def test_it_learns_as_scikit_learns_networks_do(data: Any, parameters: dict[str, Any]) -> None:
    assert_same(*curves(data, **parameters))
    weights = np.random.default_rng(0).exponential(size=len(data[0]))
    assert_same(*curves(data, sample_weight=weights, **parameters))


@pytest.mark.parametrize("activation", ["identity", "logistic", "relu"])
def test_activations_of_scikit_learns_names_are_the_same(activation: str) -> None:
    assert_same(*curves(IRIS, solver="sgd", activation=activation))


def test_several_numbers_are_learned_in_the_same_steps_and_reported_alike_but_for_the_penalty() -> None:
    assert_same(*curves(LINES, solver="sgd", alpha=0.0))
    ours, theirs = curves(LINES, solver="sgd")
    np.testing.assert_allclose(ours.predict(LINES[0]), theirs.predict(LINES[0]), rtol=1e-9)


@pytest.mark.parametrize("parameters", [{"momentum": 0}, {"nesterovs_momentum": False}, {}], ids=str)
def test_an_adaptive_rate_falls_in_the_same_epochs(parameters: dict[str, Any]) -> None:
    ours, theirs = curves(
        IRIS, 400, solver="sgd", learning_rate="adaptive", tol=0.01, n_iter_no_change=2, batch_size=150, **parameters
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


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping_scores_the_same_held_out_examples_and_keeps_the_best_weights(data: Any, weighted: bool) -> None:
    ours, theirs = curves(
        data, 200, np.random.default_rng(0).exponential(size=len(data[0])) if weighted else None,
        solver="sgd", batch_size=40, validation_fraction=0.2, early_stopping=True, n_iter_no_change=5,
    )  # fmt: skip
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
    assert [line.split()[0] for line in lines] == ["Iteration", "Validation"] * 2


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
        ({"early_stopping": True, "validation_fraction": 0.001}, "holds out 1 of 150 examples"),
        ({"early_stopping": True, "validation_fraction": 0.999}, "holds out 150 of 150 examples"),
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


# -- small data, weights, and parameters that change -----------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}], ids=str)
def test_one_class_is_learned_as_scikit_learn_does(parameters: dict[str, Any]) -> None:
    y = np.full(150, "b")
    ours, theirs = (make(4, max_iter=5, **parameters).fit(IRIS[0], y) for make in CLASSIFIERS)
    assert [*ours.classes_] == [*theirs.classes_] == ["b"]
    assert (ours.out_activation_, ours.n_outputs_) == (theirs.out_activation_, theirs.n_outputs_)
    assert (ours.predict(IRIS[0]) == y).all()
    np.testing.assert_array_equal(ours.predict_proba(IRIS[0]), np.ones((150, 1)))
    assert ours.set_params(early_stopping=False).partial_fit(IRIS[0], y).score(IRIS[0], y) == 1


def test_the_same_random_state_begins_with_scikit_learns_weights() -> None:
    for activation in ("relu", "logistic"):
        parameters: dict[str, Any] = {"activation": activation, "learning_rate_init": 1e-12, "random_state": 7}
        ours, theirs = (make((6, 4), max_iter=1, **parameters).fit(*IRIS) for make in CLASSIFIERS)
        for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
            np.testing.assert_allclose(mine, other, atol=1e-10)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of so many classes
@pytest.mark.parametrize(("examples", "classes"), [(30, 25), (30, 15), (20, 4), (12, 2), (20, 1)])
def test_early_stopping_takes_small_data_of_many_classes(examples: int, classes: int) -> None:
    x, y = np.random.default_rng(0).normal(size=(examples, 3)), np.arange(examples) % classes
    ours, theirs = (
        make(4, early_stopping=True, validation_fraction=0.2, max_iter=3, shuffle=False, random_state=3).fit(x, y)
        for make in CLASSIFIERS
    )
    assert len(ours.validation_scores_) == 3
    if classes > 1:
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_)


@pytest.mark.parametrize(
    ("labels", "share", "message"),
    [
        ([0] * 9 + [1], 0.2, "one class has a single example"),
        ([0, 1] * 5, 0.1, "holds out 1 of 10 examples"),
        ([0, 1] * 5, 0.9, "holds out 9 of 10 examples"),
        ([0, 1, 2], 0.9, "holds out 3 of 3 examples"),
        ([0], 0.5, "holds out 1 of 1 examples"),
        ([0, 1], 0.5, "one class has a single example"),
    ],
)
def test_data_too_small_to_hold_out_are_refused_in_words(labels: list[int], share: float, message: str) -> None:
    network = FFNNClassifier(4, early_stopping=True, validation_fraction=share)
    with pytest.raises(ValueError, match=message) as caught:
        network.fit(np.ones((len(labels), 2)), labels)
    assert "test_size" not in str(caught.value)
    assert not hasattr(network, "network_")


def test_class_weight_multiplies_the_weights_of_examples() -> None:
    x, y = IRIS[0][:120], load_iris().target_names[IRIS[1][:120]]
    sizes = {"setosa": 50, "versicolor": 50, "virginica": 20}
    own = np.random.default_rng(0).exponential(size=120)

    def weights(class_weight: Any = None, sample_weight: Any = None) -> Any:
        network = FFNNClassifier(4, max_iter=3, batch_size=50, random_state=0, class_weight=class_weight)
        return network.fit(x, y, sample_weight).coefs_[0]

    balanced = np.array([120 / 3 / sizes[name] for name in y])
    np.testing.assert_allclose(weights("balanced"), weights(None, balanced))
    twice = np.where(y == "virginica", 2.0, 1.0)
    np.testing.assert_allclose(weights({"virginica": 2.0}), weights(None, twice))
    np.testing.assert_allclose(weights({"virginica": 2.0}, own), weights(None, own * twice))
    assert (weights() != weights(None, twice)).any()


def test_partial_fit_takes_weights() -> None:
    x, y = IRIS
    whole = FFNNClassifier(4, max_iter=2, random_state=0, class_weight={0: 3}).fit(x, y, np.arange(150))
    pieces = FFNNClassifier(4, random_state=0, class_weight={0: 3})
    for _ in range(2):
        pieces.partial_fit(x, y, classes=[0, 1, 2], sample_weight=np.arange(150))
    np.testing.assert_array_equal(pieces.coefs_[0], whole.coefs_[0])


@pytest.mark.parametrize(
    ("parameters", "sample_weight", "message"),
    [
        ({}, np.ones(3), r"sample_weight.shape"),
        ({}, -np.ones(150), "Negative"),
        ({}, np.full(150, np.nan), "NaN"),
        ({"batch_size": 50, "shuffle": False}, np.arange(150) // 50, "sum above 0 in each batch"),
        ({"class_weight": "balance"}, None, "'balanced', or numbers from 0 by class, got 'balance'"),
        ({"class_weight": {0: "much"}}, None, "numbers from 0"),
        ({"class_weight": {0: 2.0, 8: 2.0}}, None, r"names \[8\], which are not among the classes \[0, 1, 2\]"),
        ({"class_weight": {0: -1.0}}, None, "numbers from 0"),
    ],
    ids=str,
)
def test_weights_that_make_no_sense_are_refused(parameters: Any, sample_weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FFNNClassifier(4, **parameters).fit(*IRIS, sample_weight)


def test_class_weight_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(ValueError, match="give sample_weight"):
        FFNNClassifier(4, class_weight="balanced").fit(*LABELS)
    with pytest.raises(ValueError, match="class_weight='balanced' needs fit"):
        FFNNClassifier(4, class_weight="balanced").partial_fit(*IRIS, classes=[0, 1, 2])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_layer_sizes": 9}, r"widths \[4, 8, 3\]; asked for are \[4, 9, 3\]"),
        ({"hidden_layer_sizes": (8, 8)}, "widths"),
        ({"activation": "tanh"}, r"activation \['relu'\]; asked for are \['tanh'\]"),
        ({"initializer": "he_normal"}, "initializer None"),
        ({"normalization": "rms"}, "normalization None"),
        ({"dropout": 0.5}, "dropout 0.0"),
    ],
    ids=str,
)
def test_a_changed_network_is_refused_where_training_goes_on(changed: dict[str, Any], message: str) -> None:
    for network in (FFNNClassifier(8, max_iter=2, warm_start=True, random_state=0), FFNNClassifier(8, max_iter=2)):
        network.fit(*IRIS).set_params(**changed)
        with pytest.raises(ValueError, match=message):
            (network.fit if network.warm_start else network.partial_fit)(*IRIS)
        network.set_params(warm_start=False).fit(*IRIS)  # anew, it is taken


@pytest.mark.parametrize("going_on", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("changed", "start"),
    [
        ({"solver": "sgd"}, {}),
        ({"solver": "rmsprop"}, {}),
        ({"solver": "adamw", "weight_decay": 1.0}, {}),
        ({"weight_decay": 1.0}, {"solver": "adamw"}),
        ({"learning_rate_init": 0.1}, {}),
        ({"learning_rate_init": 0.1}, {"solver": "sgd"}),
        ({"momentum": 0.1}, {"solver": "sgd"}),
        ({"momentum": 0}, {"solver": "sgd"}),
        ({"nesterovs_momentum": False}, {"solver": "sgd"}),
        ({"beta_1": 0.1}, {}),
        ({"beta_2": 0.1}, {}),
        ({"epsilon": 1.0}, {}),
        ({"alpha": 10.0}, {}),
        ({"l1": 1.0}, {}),
        ({"batch_size": 10}, {}),
        ({"shuffle": False}, {"batch_size": 10}),
        ({"random_state": 1}, {"batch_size": 10}),
        ({"class_weight": {0: 5.0}}, {}),
    ],
    ids=str,
)
def test_any_other_changed_parameter_takes_effect(
    going_on: str, changed: dict[str, Any], start: dict[str, Any]
) -> None:
    found = []
    for now in ({}, changed):
        network = FFNNClassifier(4, max_iter=2, warm_start=going_on == "fit", random_state=0, **start).fit(*IRIS)
        found.append(getattr(network.set_params(**now), going_on)(*IRIS).coefs_[0].copy())
    assert (found[0] != found[1]).any()


def test_another_rate_keeps_what_the_optimizer_remembers() -> None:
    network = FFNNRegressor(4, solver="sgd", random_state=0).partial_fit(*LINE)
    before = {name: array.copy() for name, array in network._optimizer.arrays().items()}
    network.set_params(learning_rate_init=1e-9, momentum=0.999).partial_fit(*LINE)
    after = network._optimizer.arrays()
    assert after["steps"] == 2 * before["steps"]
    np.testing.assert_allclose(after["0.velocity"], 0.999 * before["0.velocity"], rtol=1e-3, atol=1e-8)


def test_a_warm_start_needs_all_the_classes() -> None:
    network = FFNNClassifier(4, warm_start=True, max_iter=2).fit(*IRIS)
    with pytest.raises(ValueError, match="same classes as in the previous call"):
        network.fit(IRIS[0][:100], IRIS[1][:100])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_that_runs_away_keeps_the_best_weights_under_early_stopping() -> None:
    network: Any = FFNNRegressor(
        50, "identity", solver="sgd", learning_rate_init=1, max_iter=20, early_stopping=True, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match=r"not finite any more in epoch \d+.*best weights before are kept"):
        network.fit(*LINE)
    assert np.isnan([network.loss_, network.validation_scores_[-1]]).all()
    assert len(network.validation_scores_) == len(network.loss_curve_) == network.n_iter_ < 20
    assert np.isfinite(network.predict(LINE[0])).all()


# -- random configurations -------------------------------------------------------------------------------------------


def drawn(seed: int) -> tuple[Any, int, Any, dict[str, Any]]:
    """Data, epochs, weights and parameters of a random configuration that both networks have."""
    rng = np.random.default_rng(seed)
    n, width, kind = int(rng.integers(12, 120)), int(rng.integers(1, 8)), rng.integers(4)
    x = rng.normal(size=(n, width))
    y = rng.random((n, 3)) < 0.5 if kind == 0 else (rng.permutation(n) + 1) % (2, 2, 3, 6)[kind]
    hidden = rng.integers(1, 12, size=rng.integers(1, 4)).tolist()
    solver = ["sgd", "sgd", "adam"][rng.integers(3)]
    parameters = {
        "solver": solver, "hidden_layer_sizes": hidden, "alpha": 10 ** rng.uniform(-6, 0.5),
        "activation": ["identity", "logistic", "tanh", "relu"][rng.integers(4)],
        "batch_size": "auto" if rng.random() < 0.2 else int(rng.integers(1, n + 1)),
        "learning_rate": ["constant", "invscaling", "adaptive"][rng.integers(3)],
        "learning_rate_init": 10 ** (rng.uniform(-4, -1) if solver == "sgd" else rng.uniform(-5, -2)),
        "power_t": rng.uniform(0, 1), "momentum": rng.choice([0, rng.uniform(0, 0.99)]),
        "nesterovs_momentum": bool(rng.random() < 0.5), "tol": 10 ** rng.uniform(-5, -1),
        "n_iter_no_change": int(rng.integers(1, 10)), "beta_1": rng.uniform(0, 0.99), "beta_2": rng.uniform(0, 0.999),
        "epsilon": 10 ** rng.uniform(-8, -2), "early_stopping": bool(rng.random() < 0.3),
        "validation_fraction": rng.uniform(0.3, 0.5), "random_state": seed, "shuffle": False,
    }  # fmt: skip
    weights = rng.exponential(size=n) + 0.01 if rng.random() < 0.3 else None
    return (x, y.astype(int)), int(rng.integers(2, 60)), weights, parameters


def follow(seed: int) -> None:
    """Both networks, from the same weights, which `random_state` gives, have the same losses and end the same."""
    (x, y), epochs, sample_weight, parameters = drawn(seed)
    ours, theirs = (make(max_iter=epochs, **parameters).fit(x, y, sample_weight) for make in CLASSIFIERS)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4, atol=1e-4)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)
    if parameters["early_stopping"]:
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of a batch larger than the examples, from both
@pytest.mark.parametrize("seed", range(40))
def test_a_random_configuration_follows_scikit_learns(seed: int) -> None:
    follow(seed)
