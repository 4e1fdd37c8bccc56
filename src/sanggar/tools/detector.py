"""A network that looks for what is odd: what it has learned of normal pictures, and its scores of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from sanggar.data.images import Images
from sanggar.evaluation.context import Pixels, Subject
from sanggar.evaluation.metrics.bounds import divergence
from sanggar.models.vae.likelihood_regret import WEIGHED
from sanggar.seeding import address
from sanggar.tools.anomaly import (
    Known,
    Scores,
    gaussian,
    heat,
    hottest,
    residual_deviations,
    scores,
    share_below,
    together,
)
from sanggar.trained import TrainedModel

KEPT = "anomaly.known."
"""Before the names of what a run keeps of a detector."""
LARGEST = 100_000_000
"""Numbers that the training pictures given to PCA and nearest neighbours are made of, at most."""


@dataclass(frozen=True)
class Detector:
    """A network, what normal pictures are to it, and how it is asked."""

    painter: TrainedModel
    known: Known
    seed: int
    regret_steps: int

    @classmethod
    def fitted(cls, painter: TrainedModel, train: Images, validation: Images) -> Detector:
        """What is normal, learned from training pictures; and how normal ones score, from validation pictures.

        Raises RunError when the network does not reconstruct.
        """
        options = painter.plan.evaluation
        came_back = painter.reconstruct(train.pixels)
        centre, precision = gaussian(painter.encode(train.pixels)) if painter.can("encode") else (None, None)
        known = Known(residual_deviations(train.pixels, came_back), centre, precision, {}, 1.0)
        detector = cls(painter, known, options.seed, options.regret_steps)
        came_back = painter.reconstruct(validation.pixels)
        found = detector._single(validation.pixels, came_back)
        found |= {"together": together(found, found)} if "latent" in found else {}
        normal = {name: np.sort(values) for name, values in found.items()}
        limit = hottest(heat(validation.pixels, came_back))
        return replace(detector, known=replace(known, normal=normal, limit=limit))

    @classmethod
    def of_run(cls, painter: TrainedModel, say: Callable[[str], None] = lambda text: None) -> Detector:
        """As the run's evaluation left it; learned anew from the run's data where it left none, which `say` is told.

        Raises RunError when the network does not reconstruct, or the data are not the run's; DataError when they are
        missing.
        """
        run, options = painter.run, painter.plan.evaluation
        if run.evaluation_file.is_file() and run.evaluation()["step"] == painter.step:
            kept = {key.removeprefix(KEPT): array for key, array in run.pictures().items() if key.startswith(KEPT)}
            if kept:
                return cls(painter, Known.of(kept), options.seed, options.regret_steps)
        say("This run's evaluation left nothing of odd pictures: normal ones are looked at first.")
        train, validation = fitting(Subject(painter, painter.plan.data_of(run), options))
        return cls.fitted(painter, train, validation)

    def scores(self, pixels: Pixels, came_back: Pixels) -> Scores:
        """Every score that the network can give, higher for odder pictures; `came_back` is what it makes of them."""
        found = self._single(pixels, came_back)
        return ({"together": together(found, self.known.normal)} if "latent" in found else {}) | found

    def shares(self, found: Scores) -> Scores:
        """Of each score, the share of normal validation pictures that score lower."""
        return {name: share_below(values, self.known.normal[name]) for name, values in found.items()}

    def _single(self, pixels: Pixels, came_back: Pixels) -> Scores:
        """Every score that needs no other."""
        painter = self.painter
        latents = painter.encode(pixels) if painter.can("encode") else None
        found = scores(self.known, pixels, came_back, latents)
        if painter.can("posterior"):
            found["kl"] = divergence(painter.posterior(pixels).astype(np.float64)).sum(axis=1)
            # the same draws for every picture: its score is its own, whatever stands beside it
            weighed = [painter.weigh(pixels, self._noise(len(pixels), 1, draw)[:, 0])[:, 0] for draw in range(WEIGHED)]
            found["bound"] = found["kl"] - np.mean(weighed, axis=0, dtype=np.float64)
        if painter.can("regret") and self.regret_steps:
            before, after = painter.regret(pixels, self._noise(len(pixels), WEIGHED + self.regret_steps)).T
            found["regret"] = after.astype(np.float64) - before
        return found

    def _noise(self, count: int, draws: int, first: int = 0) -> Float[np.ndarray, "n draws latent"]:
        size = self.painter.model.latent_size
        drawn = [
            np.random.default_rng(address(self.seed, "anomaly", first + number)).standard_normal(size, np.float32)
            for number in range(draws)
        ]
        return np.broadcast_to(np.stack(drawn), (count, draws, size))


def fitting(subject: Subject) -> tuple[Images, Images]:
    """Training pictures that a detector learns from, and validation pictures that say how normal ones score."""
    dataset, options = subject.dataset, subject.options
    train = dataset.train.first(min(options.probe_images, max(100, LARGEST // dataset.train.pixels[0].size)))
    return train, dataset.validation.first(options.anomaly_images)
