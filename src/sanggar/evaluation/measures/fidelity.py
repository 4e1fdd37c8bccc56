"""Fidelity of pictures to others, pair by pair: MSE, PSNR, SSIM of uint8 pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from sanggar.data.images import mean_squared_errors, picture_chunks

Pixels = UInt8[np.ndarray, "n height width channels"]

__all__ = ["mean_squared_errors", "psnr", "ssim", "window"]


def psnr(pixels: Pixels, target: Pixels) -> Float[np.ndarray, "n"]:
    """Peak signal-to-noise ratio of each picture in dB, at most 100: a picture without any error has no ratio."""
    return _by_chunks(_psnr, pixels, target)


def ssim(pixels: Pixels, target: Pixels) -> Float[np.ndarray, "n"]:
    """Structural similarity (Wang et al. 2004) of each picture, in a Gaussian window as `window` says."""
    return _by_chunks(_ssim, pixels, target)


def window(pixels: Pixels) -> float:
    """Deviation of the window of the structural similarity: the paper's 1.5, smaller where pictures are tiny."""
    return 1.5 if min(pixels.shape[1:3]) >= 16 else 0.5


def _psnr(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio

    a, b = (torch.from_numpy(p.astype(np.float32)) for p in (one, other))
    ratios = peak_signal_noise_ratio(a, b, data_range=255.0, reduction="none", dim=(1, 2, 3))
    return ratios.clamp(max=100).double().numpy()


def _ssim(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, b = (torch.from_numpy(p.astype(np.float32)).permute(0, 3, 1, 2) for p in (one, other))
    similar = structural_similarity_index_measure(a, b, sigma=window(one), data_range=255.0, reduction="none")
    return np.asarray(similar, np.float64)


def _by_chunks(
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray], pixels: Pixels, target: Pixels
) -> Float[np.ndarray, "n"]:
    """A measure of each pair of pictures, some at a time: a whole split as floats would not fit into memory."""
    parts = picture_chunks(len(pixels), *pixels.shape[1:3])
    return np.concatenate([measure(pixels[part], target[part]) for part in parts])
