"""What the pictures show is what the arrays hold: read back from the figures, not from their pixels."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colors, rc_context, rcParams
from matplotlib._pylab_helpers import Gcf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection, LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from sanggar.errors import DataError, NetworkError
from sanggar.scratch import FFNN, pictures
from sanggar.scratch.network import Epoch
from sanggar.scratch.tensor import Array
from typed import there

FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SMALL = st.lists(st.integers(1, 4), min_size=2, max_size=4)
WIDE = st.lists(st.integers(1, 40), min_size=2, max_size=4)
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=12)  # a graph takes a while
Lines = dict[tuple[float, float], float]
"""Height where a line begins and where it ends: its value."""


def network(widths: list[int], seed: int = 0) -> dict[str, Array]:
    """Weights of all sizes, no two of them alike."""
    rng = np.random.default_rng(seed)
    return {f"dense{i + 1}": rng.normal(size=(a + 1, b)) for i, (a, b) in enumerate(pairwise(widths))}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def collection(figure: Figure, name: str) -> Collection:
    """The one collection of this name."""
    (found,) = figure.findobj(lambda artist: artist.get_gid() == name)
    assert isinstance(found, Collection)
    return found


def lines_of(figure: Figure, name: str) -> LineCollection:
    """The one collection of lines of this name."""
    found = collection(figure, name)
    assert isinstance(found, LineCollection)
    return found


def drawn(figure: Figure, what: str, layer: str) -> Lines:
    found = lines_of(figure, f"{what}-lines-{layer}")
    segments = [tuple(segment[:, 1].round(9)) for segment in found.get_segments()]
    assert len(set(segments)) == len(segments)
    return dict(zip(segments, there(found.get_array()), strict=True))


def biases(figure: Figure, what: str, layer: str) -> Array:
    found = collection(figure, f"{what}-biases-{layer}")
    assert len(found.get_paths()) == len(there(found.get_array()))
    return np.asarray(found.get_array())


def heights(figure: Figure, what: str, layer: str | None) -> list[float]:
    """The heights of a column's neurons, from the first to the last."""
    axes = [ax for ax in figure.axes if ax.get_label() == what]
    if layer is None:
        found = list(np.asarray(axes[0].collections[0].get_offsets())[:, 1].round(9))
    else:
        circles = [np.asarray(p.vertices)[:, 1] for p in collection(figure, f"{what}-biases-{layer}").get_paths()]
        found = [float(np.mean([y.min(), y.max()]).round(9)) for y in circles]
    assert found == sorted(found, reverse=True)
    return found


def columns(figure: Figure, what: str, names: list[str]) -> list[list[float]]:
    return [heights(figure, what, name) for name in (None, *names)]


def expected(weights: dict[str, Array], most: tuple[int, int]) -> tuple[list[list[int]], list[set[tuple[int, int]]]]:
    """Which neurons and which lines belong in the picture, said in another way than it is computed."""
    matrices = [np.abs(a[:-1]) for a in weights.values()]
    sums = [[float(row.sum()) for row in a] for a in matrices] + [[float(c.sum()) for c in matrices[-1].T]]
    neurons = [sorted(sorted(range(len(s)), key=lambda i: -s[i])[: most[0]]) for s in sums]
    edges = []
    for a, rows, cols in zip(matrices, neurons, neurons[1:], strict=False):
        pairs = [(i, j) for i in rows for j in cols]
        edges.append(set(sorted(pairs, key=lambda p: -a[p])[: most[1]]))
    return neurons, edges


# -- the graph -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@few
@given(widths=SMALL, seed=SEEDS)
def test_a_small_network_is_drawn_whole_and_once(widths: list[int], seed: int) -> None:
    weights, gradients = network(widths, seed), network(widths, seed + 1)
    figure = pictures.graph(weights, gradients)
    for what, arrays in (("weight", weights), ("gradient", gradients)):
        places = columns(figure, what, list(arrays))
        for k, (name, a) in enumerate(arrays.items()):
            lines = drawn(figure, what, name)
            assert len(lines) == a[:-1].size
            for (i, j), value in np.ndenumerate(a[:-1]):
                assert lines[places[k][i], places[k + 1][j]] == value
            np.testing.assert_array_equal(biases(figure, what, name), a[-1])
    assert not any("Drawn" in text for text in texts(figure))


