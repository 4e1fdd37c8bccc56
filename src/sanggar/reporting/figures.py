"""Drawing: charts as SVG that follow the page's colours, pictures as PNG or WebP, each with a text beside it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

INK = "#010203"
"""Drawn in this, turned into the page's own text colour: a chart reads on light and on dark."""

# Okabe & Ito's palette without black and yellow, which vanish on one of the two backgrounds
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# after Paul Tol's "muted", the widest palette that colour-blind readers tell apart; dark enough for white names
CLASSES = ("#CC6677", "#5B4FA8", "#A8841A", "#117733", "#3B9CC4", "#AA3355", "#3A9A8C", "#848420", "#AA4499", "#777777")

STYLE: Any = {
    "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "axes.grid": True,
    "grid.color": INK, "grid.alpha": 0.12, "grid.linewidth": 0.6, "font.family": "sans-serif", "font.size": 9,
    "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.6, "svg.fonttype": "none",
    "figure.constrained_layout.use": True, "text.parse_math": False, "figure.facecolor": "none",
    "axes.facecolor": "none",
}  # fmt: skip

PHOTOGRAPH = 64
"""Height in pixels from which single pictures are kept with a loss"""
QUALITY = 85
"""Of WebP, 0 to 100"""

Look = dict[str, Any]
"""How a line looks: what Matplotlib's `plot` is told"""
Curve = tuple[str, list[float], list[float], Look]
"""A line of a chart: name, x, y, how it looks"""
Series = list[Curve]


