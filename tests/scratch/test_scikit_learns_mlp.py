"""scikit-learn's own tests of its networks, of the version that is installed, run with sanggar's in their place.

Its test module is loaded while `sklearn.neural_network` holds our estimators under its names, and every test in it is
collected here. What we do not offer is in `EXCLUDED`: such a test has to fail, or its entry goes.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType
from unittest import mock

import pytest
from sklearn import neural_network

from sanggar.scratch.estimators import FFNNClassifier, FFNNRegressor

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

LBFGS = "asks for the solver lbfgs, which does not learn from batches"
EXCLUDED = {
    "test_fit": "sets weights and private attributes (_coef_grads, _coef_velocity) before anything is trained",
    "test_gradient": f"{LBFGS}, and calls the private _loss_grad_lbfgs",
    "test_lbfgs_classification": LBFGS,
    "test_lbfgs_classification_maxfun": LBFGS,
    "test_lbfgs_regression": LBFGS,
    "test_lbfgs_regression_maxfun": LBFGS,
    "test_mlp_vs_poisson_glm_equivalent": f"{LBFGS}, and for the loss poisson",
    "test_mlp_warm_start_no_convergence[lbfgs-FFNNClassifier]": LBFGS,
    "test_mlp_warm_start_no_convergence[lbfgs-FFNNRegressor]": LBFGS,
    "test_multilabel_classification": LBFGS,
    "test_multioutput_regression": LBFGS,
    "test_partial_fit_errors": f"{LBFGS}, to see that it lacks partial_fit",
    "test_predict_proba_multilabel": LBFGS,
    "test_sparse_matrices": f"{LBFGS}, and for sparse X",
    "test_warm_start": LBFGS,
}
"""Tests by name, with parameters where only these are meant, and why they cannot pass."""


def with_ours() -> ModuleType:
    """scikit-learn's test module, in whose namespace, parameters included, our estimators are its networks."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    if spec is None or spec.loader is None:
        pytest.skip("this scikit-learn comes without its tests", allow_module_level=True)
    module = importlib.util.module_from_spec(spec)
    with mock.patch.multiple(neural_network, MLPClassifier=FFNNClassifier, MLPRegressor=FFNNRegressor):
        spec.loader.exec_module(module)
    return module


THEIRS = {name: test for name, test in vars(with_ours()).items() if name.startswith("test_")}
globals().update(THEIRS)


@pytest.fixture
def global_random_seed() -> int:
    """What scikit-learn's own configuration gives to some of its tests."""
    return 0


@pytest.fixture(autouse=True)
def excluded(request: pytest.FixtureRequest) -> None:
    """An excluded test has to fail."""
    reason = EXCLUDED.get(request.node.name) or EXCLUDED.get(request.node.originalname)
    if reason:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


def test_what_is_excluded_is_there() -> None:
    assert {name.split("[")[0] for name in EXCLUDED} <= THEIRS.keys()