@pytest.mark.parametrize(
    ("factor", "unit", "title"),
    [(1, 1, "weights"), (3e-5, 1e-5, "weights, printed in 10⁻⁵"), (1e4, 1e4, "weights, printed in 10⁴")],
)
def test_values_are_printed_where_there_is_room(factor: float, unit: float, title: str) -> None:
    weights = {name: a * factor for name, a in network([2, 3, 1]).items()}
    figure = pictures.graph(weights, names=["height", "width"], classes=["cat"])
    found = [text.get_text() for text in figure.axes[0].texts]
    printed = [float(text.replace("−", "-")) for text in found if re.fullmatch(r"−?\d+\.\d\d", text)]
    assert sorted(printed) == sorted(round(value / unit, 2) for a in weights.values() for value in a.ravel())
    assert {title, "height", "width", "cat", "inputs\n2", "dense1\n3", "dense2\n1"} <= set(found)


@few
@given(widths=WIDE, seed=SEEDS, most=st.tuples(st.integers(1, 12), st.integers(1, 60)))
def test_what_is_drawn_of_a_large_network_is_the_largest(widths: list[int], seed: int, most: tuple[int, int]) -> None:
    weights, gradients = network(widths, seed), network(widths, seed + 1)
    figure = pictures.graph(weights, gradients, most=most)
    neurons, edges = expected(weights, most)
    for what, arrays in (("weight", weights), ("gradient", gradients)):
        places = columns(figure, what, list(arrays))
        assert [len(place) for place in places] == [len(column) for column in neurons]
        for k, (name, a) in enumerate(arrays.items()):
            at = [dict(zip(neurons[end], places[end], strict=True)) for end in (k, k + 1)]
            assert drawn(figure, what, name) == {(at[0][i], at[1][j]): a[i, j] for i, j in edges[k]}
            np.testing.assert_array_equal(biases(figure, what, name), a[-1, neurons[k + 1]])


@few
@given(widths=WIDE, seed=SEEDS)
def test_the_figure_says_what_it_leaves_out(widths: list[int], seed: int) -> None:
    weights = network(widths, seed)
    figure = pictures.graph(weights, most=(5, 11))
    (caption,) = (text.replace("\n", " ") for text in texts(figure) if text.startswith("A line is"))
    said = re.findall(r"(\d+) of ([\d,]+) (inputs|neurons of dense\d|lines into dense\d)", caption)
    counts = [len(column) for column in columns(figure, "weight", list(weights))]
    of = ["inputs", *(f"neurons of {name}" for name in weights)]
    truth = [(some, all_, what) for some, all_, what in zip(counts, widths, of, strict=True) if some < all_]
    ways = [(len(drawn(figure, "weight", name)), a[:-1].size, f"lines into {name}") for name, a in weights.items()]
    truth += [(some, all_, what) for some, all_, what in ways if some < all_]
    assert [(int(some), int(all_.replace(",", "")), what) for some, all_, what in said] == truth
    headers = [text.split("\n")[1] for text in texts(figure) if re.match(r"(inputs|dense\d)\n", text)]
    assert headers == [f"{n} of {total}" if n < total else f"{total}" for n, total in zip(counts, widths, strict=True)]


def test_of_equal_weights_the_first_are_drawn_each_time() -> None:
    weights = {"dense1": np.ones((31, 20))}
    one, two = (drawn(pictures.graph(weights, most=(4, 6)), "weight", "dense1") for _ in range(2))
    assert one == two
    places = columns(pictures.graph(weights, most=(4, 6)), "weight", ["dense1"])
    assert set(one) == {(places[0][i], places[1][j]) for i, j in ((0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1))}


