"""How well pictures come back, from clean input and from noisy, beside denoisers that learn nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sanggar.data.images import Images
from sanggar.evaluation.classical import DENOISERS, denoise, tune
from sanggar.evaluation.protocol import (
    Better,
    Findings,
    Number,
    Pixels,
    Subject,
    averaged,
    first_of_each_class,
    mean_squared_errors,
    peak_ratios,
    similarities,
    window,
)

FIDELITY: dict[str, tuple[str, str, Better, Callable[[Pixels, Pixels], np.ndarray]]] = {
    "mse": ("MSE", "on [-1, 1]", "lower", mean_squared_errors),
    "psnr": ("PSNR", "dB", "higher", peak_ratios),
    "ssim": ("SSIM", "", "higher", similarities),
}


def measure_reconstruction(subject: Subject) -> Findings:
    """MSE, PSNR and SSIM of reconstructions on test, from clean input and from noisy at every level."""
    painter, options, test = subject.painter, subject.options, subject.test
    from_clean = painter.reconstruct(test.pixels)
    numbers = _fidelity(subject, "clean input", from_clean, test.pixels, {"input": "clean"}, True)
    numbers += _perceptual(subject, from_clean, test.pixels)
    if not painter.can("disturb"):
        return Findings(numbers, _extremes(from_clean, test, test.pixels))
    trained, kind = painter.noise.typical, painter.noise.kind
    shown_level = trained or 0.3
    for level in sorted({*options.noise_levels, shown_level}):
        noisy = painter.disturb(test.pixels, level, options.seed)
        came_back = painter.reconstruct(noisy)
        protocol = {"input": "noisy", "noise": kind, "level": level, "noise_seed": options.seed}
        numbers += _fidelity(subject, f"{kind} noise {level:g}", came_back, test.pixels, protocol, level == shown_level)
    noisy = painter.disturb(test.pixels, shown_level, options.seed)
    return Findings(numbers, _extremes(painter.reconstruct(noisy), test, noisy), _alarms(numbers, shown_level))


def _fidelity(
    subject: Subject, label: str, pixels: Pixels, target: Pixels, given: dict[str, Any], headline: bool
) -> list[Number]:
    numbers = []
    for key, (name, unit, better, measure) in FIDELITY.items():
        values = measure(pixels, target)
        protocol = {
            "split": "test",
            "n": len(target),
            "data": subject.painter.data_name,
            "output": "clamped, uint8",
            **given,
        }
        if key == "ssim":
            protocol["window"] = f"Gaussian, deviation {window(target)}, borders mirrored"
        whole_label = f"{name}, {label}"
        numbers.append(
            averaged(
                f"reconstruction.{key}", whole_label, values, protocol, unit=unit, better=better, headline=headline
            )
        )
    return numbers


def _perceptual(subject: Subject, pixels: Pixels, target: Pixels) -> list[Number]:
    """How differently the source's judge sees reconstructions; nothing where there is no judge."""
    judge = subject.judge
    if judge is None:
        return []
    protocol = {
        "split": "test", "n": len(target), "data": subject.painter.data_name, "output": "clamped, uint8",
        "input": "clean", "network": judge.name, "weights": judge.hash,
        "method": "Zhang et al. 2018, Eq. 1, unweighted",
    }  # fmt: skip
    label, values = f"perceptual distance ({judge.name}), clean input", judge.dissimilarity(pixels, target)
    return [averaged("reconstruction.perceptual", label, values, protocol, better="lower", headline=True)]


def _extremes(came_back: Pixels, test: Images, shown: Pixels) -> dict[str, np.ndarray]:
    """The eight best and worst reconstructions by PSNR: what was shown, what came back, what it should be."""
    ratios = peak_ratios(came_back, test.pixels)
    order = np.argsort(ratios, kind="stable")
    pictures: dict[str, np.ndarray] = {}
    for name, chosen in (("worst", order[:8]), ("best", order[::-1][:8])):
        rows = (test.pixels[chosen], shown[chosen], came_back[chosen])
        pictures[f"{name}.rows"] = np.stack(rows)
        pictures[f"{name}.psnr"] = ratios[chosen]
    return pictures


def _alarms(numbers: list[Number], level: float) -> list[str]:
    mse = {n.protocol["level"]: n.value for n in numbers if n.key == "reconstruction.mse" and "level" in n.protocol}
    if mse[level] > 0.5:
        return [
            f"Reconstructions at noise {level:g} have MSE {mse[level]:.2f}: the network has learned next to nothing."
        ]
    return []


def measure_denoising(subject: Subject) -> Findings:
    """PSNR of the network and of classical denoisers on the same noisy test pictures, level by level.

    The classical ones are tuned on validation for each level, and are told the noise's deviation; the network
    is not. What is compared is paired: the difference has an interval of its own.
    """
    painter, options = subject.painter, subject.options
    test = subject.test.first(options.classical_images).pixels
    tuning = subject.dataset.validation.first(options.tuning_images).pixels
    kind, trained = painter.noise.kind, painter.noise.typical or 0.3
    base = {
        "split": "test", "n": len(test), "data": painter.data_name, "noise": kind, "noise_seed": options.seed,
        "input": "clamped, uint8", "output": "clamped, uint8", "tuned_on": f"{len(tuning)} validation pictures",
    }  # fmt: skip
    numbers, pictures = [], {}
    for level in sorted({*options.noise_levels, trained}):
        noisy = painter.disturb(test, level, options.seed)
        noisy_tuning = painter.disturb(tuning, level, options.seed + 1)
        results = {"network": painter.reconstruct(noisy)}
        settings: dict[str, dict[str, Any]] = {"network": {}}
        for name in DENOISERS:
            settings[name] = tune(name, noisy_tuning, tuning, level / 2)
            results[name] = denoise(name, noisy, level / 2, settings[name])
        ratios = {name: peak_ratios(result, test) for name, result in results.items()}
        protocol = {**base, "level": level}
        for name, values in ratios.items():
            tuned = protocol | ({"setting": settings[name]} if settings[name] else {})
            whole_label = f"PSNR, {kind} noise {level:g}: {name}"
            numbers.append(averaged("denoising.psnr", whole_label, values, tuned, unit="dB", subject=name))
        best = max((name for name in ratios if name != "network"), key=lambda name: ratios[name].mean())
        label, against = f"PSNR above {best}, noise {level:g}", {**protocol, "against": best}
        gain = ratios["network"] - ratios[best]
        numbers.append(averaged("denoising.gain", label, gain, against, unit="dB", headline=level == trained))
        if level == trained:
            chosen = np.array(first_of_each_class(subject.test.first(len(test)), 10))
            rows = [test, noisy, results["network"], results[best]]
            pictures["grid.rows"] = np.stack([row[chosen] for row in rows])
            pictures["grid.best"] = np.frombuffer(best.encode(), np.uint8)
    return Findings(numbers, pictures)
