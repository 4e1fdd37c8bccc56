"""Sections about networks that draw, on made-up runs: what is shown is what was measured, and nothing is ranked that
does not compare."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import Trained
from sanggar.data.images import grid
from sanggar.reporting.page import view
from sanggar.reporting.sections import SECTIONS, generation, training
from sanggar.reporting.view import View
from sanggar.results import FLOOR, FORMAT, NETWORK, Evaluation, Measurement, Protocol, Tag
from sanggar.runs import Run
from typed import FACTS

NAMES = ["<b>cat</b>", 'a "big" & red truck with a long name', "ship"]
SAID = ("generation", "asked", "samples", "loss", "training", "walks", "truncation", "neighbours")
Made = Callable[..., View]


def number(
    key: str, value: float, subject: str = NETWORK, tags: dict[str, Tag] | None = None, **settings: Any
) -> Measurement:  # fmt: skip
    return Measurement(
        key=f"generation.{key}", value=value, subject=subject, tags=tags or {}, headline=subject == NETWORK,
        better="lower" if key in ("frechet", "kernel", "class_frechet") else "higher",
        protocol=Protocol(n=500, data="made-up", settings={"network": "judge <i>", **settings}),
    )  # fmt: skip


def both(key: str, value: float, floor: float, **how: Any) -> list[Measurement]:
    return [number(key, value, **how), number(key, floor, FLOOR, **how)]


def by_class(key: str, values: tuple[float, ...]) -> list[Measurement]:
    return [m for name, found in zip(NAMES, values, strict=True) for m in both(key, found, 1.0, tags={"class": name})]


def evaluation(measurements: list[Measurement], **details: Any) -> Evaluation:
    return Evaluation(
        format=FORMAT, package="0", step=1, weights="final", measurements=tuple(measurements), details=details
    )


def changed(measurements: list[Measurement], key: str, times: float) -> list[Measurement]:
    """The same, but for one quantity that is so many times as large."""
    return [
        m.model_copy(update={"value": m.value * times}) if m.key == f"generation.{key}" else m for m in measurements
    ]


def on(measurements: list[Measurement], n: int) -> list[Measurement]:
    """The same on another number of pictures."""
    return [m.model_copy(update={"protocol": m.protocol.on(n)}) for m in measurements]


NUMBERS = [
    *both("frechet", 3.0, 1.5), *both("kernel", 0.02, -0.001), *both("kernel_deviation", 0.004, 0.003),
    *both("recall", 0.25, 0.75), *both("memorization", 0.125, 0.01, near="<very>"),
    *by_class("class_frechet", (2.0, 8.0, 5.0)), *by_class("class_agreement", (0.5, 1.0, 0.75)),
]  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A run of a network that draws, as its files would tell of it."""

    def make(
        name: str = "drawn & <i>", *, conditional: bool = True, channels: int = 1, previews: int = 5,
        numbers: list[Measurement] = NUMBERS,
    ) -> View:  # fmt: skip
        random = np.random.default_rng(0)

        def noise(*shape: int) -> np.ndarray:
            return random.integers(0, 256, (*shape, 6, 7, channels), dtype=np.uint8)

        data = FACTS | {"channels": channels, "classes": list(NAMES)}
        run = Run.create(
            tmp_path / str(len(list(tmp_path.iterdir()))), "{}", {"name": name, "status": "finished", "data": data}
        )
        run.samples_folder.mkdir()
        columns = 3 if conditional else 8
        for step in range(1, previews + 1):
            sheet = grid(noise(8 * columns), columns=columns, scale=2)
            Image.fromarray(sheet).save(run.samples_folder / f"step-{step * 1000:08d}.png")
        arrays = {
            "samples": noise(12), "walks": noise(4, 5), "truncation_levels": np.array([1.0, 0.5]),
            "truncation_pictures": noise(2, 4), "truncation_frechet": np.array([3.0, 4.5]),
            "truncation_recall": np.array([0.25, 0.125]), "neighbours": noise(4, 2),
            "neighbour_distances": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        }  # fmt: skip
        if conditional:
            arrays["labels"] = np.repeat(np.arange(3), 4)
        arrays = {f"generation.{key}": array for key, array in arrays.items()}
        metrics = [
            {
                "step": i, "epoch": i / 2, "network": {}, "watched": {},
                "train": {"critic/adversarial": 1.0 + i, "generator/adversarial": 2.0}
                | ({"critic/r1": 0.5} if i % 2 else {}),
                "validation": {"critic/adversarial": -1.0, "generator/adversarial": 3.0 - i},
            }
            for i in range(1, 4)
        ]  # fmt: skip
        found = evaluation(numbers, generation={"columns": 4, "truncation_n": 1000})
        return View(name, run, metrics, found, arrays)

    return make