def test_stronger_lines_are_wider_bluer_above_zero_and_on_top() -> None:
    weights = {"dense1": np.array([[0.5], [-2.0], [1.0], [0.0]])}
    figure = pictures.graph(weights)
    lines = lines_of(figure, "weight-lines-dense1")
    values, widths = np.abs(there(lines.get_array())), np.array(lines.get_linewidth())
    assert (np.diff(values) > 0).all() and (np.diff(widths) > 0).all()
    red, _, blue, alpha = lines.to_rgba(np.array([-2.0, -0.5, 0.5, 2.0])).T
    assert (red[:2] > blue[:2]).all() and (blue[2:] > red[2:]).all()
    np.testing.assert_allclose(alpha, alpha[::-1], atol=0.01)  # centred on 0


def test_gradients_of_zero_are_drawn() -> None:
    weights = network([3, 2])
    figure = pictures.graph(weights, {"dense1": np.zeros((4, 2))})
    assert set(drawn(figure, "gradient", "dense1").values()) == {0.0}
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize(
    ("widths", "classes"),
    [([2, 3, 1], None), ([64, 16, 10], None), ([784, 64, 10], FASHION), ([784, 64, 64, 64, 10], FASHION)],
)
def test_no_text_lies_on_another(widths: list[int], classes: tuple[str, ...] | None) -> None:
    weights = network(widths)
    figure = pictures.graph(weights, weights, classes=classes)
    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    figure.draw(renderer)
    lying = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible() and t.get_rotation() == 0]
    boxes = [(text, text.get_window_extent(renderer)) for text in lying]
    for (one, a), (two, b) in combinations(boxes, 2):
        assert not a.overlaps(b), (one.get_text(), two.get_text())
    assert all(figure.bbox.containsx(b.x0) and figure.bbox.containsx(b.x1) for _, b in boxes)
    assert all(figure.bbox.containsy(b.y0) and figure.bbox.containsy(b.y1) for _, b in boxes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"weights": {}}, "no layer"),
        ({"weights": {"dense1": np.ones(3)}}, r"expected numbers \(inputs \+ 1, outputs\)"),
        ({"weights": {"dense1": np.array([["a"], ["b"]])}}, "expected numbers"),
        ({"weights": {"dense1": np.full((3, 2), np.nan)}}, "dense1 holds a value that is not finite"),
        ({"weights": {"one": np.ones((3, 4)), "two": np.ones((4, 2))}}, "one has 4 outputs, but two 3 inputs"),
        ({"gradients": {"dense1": np.ones((3, 5))}}, "not of these weights"),
        ({"gradients": {"dense2": np.ones((3, 4))}}, "not of these weights"),
        ({"names": ["x"]}, "expected 2 names of the inputs, got 1"),
        ({"classes": ["a", "b"]}, "expected 4 names of the outputs, got 2"),
        ({"most": (0, 5)}, "at least one neuron"),
    ],
)
def test_what_a_graph_cannot_show(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        pictures.graph(**{"weights": {"dense1": np.ones((3, 4))}, **arguments})


# -- values, and how they move ---------------------------------------------------------------------------------


@given(widths=SMALL, seed=SEEDS, log=st.booleans(), factor=st.sampled_from([0.0, 1e-12, 1.0, 1e12]))
def test_a_histogram_counts_every_value(widths: list[int], seed: int, log: bool, factor: float) -> None:
    arrays = {name: factor * a for name, a in network(widths, seed).items()}
    figure = pictures.distributions(arrays, log=log)
    assert len(figure.axes) == len(arrays)
    for ax, (name, a) in zip(figure.axes, arrays.items(), strict=True):
        (stairs,) = ax.patches
        assert isinstance(stairs, StepPatch)
        counts, edges, _ = stairs.get_data()
        assert counts.sum() == a.size and edges[0] <= a.min() and edges[-1] >= a.max()
        assert ax.get_title(loc="left").startswith(f"{name}\n{a.size:,} values")


def test_only_the_layers_asked_for() -> None:
    figure = pictures.distributions(network([3, 4, 5, 2]), ["dense3", "dense1"])
    assert [ax.get_title(loc="left").split("\n")[0] for ax in figure.axes] == ["dense3", "dense1"]
    with pytest.raises(NetworkError, match=r"no layer 'dens2'\. Did you mean 'dense2'\?"):
        pictures.distributions(network([3, 4, 2]), ["dens2"])


def test_nearly_equal_values_have_a_histogram() -> None:
    a = np.ones((9, 9))
    a[0] = np.nextafter(1, 2)
    stairs = pictures.distributions({"dense1": a}).axes[0].patches[0]
    assert isinstance(stairs, StepPatch)
    counts, _, _ = stairs.get_data()
    assert counts.sum() == a.size


@pytest.fixture(scope="module")
def history() -> list[Epoch]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    return FFNN([3, 4, 2]).fit(x, y, epochs=3, validation=(x, y), verbose=False)


@pytest.mark.parametrize("of", ["weights", "gradients"])
def test_bands_follow_the_quantiles(history: list[Epoch], of: str) -> None:
    figure = pictures.movement(history, of)
    for ax, name in zip(figure.axes, ("dense1", "dense2"), strict=True):
        q = np.array([getattr(epoch, of)[name] for epoch in history])
        (median,) = ax.lines
        np.testing.assert_array_equal(median.get_xydata(), np.column_stack([[1, 2, 3], q[:, 2]]))
        for band, low, high in zip(ax.collections, (q[:, 0], q[:, 1]), (q[:, 4], q[:, 3]), strict=True):
            heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
            assert {*low, *high} <= {*heights} <= {*low, *high, *low[-1:], *high[-1:]}
    assert {"5 to 95 %", "25 to 75 %", "median"} <= set(texts(figure))


def test_curves_show_what_was_measured(history: list[Epoch]) -> None:
    loss, accuracy = pictures.curves(history).axes
    shown = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in loss.lines}
    assert shown == {
        "train": [epoch.train_loss for epoch in history],
        "validation": [epoch.validation_loss for epoch in history],
    }
    assert np.asarray(accuracy.lines[0].get_ydata()).tolist() == [epoch.validation_accuracy for epoch in history]


