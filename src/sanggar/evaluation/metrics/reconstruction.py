"""How well clean pictures are reconstructed, beside PCA of the latent's size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sanggar.data.images import Images
from sanggar.evaluation.baselines import pca_reconstructions
from sanggar.evaluation.context import EvaluationContext, Findings, Metric
from sanggar.evaluation.measures.fidelity import mean_squared_errors, psnr, ssim, window
from sanggar.evaluation.statistics import mean_of
from sanggar.options import Options
from sanggar.results import NETWORK, PCA, Better, Json, Measurement, Protocol, Tag, Unit
from sanggar.runs import Arrays
from sanggar.trained import Pixels

FIDELITY: dict[str, tuple[Unit, Better, Callable[[Pixels, Pixels], np.ndarray]]] = {
    "mse": ("scale", "lower", mean_squared_errors),
    "psnr": ("dB", "higher", psnr),
    "ssim": ("", "higher", ssim),
}
"""By quantity: unit, direction, measure of each pair of pictures"""
EXTREMES = 8
"""Best and worst reconstructions that are shown"""


def measure(context: EvaluationContext, options: Options) -> Findings:
    """Measure MSE, PSNR, SSIM and perceptual distance of reconstructions of clean test pictures."""
    model, test = context.model, context.test
    pixels = context.reconstructions("test")
    values = {name: compare(pixels, test.pixels) for name, (_, _, compare) in FIDELITY.items()}
    values["perceptual"] = context.judge.dissimilarity(pixels, test.pixels)
    measurements = _measurements(context, values, context.unconditionally, NETWORK)
    if model.can("encode"):
        size, beside = pca_reconstructions(context, FIDELITY)
        given: dict[str, Json] = {"size": size, "fitted_on": min(len(context.dataset.train), _needed(context))}
        measurements += _measurements(context, beside, given, PCA)
    details = dict[str, Json](linear=model.linear)
    return Findings(measurements, extremes(pixels, test, test.pixels, values["psnr"]), details=details)


def _needed(context: EvaluationContext) -> int:
    """Training pictures that PCA of the latent's size is fitted on."""
    return max(context.model.latent_size, context.options.train_images)


def _measurements(
    context: EvaluationContext, values: dict[str, np.ndarray], given: dict[str, Json], subject: str
) -> list[Measurement]:
    protocol = context.protocol(len(context.test), output="uint8", input="clean", **given)
    found = fidelity(
        "reconstruction", values, protocol, context.test.pixels, subject=subject, headline=subject == NETWORK
    )
    if "perceptual" in values:
        judged = protocol.having(
            network=context.judge.name, weights=context.judge.hash, method="Zhang et al. 2018, Eq. 1, unweighted",
            **(context.trained_on(context.judge) if subject == NETWORK else {}),
        )  # fmt: skip
        found.append(mean_of(
            "reconstruction.perceptual", values["perceptual"], judged, better="lower", subject=subject,
            headline=subject == NETWORK,
        ))  # fmt: skip
    return found


def fidelity(
    metric: str, values: dict[str, np.ndarray], protocol: Protocol, target: Pixels, *, subject: str = NETWORK,
    tags: dict[str, Tag] | None = None, headline: bool = False,
) -> list[Measurement]:  # fmt: skip
    """Means of MSE, PSNR and SSIM as measurements of a metric."""
    found = []
    for name, (unit, better, _) in FIDELITY.items():
        of = protocol.having(window=window(target), borders="mirrored") if name == "ssim" else protocol
        found.append(mean_of(
            f"{metric}.{name}", values[name], of, unit=unit, better=better, subject=subject, tags=tags,
            headline=headline,
        ))  # fmt: skip
    return found


def extremes(pixels: Pixels, test: Images, shown: Pixels, ratios: np.ndarray) -> Arrays:
    """The best and worst reconstructions by PSNR: target, what the network was shown, reconstruction."""
    order = np.argsort(ratios, kind="stable")
    arrays: Arrays = {}
    for name, chosen in (("worst", order[:EXTREMES]), ("best", order[::-1][:EXTREMES])):
        arrays[name] = np.stack([test.pixels[chosen], shown[chosen], pixels[chosen]])
        arrays[f"{name}_psnr"] = ratios[chosen]
    return arrays


METRIC = Metric(measure, ("reconstruct",))
