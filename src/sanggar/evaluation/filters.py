"""Classical denoisers, each tuned over a small table of settings: what a network has to beat."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from sanggar.evaluation.measures.fidelity import Pixels, psnr

T = TypeVar("T")
Parameter = int | float | str
Setting = dict[str, Parameter]
Stack = Float[np.ndarray, "n height width channels"]


@dataclass(frozen=True)
class Denoiser:
    """A filter over a stack of pictures in [0, 1], and the settings it is tried at.

    `apply(stack, deviation, **setting)`; `deviation` is the noise's, on the scale [0, 1].
    """

    apply: Callable[..., Stack]
    settings: tuple[Setting, ...]


def identity(stack: Stack, deviation: float) -> Stack:
    """The disturbed picture itself."""
    return stack


def gaussian(stack: Stack, deviation: float, sigma: float) -> Stack:
    """Gaussian blur (SciPy)."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(stack, (0, sigma, sigma, 0))  # type: ignore[no-any-return]


def median(stack: Stack, deviation: float, size: int) -> Stack:
    """Median filter (SciPy)."""
    from scipy.ndimage import median_filter

    return median_filter(stack, (1, size, size, 1))  # type: ignore[no-any-return]


def non_local_means(stack: Stack, deviation: float, patch: int, distance: int, h: float, sigma: float) -> Stack:
    """Non-local means (Buades et al. 2005; scikit-image); `h` and `sigma` in deviations of the noise."""
    from skimage.restoration import denoise_nl_means

    options = {"patch_size": patch, "patch_distance": distance, "h": h * deviation, "sigma": sigma * deviation}
    cleaned = [denoise_nl_means(picture, channel_axis=-1, **options) for picture in stack]
    return np.stack(cleaned).reshape(stack.shape)  # scikit-image drops a single channel


def wavelet(stack: Stack, deviation: float, wavelet: str, method: str, mode: str, sigma: float) -> Stack:
    """Wavelet thresholding, cycle-spun (Coifman & Donoho 1995; scikit-image); `sigma` in deviations of the noise."""
    from skimage.restoration import cycle_spin, denoise_wavelet

    options = {
        "sigma": sigma * deviation,
        "wavelet": wavelet,
        "method": method,
        "mode": mode,
        "channel_axis": -1,
    }
    spun = [cycle_spin(p, denoise_wavelet, max_shifts=2, func_kw=options, workers=1, channel_axis=-1) for p in stack]
    return np.stack(spun)


def _table(**columns: tuple[Parameter, ...]) -> tuple[Setting, ...]:
    return tuple(dict(zip(columns, row, strict=True)) for row in product(*columns.values()))


DENOISERS: dict[str, Denoiser] = {
    "identity": Denoiser(identity, ({},)),
    "gaussian_filter": Denoiser(gaussian, _table(sigma=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5))),
    "median_filter": Denoiser(median, _table(size=(1, 2, 3, 4, 5))),
    "non_local_means": Denoiser(
        non_local_means,
        _table(patch=(3, 5), distance=(3, 5, 7), h=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9), sigma=(0.0, 0.5)),
    ),
    "wavelet": Denoiser(
        wavelet,
        (
            *_table(wavelet=("haar", "sym4"), method=("BayesShrink",), mode=("soft",), sigma=(0.7, 0.85, 1.0)),
            *_table(wavelet=("haar", "sym4"), method=("VisuShrink",), mode=("hard",), sigma=(0.5, 0.6, 0.7, 0.85)),
        ),
    ),
}


def denoise(
    name: str, noisy: Pixels, deviation: float, setting: Setting
) -> UInt8[np.ndarray, "n height width channels"]:
    """`noisy` through a classical denoiser on all cores; clamped and rounded like all else."""
    parts = np.array_split(noisy, max(1, len(noisy) // 50))
    return np.concatenate(_on_all_cores(_cleaned, [(name, part, deviation, setting) for part in parts]))


def tune(name: str, noisy: Pixels, clean: Pixels, deviation: float) -> Setting:
    """The setting with the highest mean PSNR on these (validation) pictures."""
    settings = DENOISERS[name].settings
    if len(settings) == 1:
        return settings[0]
    scores = _on_all_cores(_score, [(name, noisy, clean, deviation, setting) for setting in settings])
    return settings[int(np.argmax(scores))]


def _cleaned(name: str, noisy: Pixels, deviation: float, setting: Setting) -> Pixels:
    cleaned = DENOISERS[name].apply(noisy.astype(np.float32) / 255, deviation, **setting)
    pixels: Pixels = np.rint(np.clip(np.nan_to_num(cleaned), 0, 1) * 255).astype(np.uint8)
    return pixels


def _score(name: str, noisy: Pixels, clean: Pixels, deviation: float, setting: Setting) -> float:
    return float(psnr(_cleaned(name, noisy, deviation, setting), clean).mean())


def _on_all_cores(work: Callable[..., T], tasks: Sequence[tuple[object, ...]]) -> list[T]:
    """What `work` makes of each, in their order."""
    from joblib import Parallel, delayed

    # small pictures have few wavelet levels, flat ones no deviation: the best setting is chosen by its result
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done: list[T] = Parallel(n_jobs=-1, prefer="threads")(delayed(work)(*task) for task in tasks)
    return done
