"""How well clean pictures are reconstructed: the perceptual distance."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import Trained, context_of
from sanggar.evaluation.context import EvaluationContext
from sanggar.evaluation.metrics.reconstruction import measure
from sanggar.instruments.judge import open_judge
from sanggar.options import Options
from sanggar.results import NETWORK, PCA
from sanggar.trained import TrainedModel


@pytest.fixture(scope="module")
def context(trained: Trained) -> EvaluationContext:
    return context_of(trained("vae"))


def test_the_perceptual_distance_is_zero_for_the_same_pictures_and_grows_with_noise(context: EvaluationContext) -> None:
    judge, clean = open_judge("digits"), context.test.pixels[:30]
    draw = np.random.default_rng(0).normal(size=clean.shape)
    worse: Callable[[float], np.ndarray] = lambda level: np.clip(clean + level * draw, 0, 255).astype(np.uint8)  # noqa: E731
    means = [judge.dissimilarity(worse(level), clean).mean() for level in (0, 10, 40, 120)]
    assert means[0] == 0
    assert means == sorted(means)
    found = measure(context, Options()).measurements
    network, by_pca = (m for m in found if m.key == "reconstruction.perceptual")
    assert (network.subject, by_pca.subject) == (NETWORK, PCA)
    came_back = context.model.reconstruct(context.test.pixels)
    assert network.value == pytest.approx(judge.dissimilarity(came_back, context.test.pixels).mean())
    assert (network.protocol.settings["network"], network.protocol.n) == (judge.name, len(context.test))


class Pleasing(TrainedModel):
    """A model that was trained to please a judge."""

    def __init__(self) -> None:
        self._model = SimpleNamespace(perceptual_judge="digits")


def test_a_network_that_was_trained_to_please_the_judge_is_not_compared_with_others(context: EvaluationContext) -> None:
    judge = context.judge
    assert judge is not None
    assert context.trained_on(judge) == {}
    pleasing = EvaluationContext(Pleasing(), context.dataset, context.options)
    assert pleasing.trained_on(judge) == {"trained_on": "features of the same network"}
    assert pleasing.trained_on(open_judge("mnist", "cpu")) == {}