def test_what_was_not_measured_is_not_shown() -> None:
    figure = pictures.lines([1, 2], {"train": [0.5, 0.4], "validation": [None, None]}, {"validation": [None, None]})
    (ax,) = figure.axes
    assert [line.get_label() for line in ax.lines] == ["train"]
    (ax,) = pictures.lines(np.arange(2), {"train": np.array([np.nan, 0.4])}).axes
    assert np.isnan(np.asarray(ax.lines[0].get_ydata())[0])


@pytest.mark.parametrize(
    ("draw", "error", "words"),
    [
        (lambda: pictures.movement([]), NetworkError, "nothing to draw"),
        (lambda: pictures.movement([], "weight"), NetworkError, "Did you mean 'weights'?"),
        (lambda: pictures.bands([1, 2], {"dense1": np.ones((2, 4))}), NetworkError, r"expected quantiles \(2, 5\)"),
        (lambda: pictures.bands([1, 2], {"dense1": np.ones((3, 5))}), NetworkError, r"expected quantiles \(2, 5\)"),
        (lambda: pictures.curves([]), NetworkError, "nothing to draw"),
        (lambda: pictures.lines([1, 2], {"train": [0.5]}), DataError, "train: expected 2 values"),
        (lambda: pictures.distributions({"a": np.array([[np.inf], [0]])}), NetworkError, "a holds a value that is not"),
    ],
)
def test_what_has_no_course(draw: Callable[[], Figure], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        draw()


# -- what it has learned, and what it gets wrong ---------------------------------------------------------------


def test_a_confusion_matrix_prints_every_count_and_colours_by_row() -> None:
    counts = np.random.default_rng(0).integers(0, 2000, (10, 10))
    counts[3] = 0
    ax = pictures.confusion(counts, FASHION).axes[0]
    printed = {text.get_position(): text.get_text() for text in ax.texts}
    assert printed == {(j, i): f"{counts[i, j]:,}" for i, j in np.ndindex(10, 10)}
    shares = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shares.sum(axis=1), [1, 1, 1, 0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(shares[5] * counts[5].sum(), counts[5])
    assert [label.get_text() for label in ax.get_yticklabels()] == list(FASHION)
    assert [label.get_text() for label in ax.get_xticklabels()] == list(FASHION)


def luminance(rgb: Any) -> float:
    """WCAG 2.1's relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize(("ground", "ink"), [("#ffffff", "#222222"), ("#16181d", "#e6e6e6")])
def test_counts_are_legible_on_light_and_on_dark(ground: str, ink: str) -> None:
    shares = [0, 3, 10, 30, 50, 70, 72, 75, 80, 90, 100]
    with rc_context({"text.color": ink}):
        ax = pictures.confusion(np.array([[s, 100 - s, *[0] * 9] for s in shares])).axes[0]
    image = ax.images[0]
    for text in ax.texts:
        j, i = (int(v) for v in text.get_position())
        *cell, alpha = image.to_rgba(there(image.get_array())[i, j])
        behind = luminance(alpha * np.array(cell) + (1 - alpha) * np.array(colors.to_rgb(ground)))
        light, dark = sorted((luminance(colors.to_rgb(text.get_color())), behind), reverse=True)
        assert text.get_text() == "0" or (light + 0.05) / (dark + 0.05) > 4


def test_first_layer_weights_are_pictures_on_one_scale() -> None:
    weights = network([12, 40])["dense1"]
    figure = pictures.first_layer(weights, (3, 4), count=7)
    strength = (weights[:-1] ** 2).sum(axis=0)
    chosen = sorted(sorted(range(40), key=lambda i: -strength[i])[:7])
    shown = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in shown] == [f"neuron {i}" for i in chosen]
    for ax, i in zip(shown, chosen, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), weights[:-1, i].reshape(3, 4))
        assert ax.images[0].get_clim() == (-np.abs(weights[:-1, chosen]).max(), np.abs(weights[:-1, chosen]).max())
    assert "7 of 40 neurons of the first layer: the largest sums of squared weights" in texts(figure)
    assert "40 of 40 neurons of the first layer" in texts(pictures.first_layer(weights, (3, 4), count=99))
    with pytest.raises(NetworkError, match="inputs are not pictures of 4×4"):
        pictures.first_layer(weights, (4, 4))


@pytest.fixture
def answers() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 3, (2, 50))
    return {
        "images": rng.integers(0, 256, (50, 4, 5, 1), np.uint8), "labels": labels, "predictions": predictions,
        "probabilities": rng.dirichlet(np.ones(3), 50), "classes": ["a", "b", "$c$"],
    }  # fmt: skip


def test_the_most_confident_mistakes_first_and_grey_stays_grey(answers: dict[str, Any]) -> None:
    wrong = [i for i in range(50) if answers["labels"][i] != answers["predictions"][i]]
    p = {i: answers["probabilities"][i, answers["predictions"][i]] for i in wrong}
    first = sorted(wrong, key=lambda i: -p[i])[:8]
    figure = pictures.misclassified(**answers, count=8)
    names = answers["classes"]
    assert [ax.get_title() for ax in figure.axes] == [
        f"{names[answers['labels'][i]]} → {names[answers['predictions'][i]]}\n{100 * p[i]:.0f} %" for i in first
    ]
    for ax, i in zip(figure.axes, first, strict=True):
        pixels = np.asarray(ax.images[0].get_array())
        assert pixels.shape == (4, 5, 3)  # a colour, so that no colour map is applied
        np.testing.assert_array_equal(pixels, np.repeat(answers["images"][i], 3, axis=2))
    assert f"8 of {len(wrong)} wrongly classified of 50: the most confident first" in texts(figure)
    figure.savefig(io.BytesIO())


@pytest.mark.slow
def test_pictures_as_floats_in_colour_and_with_one_probability_each(answers: dict[str, Any]) -> None:
    own = answers["probabilities"][np.arange(50), answers["predictions"]]
    titles = [ax.get_title() for ax in pictures.misclassified(**answers).axes]
    for images in (answers["images"][..., 0], answers["images"] / 255, np.repeat(answers["images"], 3, axis=3)):
        figure = pictures.misclassified(**{**answers, "images": images, "probabilities": own})
        assert [ax.get_title() for ax in figure.axes] == titles
        whole = pictures.misclassified(**answers).axes
        for ax, same in zip(figure.axes, whole, strict=True):
            np.testing.assert_array_equal(ax.images[0].get_array(), same.images[0].get_array())


def test_no_mistakes_are_a_picture_too(answers: dict[str, Any]) -> None:
    figure = pictures.misclassified(**{**answers, "predictions": answers["labels"]})
    assert not figure.axes and texts(figure) == ["Of 50 pictures none is wrongly classified."]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": np.zeros((50, 4), np.uint8)}, "images: expected"),
        ({"images": np.zeros((50, 4, 4, 2), np.uint8)}, "1 or 3 channels"),
        ({"images": np.full((50, 4, 4), 1.5)}, "floats in 0…1"),
        ({"labels": np.zeros(49, int)}, "labels: expected 50 class numbers below 3"),
        ({"predictions": np.full(50, 3)}, "predictions: expected 50 class numbers below 3"),
        ({"probabilities": np.ones((50, 2))}, r"probabilities: expected \(50,\) or \(50, 3\)"),
    ],
)
def test_pictures_that_do_not_fit(answers: dict[str, Any], change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        pictures.misclassified(**{**answers, **change})


@pytest.mark.parametrize(
    "matrix", [np.ones((2, 3), int), np.ones((2, 2)), -np.eye(2, dtype=int), np.zeros((0, 0), int)]
)
def test_what_is_no_confusion_matrix(matrix: Array) -> None:
    with pytest.raises(DataError, match="a confusion matrix holds counts"):
        pictures.confusion(matrix)


def test_as_many_names_as_classes() -> None:
    with pytest.raises(DataError, match="expected 2 names of the classes, got 3"):
        pictures.confusion(np.eye(2, dtype=int), ["a", "b", "c"])


# -- all of them -----------------------------------------------------------------------------------------------


def each(history: list[Epoch], answers: dict[str, Any]) -> Iterator[Figure]:
    weights = network([4, 3, 2])
    yield pictures.graph(weights, weights)
    yield pictures.graph(network([50, 40, 30]))
    yield pictures.distributions(weights, log=True)
    yield pictures.movement(history)
    yield pictures.curves(history)
    yield pictures.confusion(np.eye(4, dtype=int), ["a", "$b$", "c", "d"])
    yield pictures.first_layer(weights["dense1"], (2, 2))
    yield pictures.misclassified(**answers, count=3)


@pytest.mark.slow
def test_nothing_is_shown_or_changed_and_the_colours_are_those_asked_for(
    history: list[Epoch], answers: dict[str, Any]
) -> None:
    ink = "#123456"
    asked: dict[Any, str] = {f"{what}.color": ink for what in ("text", "xtick", "ytick")} | {"axes.labelcolor": ink}
    with rc_context(asked):
        before = dict(rcParams)
        figures = list(each(history, answers))
        assert dict(rcParams) == before
    for figure in figures:  # drawn later, under other colours
        figure.savefig(io.BytesIO(), format="svg")
        written = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert {colors.to_hex(text.get_color()) for text in written} <= {ink, "#ffffff"}
        assert not any(text.get_parse_math() for text in written if "$" in text.get_text())
    assert not Gcf.figs
