"""Detecting odd pictures: how odd a picture is to a model that learned normal ones, and where the oddness sits.

Every score is higher for odder pictures. Scores do not compare between models; their shares among normal pictures do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from sanggar.data.dataset import Dataset
from sanggar.data.images import CHUNK, Images, mean_squared_errors
from sanggar.models.vae.kl import kl_of_posterior
from sanggar.results.stored import read_tools
from sanggar.runs import Arrays
from sanggar.seeding import address
from sanggar.trained import Pixels, TrainedModel, Vectors

Vector = Float[np.ndarray, "n"]
Scores = dict[str, Float[np.ndarray, "_"]]
"""By score, a number a picture"""
Heat = Float[np.ndarray, "n height width"]
Table = Float[np.ndarray, "n d"]

TOOL = "anomaly."
"""Prefix of a detector's arrays among the tools that an evaluation stores"""
IMAGES, REGRET_STEPS = 1000, 10
"""Validation pictures, and Adam steps of the likelihood regret, where a recipe does not say"""
WEIGHED = 8
"""Draws that the bound is measured by, before and after a posterior is fitted, the same ones"""
LARGEST = 100_000_000
"""Numbers in the pixels of all training pictures that a detector is fitted on, at most"""
SLACK = 0.05
"""Added to the deviation of each pixel's residual, on [-1, 1], so that no pixel counts without bound"""
LIMIT = 99
"""Percentage of normal pictures whose hottest place stays below the hottest colour of a heat map"""


# -- what normal pictures are like -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """What scores depend on besides the picture: statistics of normal pictures."""

    deviations: Float[np.ndarray, "height width channels"]
    """root mean square of each pixel's residual over training pictures, on [-1, 1], plus the slack"""
    centre: Float[np.ndarray, "latent"] | None
    """mean of the training pictures' latents, where there are latents"""
    precision: Float[np.ndarray, "latent latent"] | None
    """inverse of their covariance"""
    normal: Scores
    """scores of validation pictures, in ascending order"""
    limit: float
    """squared error at which a heat map is hottest"""

    def arrays(self) -> Arrays:
        """All of it as arrays by name, to be stored."""
        arrays: Arrays = {"deviations": self.deviations, "limit": np.array([self.limit])}
        if self.centre is not None and self.precision is not None:
            arrays |= {"centre": self.centre, "precision": self.precision}
        return arrays | {f"normal.{name}": scores for name, scores in self.normal.items()}

    @classmethod
    def of(cls, arrays: Arrays) -> Known:
        """The same from its arrays."""
        normal = {name.removeprefix("normal."): array for name, array in arrays.items() if name.startswith("normal.")}
        centre, precision = arrays.get("centre"), arrays.get("precision")
        return cls(arrays["deviations"], centre, precision, normal, float(arrays["limit"][0]))


def residual_deviations(pixels: Pixels, reconstructed: Pixels) -> Float[np.ndarray, "height width channels"]:
    """Root mean square of each pixel's residual on [-1, 1], plus the slack."""
    total = np.zeros(pixels.shape[1:])
    for part in _parts(len(pixels)):
        total += np.square(_residuals(pixels[part], reconstructed[part])).sum(axis=0, dtype=np.float64)
    return np.asarray(np.sqrt(total / len(pixels)) + SLACK, np.float32)


def gaussian(latents: Table) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
    """Mean and inverse covariance of latents, the covariance shrunk (Ledoit & Wolf 2004; scikit-learn)."""
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(latents.astype(np.float64))
    return np.asarray(fitted.location_), np.asarray(fitted.precision_)


# -- scores ----------------------------------------------------------------------------------------------------


def scores(known: Known, pixels: Pixels, reconstructed: Pixels, latents: Table | None) -> Scores:
    """Score pictures by their reconstructions and, where the model has a latent space, by their latents.

    `reconstruction`: mean squared error on [-1, 1]. `residual`: the same with each pixel's residual in deviations of
    that pixel. `latent`: squared Mahalanobis distance to the training pictures' latents.
    """
    scored: Scores = {"reconstruction": mean_squared_errors(pixels, reconstructed)}
    parts = _parts(len(pixels))
    scored["residual"] = np.concatenate([_standardized(known, pixels[part], reconstructed[part]) for part in parts])
    if latents is not None and known.centre is not None and known.precision is not None:
        scored["latent"] = mahalanobis(latents, known.centre, known.precision)
    return scored


def _standardized(known: Known, pixels: Pixels, reconstructed: Pixels) -> Vector:
    squares = np.square(_residuals(pixels, reconstructed) / known.deviations)
    return np.asarray(squares.mean(axis=(1, 2, 3), dtype=np.float64))


