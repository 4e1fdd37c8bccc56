"""How well noise is removed, beside classical filters that are tuned for each level of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from sanggar.evaluation.context import EvaluationContext, Findings, Metric, first_of_each_class
from sanggar.evaluation.filters import DENOISERS, Setting, denoise, tune
from sanggar.evaluation.measures.fidelity import mean_squared_errors, psnr
from sanggar.evaluation.metrics.reconstruction import FIDELITY, extremes, fidelity
from sanggar.evaluation.statistics import mean_of
from sanggar.instruments.cache import cached
from sanggar.options import Options
from sanggar.results import NETWORK, Alarm, Json, Measurement, Protocol
from sanggar.runs import Arrays
from sanggar.trained import Pixels, TrainedModel

COMPARED, TUNED = 4_000_000, 400_000
"""Numbers that the pictures are made of on which filters are compared, and tuned: at 128×128, 81 and 8 of them"""
SHOWN = 10
"""Pictures of the grid"""

Level = Annotated[float, Field(gt=0, le=2)]


class DenoisingOptions(Options):
    """Options of the metric `denoising`."""

    noise_levels: tuple[Level, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    """levels of noise that reconstructions are measured at, beside the one trained on; none: that one alone"""
    images: int = Field(default=1000, ge=10)
    """test pictures on which filters and the network are compared; fewer where pictures are large"""
    tuning_images: int = Field(default=100, ge=5)
    """validation pictures on which filters are tuned; fewer likewise"""


@dataclass(frozen=True)
class Filtered:
    """What a tuned filter makes of noisy pictures."""

    ratios: np.ndarray
    """PSNR of each picture in dB"""
    setting: Setting
    """chosen on validation"""
    shown: np.ndarray
    """the pictures of the grid"""


def applies(model: TrainedModel, options: DenoisingOptions) -> bool:
    """Whether the network was trained on noise, or the recipe names levels."""
    return bool(model.noise_options.typical or options.noise_levels)


def measure(context: EvaluationContext, options: DenoisingOptions) -> Findings:
    """Measure reconstructions of noisy test pictures at every level, and filters on the same pictures.

    Filters are tuned on validation for each level and are told the noise's deviation; the network is not.
    """
    trained = context.model.noise_options.typical or 0.3
    levels = sorted({*options.noise_levels, trained})
    measurements, alarms, arrays = _reconstructed(context, levels, trained)
    compared, pictures, best = _compared(context, options, levels, trained)
    return Findings([*measurements, *compared], arrays | pictures, alarms, {"best": best})


def _reconstructed(
    context: EvaluationContext, levels: list[float], shown: float
) -> tuple[list[Measurement], list[Alarm], Arrays]:
    """Fidelity at every level on all test pictures."""
    model, test, seed = context.model, context.test, context.options.seed
    measurements, alarms, arrays = [], [], Arrays()
    for level in levels:
        noisy = model.disturb(test.pixels, level, seed)
        pixels = model.reconstruct(noisy)
        values = {name: compare(pixels, test.pixels) for name, (_, _, compare) in FIDELITY.items()}
        protocol = context.protocol(
            len(test), output="uint8", input="noisy", noise=model.noise_options.kind, noise_seed=seed
        )
        measurements += fidelity(
            "denoising", values, protocol, test.pixels, tags={"level": level}, headline=level == shown
        )
        if level == shown:
            measurements.append(_of_training_pictures(context, level, protocol))
            arrays = extremes(pixels, test, noisy, values["psnr"])
            if (mse := float(values["mse"].mean())) > 0.5:
                alarms.append(Alarm(key="denoising.nothing_learned", values={"level": level, "mse": mse}))
    return measurements, alarms, arrays


def _of_training_pictures(context: EvaluationContext, level: float, protocol: Protocol) -> Measurement:
    """The MSE of training pictures, as many as there are: beside that of test pictures it tells of overfitting."""
    train = context.train.first(protocol.n).pixels
    noisy = context.model.disturb(train, level, context.options.seed)
    values = mean_squared_errors(context.model.reconstruct(noisy), train)
    of_train = protocol.model_copy(update={"split": "train", "n": len(train)})
    return mean_of("denoising.train_mse", values, of_train, unit="scale", better="lower", tags={"level": level})


def _compared(
    context: EvaluationContext, options: DenoisingOptions, levels: list[float], trained: float
) -> tuple[list[Measurement], Arrays, str]:
    """PSNR of the network and of filters on the same noisy pictures, and the gain over the best of them, paired."""
    model, seed = context.model, context.options.seed
    size = context.test.pixels[0].size
    images = context.test.first(min(options.images, max(10, COMPARED // size)))
    tuning = context.dataset.validation.first(min(options.tuning_images, max(5, TUNED // size))).pixels
    test, chosen = images.pixels, np.array(first_of_each_class(images, SHOWN))
    kind, arrays, best_shown = model.noise_options.kind, Arrays(), ""
    base = context.protocol(len(test), noise=kind, noise_seed=seed, input="uint8", output="uint8", tuned_on=len(tuning))
    measurements = []
    for level in levels:
        noisy = model.disturb(test, level, seed)
        pixels = model.reconstruct(noisy)
        filtered = _filters(context, level, test, tuning, noisy, chosen)
        ratios = {NETWORK: psnr(pixels, test)} | {name: each.ratios for name, each in filtered.items()}
        for subject, values in ratios.items():
            setting = filtered[subject].setting if subject != NETWORK else {}
            tuned: dict[str, Json] = {"setting": {**setting}} if setting else {}
            measurements.append(mean_of(
                "denoising.compared_psnr", values, base.having(**tuned), unit="dB", subject=subject,
                tags={"level": level},
            ))  # fmt: skip
        best = max((name for name in ratios if name != NETWORK), key=lambda name: ratios[name].mean())
        measurements.append(mean_of(
            "denoising.gain", ratios[NETWORK] - ratios[best], base.having(against=best), unit="dB",
            tags={"level": level}, headline=level == trained,
        ))  # fmt: skip
        if level == trained:
            arrays["grid"] = np.stack([test[chosen], noisy[chosen], pixels[chosen], filtered[best].shown])
            best_shown = best
    return measurements, arrays, best_shown


def _filters(
    context: EvaluationContext,
    level: float,
    test: Pixels,
    tuning: UInt8[np.ndarray, "m height width channels"],
    noisy: Pixels,
    chosen: np.ndarray,
) -> dict[str, Filtered]:
    """What each filter makes of the noisy pictures, tuned on validation. Kept for all runs."""
    seed, kind = context.options.seed, context.model.noise_options.kind

    def compute() -> Arrays:
        noisy_tuning, arrays = context.model.disturb(tuning, level, seed + 1), Arrays()
        for name, denoiser in DENOISERS.items():
            setting = tune(name, noisy_tuning, tuning, level / 2)
            cleaned = denoise(name, noisy, level / 2, setting)
            arrays[f"{name}.ratios"] = psnr(cleaned, test)
            arrays[f"{name}.setting"] = np.array([denoiser.settings.index(setting)])
            arrays[f"{name}.shown"] = cleaned[chosen]
        return arrays

    key = ("filters", *context.data_key, kind, level, seed, len(test), len(tuning), context.options.images)
    arrays = cached((*key, {name: denoiser.settings for name, denoiser in DENOISERS.items()}), compute)
    return {
        name: Filtered(
            arrays[f"{name}.ratios"], denoiser.settings[int(arrays[f"{name}.setting"][0])], arrays[f"{name}.shown"]
        )
        for name, denoiser in DENOISERS.items()
    }


METRIC = Metric(measure, ("reconstruct", "disturb"), DenoisingOptions, applies)