def axes(width: float = 5.4, height: float = 3.2) -> tuple[Figure, Axes]:
    """A figure with one set of axes, in inches; sized to be read on a phone without zooming."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        return figure, figure.add_subplot()


def svg(figure: Figure, words: str, *, wide: bool = False) -> str:
    """A figure as inline SVG; `words` say what it shows. A wide one takes the whole page."""
    for written in figure.findobj(Text):
        written.set_parse_math(False)  # names come from outside: a dollar is a dollar
    buffer = io.StringIO()
    salt = hashlib.sha256(words.encode()).hexdigest()[:8]
    with rc_context({**STYLE, "svg.hashsalt": salt}):
        # `savefig` would draw it all twice where there is a layout
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r' id="([^"]*)"', _once(), text)  # two equal images come with one id
    mark = f"c{hashlib.sha256((words + text).encode()).hexdigest()[:8]}-"  # ids in one page must not collide
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{mark}", text)
    attributes = f'<svg role="img" aria-label="{escape(words, quote=True)}" '
    return f'<figure class="chart{" wide" if wide else ""}">{text.replace("<svg ", attributes, 1)}</figure>'


def _once() -> Callable[[re.Match[str]], str]:
    """For ids: what stands there the first time, and nothing when it comes again."""
    seen: set[str] = set()

    def keep(found: re.Match[str]) -> str:
        again = found[1] in seen
        seen.add(found[1])
        return "" if again else found[0]

    return keep


def img(pixels: UInt8[np.ndarray, "..."], words: str, edge: int = 0) -> str:
    """A grey `(H, W)` or colour `(H, W, 3)` picture as an `<img>` that keeps its pixels square and sharp.

    `edge` is the height of the single pictures on it: from PHOTOGRAPH pixels on they are kept as WebP with a loss that
    the eye does not see, below it exactly.
    """
    kind, code = "png", _encoded(pixels, "PNG", optimize=True)
    if edge >= PHOTOGRAPH:
        webp = _encoded(pixels, "WEBP", quality=QUALITY, method=5)  # 6: a percent smaller, in twenty times the time
        kind, code = ("webp", webp) if len(webp) < len(code) else (kind, code)
    data = base64.b64encode(code).decode()
    height, width = pixels.shape[:2]
    return (
        f'<img src="data:image/{kind};base64,{data}" alt="{escape(words, quote=True)}" width="{width}" '
        f'height="{height}">'
    )


def _encoded(pixels: UInt8[np.ndarray, "..."], kind: str, **how: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **how)
    return buffer.getvalue()


def small(picture: UInt8[np.ndarray, "height width channels"], edge: int) -> UInt8[np.ndarray, "h w 3"]:
    """A picture in colour, brought down to about `edge` pixels by averaging whole blocks."""
    factor = max(1, min(picture.shape[:2]) // edge)
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    cut = picture[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    small = np.rint(cut.mean(axis=(1, 3))).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(small, (height, width, 3)))


def strip(pictures: UInt8[np.ndarray, "n height width channels"], words: str) -> str:
    """Pictures side by side, one image. Grey ones stay grey: no colour map touches them."""
    n, height, width, _ = pictures.shape
    gap = max(1, width // 14)
    sheet = np.zeros((height, n * (width + gap) - gap, 4), np.uint8)
    for i, picture in enumerate(pictures):
        left = i * (width + gap)
        sheet[:, left : left + width, :3] = picture
        sheet[:, left : left + width, 3] = 255
    return img(sheet, words, height)


def rows(named: dict[str, UInt8[np.ndarray, "n height width channels"]], words: str) -> str:
    """Strips under each other, each with its name: `words` continue "row, ..." in the text for screen readers."""
    lines = [
        f'<div class="row"><span>{escape(name)}</span>{strip(pictures, f"{name}: {words}")}</div>'
        for name, pictures in named.items()
    ]
    return f'<div class="rows">{"".join(lines)}</div>'


def sheet(pictures: UInt8[np.ndarray, "rows columns height width channels"]) -> UInt8[np.ndarray, "tall wide 4"]:
    """Pictures in rows and columns with gaps that let the page through."""
    lines, columns, height, width, _ = pictures.shape
    gap = max(1, width // 14)
    found = np.zeros((lines, height + gap, columns, width + gap, 4), np.uint8)
    found[:, :height, :, :width, :3] = pictures.swapaxes(1, 2)
    found[:, :height, :, :width, 3] = 255
    return found.reshape(lines * (height + gap), columns * (width + gap), 4)[:-gap, :-gap]


def table(head: list[str], body: list[list[str]], caption: str = "", numeric_from: int = 1) -> str:
    """An HTML table; cells are HTML already. It scrolls sideways where the page is narrow."""

    def line(cells: list[str], tag: str) -> str:
        marked = (f"<{tag}{' class=n' if i >= numeric_from else ''}>{cell}</{tag}>" for i, cell in enumerate(cells))
        return f"<tr>{''.join(marked)}</tr>"

    text = f"<caption>{caption}</caption>" if caption else ""
    lines = "".join(line(cells, "td") for cells in body)
    whole = f"<table>{text}<thead>{line(head, 'th')}</thead><tbody>{lines}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{whole}</div>'


def number(value: float, digits: int = 4) -> str:
    """A number as people write it: as many digits as asked for, zeros at the end too, none before the point left out, a
    real minus sign."""
    text = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")
    return text.replace("-", "−")


def line_chart(
    series: Series,
    x_label: str,
    y_label: str,
    words: str,
    *,
    log: bool = False,
) -> str:
    """Lines with a legend."""
    figure, ax = axes(height=3.2 if len(series) <= 4 else 3.2 + 0.1 * len(series))
    lines = [ax.plot(x, y, **style)[0] for _, x, y, style in series]  # the legend is given its names: none is hidden
    ax.set(xlabel=x_label, ylabel=y_label)
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    with rc_context(STYLE):
        names = [name if len(name) <= 40 else f"{name[:39]}…" for name, *_ in series]
        if len(series) <= 4:
            ax.legend(lines, names, loc="best")
        else:  # a long legend stands under the axes, where it covers no line
            figure.legend(lines, names, loc="outside lower center", ncols=2)
    return svg(figure, words)