def written(section: str, *views: View) -> str:
    html = SECTIONS[section][1](list(views))
    assert html is not None
    return html


def pictures(html: str) -> list[np.ndarray]:
    """Every PNG that is shown, in its order."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGBA")) for code in found]


def words(html: str) -> list[str]:
    """What is said of charts and pictures."""
    return [unescape(text) for text in re.findall(r'(?:aria-label|alt)="([^"]*)"', html)]


def rows(html: str) -> list[list[str]]:
    """The cells of the table's body."""
    found = re.search(r"<tbody>(.*?)</tbody>", html)
    assert found
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in found[1].split("<tr>")[1:]]


def colours(array: np.ndarray) -> np.ndarray:
    return np.broadcast_to(array, (*array.shape[:-1], 3))


# -- what every section promises ---------------------------------------------------------------------------------


@pytest.mark.parametrize("section", SAID)
def test_names_that_are_not_ours_are_shown_as_they_are(made: Made, section: str) -> None:
    drawn = made()
    html = written(section, drawn, replace(drawn, name="<another> & one"))
    assert "<b>cat" not in html
    assert "<i>" not in html
    assert "<another>" not in html
    assert "& " not in html
    assert all("&lt;" not in text and "&amp;" not in text for text in words(html))


@pytest.mark.parametrize("section", SAID)
def test_without_what_it_is_about_a_section_is_left_out(made: Made, section: str) -> None:
    bare = replace(made(previews=2), metrics=[], arrays={}, evaluation=evaluation([]))
    assert SECTIONS[section][1]([bare]) is None


@pytest.mark.parametrize("section", SAID)
def test_runs_of_one_page_are_called_by_their_names(made: Made, section: str) -> None:
    one, other = made("one"), made("other", conditional=False, channels=3)
    html = written(section, one, other)
    assert re.findall(r"<(?:h3|th class=n)>(one|other)</", html) == ["one", "other"]
    assert "<h3>" not in written(section, one)


# -- numbers -----------------------------------------------------------------------------------------------------


def test_every_number_stands_beside_that_of_real_pictures(made: Made) -> None:
    found = rows(written("generation", made()))
    assert [row[0].split("&nbsp;")[0] for row in found] == [
        "Fréchet distance (judge &lt;i&gt;)", "kernel distance (judge &lt;i&gt;)", "recall", "near a training picture",
    ]  # fmt: skip
    frechet, kernel, recall, _ = found
    assert "↓" in frechet[0]
    assert frechet[1:] == ["3.000 <small>2.0 ×</small>", "1.500"]
    assert kernel[1] == "0.02000 <small>deviation 0.0040</small>"
    assert kernel[2].startswith("−0.001000")
    assert "↑" in recall[0]
    assert recall[1:] == ["0.2500", "0.7500"]


def test_only_numbers_of_one_protocol_share_a_row_and_are_ranked(made: Made) -> None:
    better, other = changed(NUMBERS, "frechet", 0.5), on(NUMBERS, 1000)
    ranked = rows(written("generation", made("a"), made("b", numbers=better)))
    assert len(ranked) == 4
    assert ["<b>" in cell for cell in ranked[0]] == [False, False, True, False]
    assert not any("<b>" in cell for row in ranked[1:] for cell in row)
    wider = changed(NUMBERS, "kernel_deviation", 2)
    kernel = rows(written("generation", made("a"), made("b", numbers=wider)))[1]
    assert [cell.split("deviation ")[1] for cell in kernel[1:]] == [
        "0.0040</small>",
        "0.0080</small>",
        "0.0030</small>",
    ]
    apart = rows(written("generation", made("a"), made("b", numbers=other)))
    assert len(apart) == 8
    assert all(row.count("—") == 1 for row in apart)
    assert "<b>" not in written("generation", made("a"), made("b", numbers=other))


def test_a_run_without_real_pictures_beside_it_is_still_told(made: Made) -> None:
    alone = [m for m in NUMBERS if m.subject == NETWORK]
    assert rows(written("generation", made(numbers=alone)))[0][1:3] == ["3.000", "—"]


def test_of_classes_the_worst_is_named(made: Made) -> None:
    distance, agreement = (text for text in words(written("asked", made())))
    assert f"is 5.00; the worst is {NAMES[1]} with 8.00, 1.6 times the mean." in distance
    assert f"is 0.750; the worst is {NAMES[0]} with 0.500." in agreement


