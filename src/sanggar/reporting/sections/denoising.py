"""Sections about denoising: noisy pictures reconstructed, and PSNR against the level of noise."""

from __future__ import annotations

from html import escape

from sanggar.reporting import labels
from sanggar.reporting.figures import LINES, Look, Series, line_chart, number, rows, table
from sanggar.reporting.view import View, Views, of_each
from sanggar.results import NETWORK


def denoised(views: Views) -> str | None:
    """Clean, noisy, reconstructed, and what the best classical denoiser makes of it."""

    def write(view: View) -> str | None:
        if "denoising.grid" not in view.arrays:
            return None
        clean, noisy, network, classical = view.arrays["denoising.grid"]
        best = labels.subject(str(view.detail("denoising", "best", "")))
        named = {"clean": clean, "noisy": noisy, "reconstructed": network, best: classical}
        return rows(named, "one test picture of each class")

    return of_each(views, write)


def against_noise(views: Views) -> str | None:
    """PSNR against the level of noise: the networks, and the classical denoisers on the same pictures.

    Runs measured by one protocol share a chart; others stand apart.
    """
    groups: dict[str, Views] = {}
    for view in views:
        found = view.find("denoising.compared_psnr", NETWORK)
        if found:
            groups.setdefault(found[0].protocol.model_dump_json(), []).append(view)
    return "".join(_noise_chart(group, views) for group in groups.values()) or None


def _noise_chart(group: Views, views: Views) -> str:
    curves: dict[str, dict[float, float]] = {}
    for view in group:
        for m in view.find("denoising.compared_psnr"):
            network = view.name if len(views) > 1 else labels.subject(NETWORK)
            name = network if m.subject == NETWORK else labels.subject(m.subject)
            curves.setdefault(name, {}).setdefault(float(m.tags["level"]), m.value)
    networks = [view.name for view in group] if len(views) > 1 else ["network"]
    levels = sorted({level for curve in curves.values() for level in curve})
    styles = iter(("--", "-.", ":", (0, (5, 1)), (0, (1, 1))))
    series: Series = []
    curves = dict(sorted(curves.items(), key=lambda item: item[0] not in networks))
    for name, curve in curves.items():
        look: Look = {
            "color": LINES[len(series) % len(LINES)],
            "linewidth": 2.4,
            "marker": "o",
            "markersize": 4,
        }
        if name not in networks:
            look |= {"linewidth": 1.1, "marker": None, "linestyle": next(styles)}
        series.append((name, list(curve), list(curve.values()), look))
    body = [
        [escape(name), *(number(curve[x]) if x in curve else "—" for x in levels)] for name, curve in curves.items()
    ]
    for view in group:
        gains = {float(m.tags["level"]): m for m in view.find("denoising.gain")}
        who = view.name if len(views) > 1 else "network"
        cells = [number(gains[x].value, 3) if x in gains else "—" for x in levels]
        body += [[f"{who} above the best classical", *cells]]
    sample = group[0].find("denoising.compared_psnr")[0].protocol
    words = (
        f"{view.name}: " * (len(views) > 1)
        + "PSNR by noise level. "
        + "; ".join(f"{name}: {y[0]:.1f} to {y[-1]:.1f} dB" for name, _, y, _ in series)
    )
    return (
        line_chart(series, f"{sample.settings.get('noise')} noise, level on the scale [−1, 1]", "PSNR in dB", words)
        + table(["dB at noise", *(f"{level:g}" for level in levels)], [[escape(x) for x in row] for row in body])
        + f"<p class=note>The same {sample.n:,} noisy test pictures for all, clamped to the pixel range and rounded "
        "to 8 bits; every output likewise. Classical denoisers are told the level and tuned for it on "
        f"{escape(str(sample.settings.get('tuned_on')))} validation pictures; a network is not told.</p>"
    )
