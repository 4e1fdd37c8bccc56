"""What the report says of networks that tell classes apart: the numbers that were measured, on charts and in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from html import escape, unescape

import numpy as np
import pytest

from conftest import Trained
from sanggar.evaluation.measures.classification import reliability
from sanggar.reporting.page import view
from sanggar.reporting.sections import SECTIONS
from sanggar.reporting.view import View
from sanggar.runs import Run, load_arrays


@pytest.fixture(scope="module")
def whole(ffnn_run: Run) -> View:
    return view(ffnn_run)


@pytest.fixture(scope="module")
def section(whole: View) -> Callable[..., str]:
    """A section as HTML: of the tiny run, or of the views that are given."""

    @cache
    def of_the_tiny_run(name: str) -> str | None:
        return SECTIONS[name][1]([whole])

    def write(name: str, *views: View) -> str:
        html = SECTIONS[name][1](list(views)) if views else of_the_tiny_run(name)
        assert html is not None
        return html

    return write


def texts(html: str) -> list[str]:
    """What is written in the charts."""
    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", html)]


def words(html: str) -> list[str]:
    """What is said of the charts."""
    return [unescape(text) for text in re.findall(r'aria-label="([^"]*)"', html)]


def rows(html: str) -> list[list[str]]:
    """The cells of the first table's body, without tags."""
    body = html.split("<tbody>")[1].split("</tbody>")[0]
    return [
        [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", row)] for row in body.split("<tr>")[1:]
    ]


def alike(shares: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a network that gives these probabilities."""
    counts = np.zeros((shares.shape[1],) * 2, np.int64)
    np.add.at(counts, (labels, shares.argmax(axis=1)), 1)
    return {"classification.confusion": counts, "classification.reliability": reliability(shares, labels)}


# -- classes -----------------------------------------------------------------------------------------------------


def test_every_count_of_the_confusion_is_written_and_their_sums_are_those_of_the_test_split(
    whole: View, section: Callable[..., str]
) -> None:
    counts, names = whole.arrays["classification.confusion"], whole.info["data"]["classes"]
    drawn = section("classes").split("<figure")[1]
    shown = Counter(text for text in texts(drawn) if re.fullmatch(r"[\d,]+", text))
    assert shown == Counter(str(count) for count in counts.ravel().tolist()) + Counter(names * 2)
    assert counts.sum() == whole.find("classification.accuracy")[0].protocol.n == 200
    for index, name in enumerate(names):
        (recall,) = whole.find("classification.recall", **{"class": name})
        assert recall.protocol.settings.get("of", 200) == counts[index].sum()
        assert recall.value == pytest.approx(counts[index, index] / counts[index].sum())
        for precision in whole.find("classification.precision", **{"class": name}):
            assert precision.protocol.settings.get("of", 200) == counts[:, index].sum()


def test_the_table_holds_precision_and_recall_of_each_class(whole: View, section: Callable[..., str]) -> None:
    found = rows(section("classes"))
    assert [row[0] for row in found] == whole.info["data"]["classes"]
    missing = 0
    for name, precision, recall in found:
        for key, cell in (("precision", precision), ("recall", recall)):
            measured = whole.find(f"classification.{key}", **{"class": name})
            missing += not measured
            assert cell.startswith(f"{measured[0].value:#.4g}"[:5]) if measured else cell == "—"
    assert missing == sum(column == 0 for column in whole.arrays["classification.confusion"].sum(axis=0))


def test_the_worst_confusion_is_said(whole: View, section: Callable[..., str]) -> None:
    counts, names = whole.arrays["classification.confusion"].copy(), whole.info["data"]["classes"]
    counts[3, 7] = 999
    changed = replace(whole, arrays={**whole.arrays, "classification.confusion": counts})
    (said,) = [text for text in words(section("classes", changed)) if "confusion matrix" in text]
    assert said.endswith(f"Most often confused: {names[3]} taken for {names[7]}.")


def test_of_a_network_without_mistakes_none_are_told(whole: View, section: Callable[..., str]) -> None:
    labels = np.arange(30) % 10
    arrays = alike(np.eye(10, dtype=np.float32)[labels], labels)
    none = {"classification.mistakes": whole.arrays["classification.mistakes"][:0]}
    perfect = replace(whole, arrays={**whole.arrays, **arrays, **none})
    assert SECTIONS["mistakes"][1]([perfect]) is None
    (said,) = [text for text in words(section("classes", perfect)) if "confusion matrix" in text]
    assert "Most often confused" not in said
    assert "100 % of the pictures have a confidence of 1.00 on average" in section("classes", perfect)


def test_confidence_is_drawn_against_accuracy(whole: View, section: Callable[..., str]) -> None:
    confidence, accuracy, share = whole.arrays["classification.reliability"].T
    assert share.sum() == pytest.approx(1)
    error = float((share * np.abs(confidence - accuracy)).sum())
    (calibration,) = whole.find("classification.calibration_error")
    assert calibration.value == pytest.approx(error, abs=1e-6)
    said = f"{100 * share[-1]:.0f} % of the pictures have a confidence of {confidence[-1]:.2f} on average"
    assert any(said in text for text in words(section("classes")))
    assert f"<p class=note>{said}, the right-most point.</p>" in section("classes")


# -- mistakes ----------------------------------------------------------------------------------------------------


def test_mistakes_are_shown_with_what_they_are_and_were_taken_for(whole: View, section: Callable[..., str]) -> None:
    html, names = section("mistakes"), whole.info["data"]["classes"]
    labels, shares = whole.arrays["classification.mistake_labels"], whole.arrays["classification.mistake_shares"]
    shown = re.findall(r'alt="(.) taken for (.)"[^>]*><figcaption>(.) → (.)<br>([\d.]+) %</figcaption>', html)
    assert len(shown) == len(labels) == 24
    for (true, said, again, once, percent), label, row in zip(shown, labels, shares, strict=True):
        assert (true, said) == (again, once) == (names[label], names[row.argmax()])
        assert float(percent) == pytest.approx(100 * row.max(), abs=0.06)
    wrong = 200 - int(np.trace(whole.arrays["classification.confusion"]))
    assert f"24 of {wrong} mistakes on 200 test pictures" in html


@pytest.mark.slow
def test_mistakes_in_colour_and_names_that_are_not_ours_are_shown_as_they_are(
    copied: Trained, section: Callable[..., str]
) -> None:
    run = copied("ffnn")
    names = ["<b>bold</b>", 'a "quoted" & long name of a class', *"23456789"]
    run.update(data={**run.info["data"], "classes": names, "channels": 3})
    changed = view(run)
    colour = {"classification.mistakes": np.repeat(changed.arrays["classification.mistakes"], 3, axis=3)}
    changed = replace(changed, arrays={**changed.arrays, **colour})
    for name in ("classes", "mistakes", "network", "neurons"):
        html = section(name, changed)
        assert "<b>bold" not in html
        assert "& " not in html
    assert f"<td>{escape(names[0])}</td>" in section("classes", changed)
    assert all(mark not in "".join(words(section("classes", changed))) for mark in ("&lt;", "&amp;"))
    assert len(re.findall("<img", section("mistakes", changed))) == 24
    assert "as pictures of" not in section("neurons", changed), "weights of three colours are no grey pictures"


# -- training and neurons ----------------------------------------------------------------------------------------


def test_what_was_watched_is_drawn_by_its_name_and_ends_where_it_ended(
    whole: View, section: Callable[..., str]
) -> None:
    last = whole.metrics[-1]["watched"]
    (said,) = words(section("watched"))
    for split in ("train", "validation"):
        assert f"{split} ends at {last[split]['ffnn/accuracy']:.4f}" in said
    assert {"ffnn/accuracy", "epoch", "train", "validation"} <= set(texts(section("watched")))
    (loss,) = words(section("loss"))
    assert "accuracy" not in loss
    assert f"validation ends at {whole.metrics[-1]['validation']['ffnn/categorical_cross_entropy']:.4f}" in loss


def test_the_network_is_drawn_with_its_widths(section: Callable[..., str]) -> None:
    (said,) = words(section("network"))
    assert "64-5-10" in said
    assert "gradients" in said
    assert {"dense1", "dense2", "weights", "gradients"} <= set(texts(section("network")))


@pytest.mark.slow
def test_weights_and_gradients_are_described_by_layer(whole: View, section: Callable[..., str]) -> None:
    said = words(section("neurons"))
    assert len(said) == 5
    weights = load_arrays(whole.run.weights_file)[0]
    for of, text in (("weights", said[0]), ("gradients", said[2])):
        for layer in ("dense1", "dense2"):
            array = whole.arrays[f"classification.{of}.{layer}"]
            assert f"{layer} {array.std():.3g}" in text
            if of == "weights":
                np.testing.assert_array_equal(array, weights[f"{layer}.neurons"])
    assert "as pictures of 8×8 pixels" in said[4]


def test_of_two_runs_each_is_called_by_its_name(whole: View, section: Callable[..., str]) -> None:
    views = [replace(whole, name=name) for name in ("first", "second")]
    for name in ("classes", "mistakes"):
        assert re.findall(r"<h3>(.*?)</h3>", section(name, *views)) == ["first", "second"]
        assert "<h3>" not in section(name)
    assert {f"{run}, {split}" for run in ("first", "second") for split in ("train", "validation")} <= set(
        texts(section("watched", *views))
    )


def test_a_run_that_draws_no_pictures_has_no_samples(ffnn_run: Run) -> None:
    assert not ffnn_run.samples_folder.exists()
    assert SECTIONS["training"][1]([view(ffnn_run)]) is None
