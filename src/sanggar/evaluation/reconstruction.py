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
    taught,
    window,
)
from sanggar.evaluation.unlearned import components, through
from sanggar.models.family import CHUNK
from sanggar.painter import Painter

FIDELITY: dict[str, tuple[str, str, Better, Callable[[Pixels, Pixels], np.ndarray]]] = {
    "mse": ("MSE", "on [-1, 1]", "lower", mean_squared_errors),
    "psnr": ("PSNR", "dB", "higher", peak_ratios),
    "ssim": ("SSIM", "", "higher", similarities),
}


COMPARED, TUNED = 4_000_000, 400_000
"""Numbers that the pictures are made of on which filters are compared, and tuned: at 128×128, 81 and 8 of them."""


def measure_reconstruction(subject: Subject) -> Findings:
    """MSE, PSNR and SSIM of reconstructions on test, from clean input and from noisy at every level.

    From clean input beside PCA of the latent's size, where there is a latent.
    """
    painter, options, test = subject.painter, subject.options, subject.test
    from_clean = painter.reconstruct(test.pixels)
    numbers = _from_clean(subject, from_clean, test.pixels, subject.told, "network")
    if painter.can("encode"):
        numbers += _by_pca(subject, test)
    if not disturbed(painter):
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


def disturbed(painter: Painter) -> bool:
    """Whether the network is measured on disturbed pictures: it was trained on them, or the recipe names levels."""
    return painter.can("disturb") and bool(painter.noise.typical or painter.plan.evaluation.noise_levels)


def _from_clean(subject: Subject, came_back: Pixels, test: Pixels, how: dict[str, Any], who: str) -> list[Number]:
    numbers = _fidelity(subject, "clean input", came_back, test, {"input": "clean", **how}, who == "network", who)
    return numbers + _perceptual(subject, came_back, test, how, who)


def _by_pca(subject: Subject, test: Images) -> list[Number]:
    """What comes back through as many numbers without a network."""
    size = subject.painter.encode(test.pixels[:1]).shape[1]
    train = subject.dataset.train.first(max(size, subject.options.probe_images))
    pca = components(train.pixels, size, subject.options.seed)
    came_back = np.concatenate([through(pca, test.pixels[i : i + CHUNK])[1] for i in range(0, len(test), CHUNK)])
    how = {"size": int(pca.n_components_), "fitted_on": f"{len(train)} training pictures"}
    return _from_clean(subject, came_back, test.pixels, how, "PCA")


def _fidelity(
    subject: Subject, label: str, pixels: Pixels, target: Pixels, given: dict[str, Any], headline: bool,
    who: str = "network",
) -> list[Number]:  # fmt: skip
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
        said = f"reconstruction.{key}", f"{name}, {label}", values, protocol
        numbers.append(averaged(*said, unit=unit, better=better, subject=who, headline=headline))
    return numbers


def _perceptual(subject: Subject, pixels: Pixels, target: Pixels, how: dict[str, Any], who: str) -> list[Number]:
    """How differently the source's judge sees reconstructions; nothing where there is no judge."""
    judge = subject.judge
    if judge is None:
        return []
    protocol = {
        "split": "test", "n": len(target), "data": subject.painter.data_name, "output": "clamped, uint8",
        "input": "clean", "network": judge.name, "weights": judge.hash,
        "method": "Zhang et al. 2018, Eq. 1, unweighted", **how,
        **(taught(subject.painter, judge) if who == "network" else {}),
    }  # fmt: skip
    label, values = f"perceptual distance ({judge.name}), clean input", judge.dissimilarity(pixels, target)
    shown = who == "network"
    return [averaged("reconstruction.perceptual", label, values, protocol, better="lower", subject=who, headline=shown)]


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
    size = subject.test.pixels[0].size
    test = subject.test.first(min(options.classical_images, max(10, COMPARED // size))).pixels
    tuning = subject.dataset.validation.first(min(options.tuning_images, max(5, TUNED // size))).pixels
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
