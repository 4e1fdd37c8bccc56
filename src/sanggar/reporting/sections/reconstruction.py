"""Sections about reconstructions: how good they are, and the best and worst of them."""

from __future__ import annotations

from html import escape

import numpy as np

from sanggar.reporting import labels
from sanggar.reporting.comparison import any_of, cells, comparable, protocols, row_label
from sanggar.reporting.figures import rows, table
from sanggar.reporting.view import Views, prefix, value
from sanggar.results import NETWORK, PCA, Measurement


def fidelity(views: Views) -> str | None:
    """How well clean pictures are reconstructed, beside PCA of each latent size."""

    def wanted(m: Measurement) -> bool:
        return m.metric == "reconstruction" and m.protocol.settings.get("input") == "clean"

    def of(m: Measurement) -> tuple[str, str, int]:
        return m.key, m.protocol.data, m.protocol.n

    found = comparable(views, lambda m: wanted(m) and m.subject == NETWORK)
    beside: dict[int, dict[tuple[str, str, int], Measurement]] = {}
    for view in views:
        for m in view.evaluation.measurements:
            size = m.protocol.settings.get("size")
            if wanted(m) and m.subject == PCA and isinstance(size, int):
                beside.setdefault(size, {})[of(m)] = m
    if not found or not beside:
        return None
    having = [view for view in views if any(view.name in row for row in found)]
    body = []
    for index, row in enumerate(found, start=1):
        others = [values.get(of(any_of(row))) for _, values in sorted(beside.items())]
        body.append([row_label(row, index), *cells(row, having), *(value(m) if m else "—" for m in others)])
    names = [*(escape(view.name) for view in having), *(f"{labels.subject(PCA)} of {size}" for size in sorted(beside))]
    note = (
        "<p class=note>PCA takes as many numbers as the latent has, fitted to training pictures; it is what a latent "
        "of that size holds without a network.</p>"
    )
    return table(["", *names], body) + note + protocols(found)


def best_and_worst(views: Views) -> str | None:
    """Where the network does best and worst: on noisy pictures where it was measured on them."""
    parts = []
    for view in views:
        metric = "denoising" if "denoising.worst" in view.arrays else "reconstruction"
        for which in ("worst", "best"):
            if f"{metric}.{which}" in view.arrays:
                clean, shown, back = view.arrays[f"{metric}.{which}"]
                ratios = view.arrays[f"{metric}.{which}_psnr"]
                disturbed = {} if np.array_equal(clean, shown) else {"shown": shown}
                named = {"clean": clean, **disturbed, "reconstructed": back}
                parts.append(
                    f"<h3>{prefix(view, views)}{which} eight: {ratios.min():.1f} to {ratios.max():.1f} dB</h3>"
                    + rows(named, f"the {which} reconstructions of the test split")
                )
    return "".join(parts) or None