def mahalanobis(latents: Table, centre: Float[np.ndarray, "d"], precision: Float[np.ndarray, "d d"]) -> Vector:
    """Squared Mahalanobis distance of each latent from the centre."""
    apart = latents.astype(np.float64) - centre
    return np.asarray(np.einsum("nd,de,ne->n", apart, precision, apart, optimize=True))


def together(scored: Scores, normal: Scores) -> Vector:
    """Residual and latent distance in one: the sum of their logarithms, each in deviations of normal pictures.

    An odd picture is either reconstructed badly, or reconstructed well from a latent that normal pictures do not
    have. Both scores are squared distances with long tails, hence the logarithms.
    """
    total = np.zeros(len(scored["residual"]))
    for name in ("residual", "latent"):
        usual = np.log(normal[name] + 1e-12)
        total += (np.log(scored[name] + 1e-12) - usual.mean()) / max(float(usual.std()), 1e-12)
    return total


def share_below(scored: Vector, normal: Float[np.ndarray, "m"]) -> Vector:
    """Share of normal pictures that score lower; `normal` is in ascending order."""
    return np.asarray(np.searchsorted(normal, scored, side="left") / len(normal))


# -- a model as a detector -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detector:
    """A model as a detector of odd pictures: the model, what it knows of normal ones, and settings of its scores."""

    model: TrainedModel
    known: Known
    seed: int = 0
    """seed of the noise behind `bound` and `regret`"""
    regret_steps: int = REGRET_STEPS
    """Adam steps that fit a posterior to each picture, for `regret`; 0: it is left out"""

    @classmethod
    def fit(
        cls, model: TrainedModel, train: Images, validation: Images, seed: int = 0, regret_steps: int = REGRET_STEPS,
        latents: Vectors | None = None,
    ) -> Detector:  # fmt: skip
        """Learn from training pictures what is normal, and from validation pictures how normal ones score.

        `latents` are the training pictures', where they were computed already. Raises RunError when the model does not
        reconstruct.
        """
        reconstructed = model.reconstruct(train.pixels)
        if latents is None and model.can("encode"):
            latents = model.encode(train.pixels)
        centre, precision = (None, None) if latents is None else gaussian(latents)
        known = Known(residual_deviations(train.pixels, reconstructed), centre, precision, {}, 1.0)
        detector = cls(model, known, seed, regret_steps)
        reconstructed = model.reconstruct(validation.pixels)
        scored = detector._single(validation.pixels, reconstructed)
        if "latent" in scored:
            scored["together"] = together(scored, scored)
        normal = {name: np.sort(values) for name, values in scored.items()}
        limit = hottest(heat(validation.pixels, reconstructed))
        return replace(detector, known=replace(known, normal=normal, limit=limit))

    @classmethod
    def of_run(cls, model: TrainedModel, say: Callable[[str], None] = lambda text: None) -> Detector:
        """The detector that the run's evaluation stored; fitted anew on the run's data where it stored none.

        `say` is given a line before fitting. Raises RunError when the model does not reconstruct, or the data are not
        the run's; DataError when they are missing.
        """
        options = model.plan.evaluation
        own = getattr(options, "anomaly", None)  # the metric's part of the recipe, which no lower layer knows
        steps: int = getattr(own, "regret_steps", REGRET_STEPS)
        images: int | None = getattr(own, "images", IMAGES)
        known = _stored(model)
        if known is not None:
            return cls(model, known, options.seed, steps)
        say("This run's evaluation left no detector of odd pictures: normal ones are looked at first.")
        train, validation = fitting_images(model.plan.data_of(model.run), options.train_images, images)
        return cls.fit(model, train, validation, options.seed, steps)

    def scores(self, pixels: Pixels, reconstructed: Pixels) -> Scores:
        """Every score that the model can give, higher for odder pictures; `reconstructed` are its reconstructions."""
        scored = self._single(pixels, reconstructed)
        return ({"together": together(scored, self.known.normal)} if "latent" in scored else {}) | scored

    def shares(self, scored: Scores) -> Scores:
        """Of each score, the share of normal validation pictures that score lower."""
        return {name: share_below(values, self.known.normal[name]) for name, values in scored.items()}

    def _single(self, pixels: Pixels, reconstructed: Pixels) -> Scores:
        """Every score that does not combine others."""
        model, count = self.model, len(pixels)
        if not model.can("posterior"):
            latents = model.encode(pixels) if model.can("encode") else None
            return scores(self.known, pixels, reconstructed, latents) | self._by_prior(latents)
        posterior, noise = model.posterior(pixels), self._noise(count, WEIGHED + self.regret_steps)
        scored = scores(self.known, pixels, reconstructed, posterior[:, 0])
        scored |= self._by_prior(posterior[:, 0])
        scored["kl"] = kl_of_posterior(posterior.astype(np.float64)).sum(axis=1)
        weighed = [model.log_weight_terms(pixels, posterior, noise[:, draw])[:, 0] for draw in range(WEIGHED)]
        scored["bound"] = scored["kl"] - np.mean(weighed, axis=0, dtype=np.float64)
        if model.can("regret") and self.regret_steps:
            before, after = model.regret(pixels, posterior, np.stack(weighed, axis=1), noise).T
            scored["regret"] = after.astype(np.float64) - before
        return scored

    def _by_prior(self, latents: Vectors | None) -> Scores:
        """Minus the log density of a learned prior at each latent, where there is one: by the same signs for all."""
        if latents is None or not self.model.can("prior_density"):
            return {}
        draw = np.random.default_rng(address(self.seed, "anomaly", 0))
        signs = draw.choice(np.array([-1, 1], np.float32), latents.shape[1])
        probe = np.broadcast_to(signs, latents.shape)
        return {"prior": -self.model.prior_density(latents, probe).astype(np.float64)}

    def _noise(self, count: int, draws: int) -> Float[np.ndarray, "n draws latent"]:
        """The same draws for every picture: its score does not depend on the pictures beside it."""
        size = self.model.latent_size
        drawn = [
            np.random.default_rng(address(self.seed, "anomaly", number)).standard_normal(size, np.float32)
            for number in range(draws)
        ]
        return np.broadcast_to(np.stack(drawn), (count, draws, size))