def test_classes_that_were_not_measured_have_no_bar(made: Made) -> None:
    some = [m for m in NUMBERS if m.tags.get("class") in (None, "ship")]
    html = written("asked", made(numbers=some))
    assert html.count("the worst is ship") == 4, "in words and below, of both charts"
    assert html.count(f"Not measured, for want of pictures: {escape(', '.join(NAMES[:2]))}.") == 4


# -- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_shown_as_they_are_a_row_a_class(made: Made, channels: int) -> None:
    drawn = made(channels=channels)
    html = written("samples", drawn)
    assert [unescape(name) for name in re.findall(r"<span>(.*?)</span>", html)] == NAMES
    strips = pictures(html)
    for strip, expected in zip(strips, drawn.arrays["generation.samples"].reshape(3, 4, 6, 7, channels), strict=True):
        assert strip.shape == (6, 4 * 8 - 1, 4)
        for column, picture in enumerate(expected):
            np.testing.assert_array_equal(strip[:, column * 8 : column * 8 + 7, :3], colours(picture))


def test_samples_without_classes_are_one_sheet(made: Made) -> None:
    drawn = made(conditional=False)
    (sheet,) = pictures(written("samples", drawn))
    for i, picture in enumerate(drawn.arrays["generation.samples"]):
        top, left = 7 * (i // 4), 8 * (i % 4)
        np.testing.assert_array_equal(sheet[top : top + 6, left : left + 7, :3], colours(picture))
    assert (sheet[..., 3] == 0).any(), "gaps let the page through"


@pytest.mark.parametrize("conditional", [True, False])
def test_walks_name_the_class_where_there_is_one(made: Made, conditional: bool) -> None:
    html = written("walks", made(conditional=conditional))
    assert len(pictures(html)) == 4
    assert ("class ship" in html) == conditional


def test_truncation_says_what_each_level_costs(made: Made) -> None:
    html = written("truncation", made("one"))
    assert re.findall(r"<span>(.*?)</span>", html) == [
        "level 1 · distance 3.00 · recall 0.250", "level 0.5 · distance 4.50 · recall 0.125",
    ]  # fmt: skip
    assert "one: recall 0.250 and distance 3.00 without truncation, 0.125 and 4.50 at the strongest" in words(html)[-1]


def test_truncation_of_runs_measured_alike_shares_a_chart(made: Made) -> None:
    other = on(NUMBERS, 1000)
    assert written("truncation", made("a"), made("b")).count("<svg") == 1
    assert written("truncation", made("a"), made("b", numbers=other)).count("<svg") == 2


def test_truncation_without_numbers_is_pictures_alone(made: Made) -> None:
    drawn = made()
    kept = {key: array for key, array in drawn.arrays.items() if not key.endswith(("frechet", "recall"))}
    html = written("truncation", replace(drawn, arrays=kept))
    assert re.findall(r"<span>(.*?)</span>", html) == ["level 1", "level 0.5"]
    assert "<svg" not in html


def test_neighbours_stand_below_their_picture_with_their_distances(made: Made) -> None:
    drawn = made()
    html = written("neighbours", drawn)
    assert re.findall(r"<figcaption>(.*?)</figcaption>", html) == ["1.0, 3.0, 5.0", "2.0, 4.0, 6.0"]
    for column, shown in enumerate(pictures(html)):
        first, *others = drawn.arrays["generation.neighbours"][:, column]
        np.testing.assert_array_equal(shown[:6, :, :3], colours(first))
        np.testing.assert_array_equal(shown[-6:, :, :3], colours(others[-1]))
        np.testing.assert_array_equal(shown[-20:-14, :, :3], colours(others[0]))
    assert rows(html) == [["near a training picture <small>(&lt;very&gt;)</small>", "0.1250", "0.01000"]]


# -- as training went --------------------------------------------------------------------------------------------


@given(
    lines=st.integers(1, 4), columns=st.integers(1, 4), height=st.integers(1, 5), width=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
)  # fmt: skip
def test_a_preview_is_taken_apart_as_training_put_it_together(
    tmp_path_factory: pytest.TempPathFactory, lines: int, columns: int, height: int, width: int, channels: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    data = FACTS | {"height": height, "width": width}
    run = Run.create(folder, "{}", {"name": "x", "status": "finished", "data": data})
    drawn = np.random.default_rng(lines).integers(0, 256, (lines, columns, height, width, channels), dtype=np.uint8)
    sheet = grid(drawn.reshape(-1, height, width, channels), columns=columns, scale=2)
    Image.fromarray(sheet).save(folder / "step-00000001.png")
    view = View("x", run, [], evaluation([]), {})
    np.testing.assert_array_equal(training._preview(folder / "step-00000001.png", view), drawn)


@given(count=st.integers(1, 5000), wanted=st.integers(2, 40))
def test_moments_begin_at_the_first_end_at_the_last_and_are_not_too_many(count: int, wanted: int) -> None:
    found = training._spread(count, wanted)
    assert found[0] == 0
    assert found[-1] == count - 1
    assert found == sorted(set(found))
    assert len(found) <= wanted


@pytest.mark.parametrize("previews", [3, 60])
def test_the_same_latents_are_shown_standing_and_moving(made: Made, previews: int) -> None:
    drawn = made("one", previews=previews)
    html = written("training", drawn)
    files = sorted(drawn.run.samples_folder.iterdir())
    strips = pictures(html)
    assert len(strips) == min(previews, training.MOMENTS) or previews == 60
    assert re.findall(r"<span>(.*?)</span>", html)[:: len(strips) - 1] == ["step 1,000", f"step {previews},000"]
    first = training._preview(files[0], drawn)
    np.testing.assert_array_equal(strips[0][:, :7, :3], colours(first[0, 0]))

    (code,) = re.findall(r'<img src="data:image/webp;base64,([^"]+)"', html)
    moving: Any = Image.open(io.BytesIO(base64.b64decode(code)))
    assert moving.n_frames == min(previews, training.FRAMES)
    assert moving.info["loop"] == 0
    shown = np.asarray(moving.convert("RGB"))
    np.testing.assert_array_equal(shown[:6, :7], colours(first[0, 0]))
    np.testing.assert_array_equal(shown[7:13, 8:15], colours(first[1, 1]))
    moving.seek(moving.n_frames - 1)
    (still,) = re.findall(r'<source media="([^"]*)" srcset="data:image/png;base64,([^"]+)"', html)
    assert "prefers-reduced-motion: reduce" in still[0]
    last = np.asarray(Image.open(io.BytesIO(base64.b64decode(still[1]))))
    np.testing.assert_array_equal(last, np.asarray(moving.convert("RGB")))
    assert (last[-1] == training.DONE).all(), "the whole way is gone"
    assert any(f"from step 1,000 to step {previews},000" in text for text in words(html))


def test_rows_of_clean_and_reconstructed_are_only_told_of_networks_that_reconstruct(made: Made) -> None:
    drawn = made()
    assert "reconstructed" not in written("training", drawn)
    other = {key: array for key, array in drawn.arrays.items() if key != "generation.samples"}
    assert "clean, as shown, reconstructed" in written("training", replace(drawn, arrays=other))


def test_each_phase_has_a_loss_of_its_own_and_penalties_stand_apart(made: Made) -> None:
    html = written("loss", made("one"))
    losses, penalties = words(html)
    for said in (
        "critic, train ends at 4.0000", "critic, validation ends at -1.0000", "generator, train ends at 2.0000",
        "generator, validation ends at 0.0000",
    ):  # fmt: skip
        assert said in losses
    assert "critic/r1, train ends at 0.5000" in penalties
    assert "r1" not in losses
    assert [row[0] for row in rows(html)][-1] == "critic/r1, train"
    assert "say nothing of quality" in html


def test_one_phase_keeps_its_chart_beside_several(made: Made) -> None:
    line = {"step": 1, "epoch": 1.0, "train": {"a/mse": 1.0, "a/mae": 2.0}, "validation": {"a/mse": 3.0, "a/mae": 4.0}}
    other = replace(made("other"), metrics=[line, line])
    html = written("loss", made("one"), other)
    assert any("other, train ends at 3.0000; other, validation ends at 7.0000" in text for text in words(html))
    assert any("generator, train ends at" in text for text in words(html))
    assert "say nothing of quality" not in written("loss", other)


# -- a trained one -----------------------------------------------------------------------------------------------


def test_what_the_evaluation_leaves_is_what_the_sections_look_for(trained: Trained) -> None:
    whole = view(trained("gan"))
    names = whole.info["data"]["classes"]
    assert [re.findall(r"<span>(.*?)</span>", written("samples", whole))] == [names]
    assert f"classes from left to right: {', '.join(names)}" in written("training", whole)
    found = rows(written("generation", whole))
    assert len(found) == len(generation.MEASURED)
    assert all("—" not in row for row in found)
    for section in ("asked", "walks", "truncation", "neighbours"):
        written(section, whole)