def fitting_images(dataset: Dataset, train_images: int, images: int | None) -> tuple[Images, Images]:
    """Training pictures that a detector is fitted on, fewer where they are large, and validation pictures."""
    train = dataset.train.first(min(train_images, max(100, LARGEST // dataset.train.pixels[0].size)))
    return train, dataset.validation.first(images)


def _stored(model: TrainedModel) -> Known | None:
    """What the evaluation of these weights stored; None where it stored no detector, or was of other weights."""
    if not model.run.evaluation_file.is_file():
        return None
    tools, details = read_tools(model.run)
    arrays = {name.removeprefix(TOOL): array for name, array in tools.items() if name.startswith(TOOL)}
    return Known.of(arrays) if {"deviations", "limit"} <= arrays.keys() and details["step"] == model.step else None


# -- where it sits ---------------------------------------------------------------------------------------------


def heat(pixels: Pixels, reconstructed: Pixels) -> Heat:
    """Squared error of each pixel on [-1, 1], the mean over channels, smoothed by a Gaussian.

    Its deviation is a 28th of the shorter edge, and at least half a pixel.
    """
    from scipy.ndimage import gaussian_filter

    sigma = max(0.5, min(pixels.shape[1:3]) / 28)
    maps = np.empty(pixels.shape[:3], np.float32)
    for part in _parts(len(pixels)):
        errors = np.square(_residuals(pixels[part], reconstructed[part])).mean(axis=3)
        gaussian_filter(errors, (0, sigma, sigma), output=maps[part])
    return maps


def hottest(maps: Heat) -> float:
    """Heat that the hottest place of LIMIT % of the pictures stays below: the end of a map's colours."""
    return max(float(np.percentile(maps.max(axis=(1, 2)), LIMIT)), 1e-6)


def overlaid(
    picture: UInt8[np.ndarray, "height width channels"],
    warm: Float[np.ndarray, "height width"],
    limit: float,
    scale: int = 1,
) -> UInt8[np.ndarray, "tall wide 3"]:
    """Enlarge a picture, turn it grey, and colour it where the error is: the hotter, the less of it shows through.

    Pixels stay square, the heat between them is interpolated. From `limit` on, the colour is at its end.
    """
    from matplotlib import colormaps
    from scipy.ndimage import zoom

    share = np.clip(warm / limit, 0, 1)
    if scale > 1:
        share = np.clip(zoom(share, scale, order=1, mode="nearest", grid_mode=True), 0, 1)
    grey = picture.mean(axis=2, keepdims=True).repeat(scale, axis=0).repeat(scale, axis=1)
    colour = 255 * colormaps["inferno"](share)[..., :3]
    opaque = np.sqrt(share)[..., None]
    return np.asarray(np.rint((1 - opaque) * grey + opaque * colour), np.uint8)


def _residuals(pixels: Pixels, reconstructed: Pixels) -> Float[np.ndarray, "n height width channels"]:
    return (reconstructed.astype(np.float32) - pixels.astype(np.float32)) / np.float32(127.5)


def _parts(count: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]
