"""The run directory: written whole or not at all, every damage noticed, nothing accepted in silence."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sanggar.errors import RunError
from sanggar.files import write_atomic
from sanggar.reporting.figures import number
from sanggar.results.stored import read, read_arrays, read_tools, save
from sanggar.runs import FORMAT, Arrays, Log, Run, find, fresh_folder, load_arrays, rounded, save_arrays

# -- writing ---------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "x"
    for content in (b"old", b"new and longer", b""):
        write_atomic(path, content)
        assert path.read_bytes() == content
        assert [p.name for p in path.parent.iterdir()] == ["x"]


def test_a_full_disk_leaves_the_old_file_and_one_clear_message(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", b"old")
    script = """
        import resource, signal, sys
        from pathlib import Path
        from sanggar.errors import RunError
        from sanggar.files import write_atomic
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomic(Path(sys.argv[1]), b"n" * 5000)
        except RunError as error:
            print(error)
    """
    pytest.importorskip("resource")
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "x")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"Cannot write {tmp_path / 'x'}: File too large.")
    assert len(said.splitlines()) == 1
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"old")]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"Cannot write .*file/run/.*: .*another place with --out"):
        Run.create(tmp_path / "file" / "run", "", {})


def test_a_run_is_never_made_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    for path in (tmp_path, tmp_path / "kept"):
        with pytest.raises(RunError, match="already exists and is not empty"):
            Run.create(path, "", {})
    (tmp_path / "empty").mkdir()
    assert Run.create(tmp_path / "empty", "a: 1\n", {"name": "n", "status": "training"}).recipe_text() == "a: 1\n"


# -- arrays ----------------------------------------------------------------------------------------------------

KINDS = st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.bool_])
ARRAYS = st.dictionaries(
    st.text("abcxyz._0é ", min_size=1, max_size=12),
    KINDS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))),
    max_size=4,
)
META = st.dictionaries(
    st.text(max_size=5), st.none() | st.integers() | st.floats(allow_nan=False) | st.text(), max_size=4
)


@given(arrays=ARRAYS, meta=META)
def test_arrays_are_loaded_as_they_were_saved(
    tmp_path_factory: pytest.TempPathFactory, arrays: Arrays, meta: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "arrays.safetensors"
    save_arrays(path, arrays, meta)
    found, said = load_arrays(path)
    assert said == meta
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_arrays_in_any_memory_order_are_saved(tmp_path: Path) -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    save_arrays(tmp_path / "x", {"turned": array.T, "parted": array[:, ::2], "fortran": np.asfortranarray(array)})
    found, _ = load_arrays(tmp_path / "x")
    np.testing.assert_array_equal(found["turned"], array.T)
    np.testing.assert_array_equal(found["parted"], array[:, ::2])
    np.testing.assert_array_equal(found["fortran"], array)


def test_equal_content_is_equal_files(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(8)]
    for file in files:
        save_arrays(file, {"b": np.ones(3), "a": np.zeros((2, 2), np.float32)}, {"step": 3, "about": "x"})
    assert len({file.read_bytes() for file in files}) == 1


def test_no_flipped_bit_is_accepted_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    arrays = {"encoder.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(7)}
    save_arrays(path, arrays, {"step": 41, "sums": {"reconstruction": 0.5}, "lowest": None, "stopped_early": False})
    whole = path.read_bytes()
    meta = load_arrays(path)[1]
    accepted = []
    for place in range(len(whole)):
        for bit in (0x01, 0x10, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            try:
                found, said = load_arrays(path)
            except RunError as error:
                assert "damaged" in str(error)
                continue
            same = said == meta and all(np.array_equal(found[name], array) for name, array in arrays.items())
            if not same:
                accepted.append((place, whole[max(0, place - 12) : place + 12]))
    assert not accepted


@pytest.mark.parametrize("kept", [0, 4, 8, 60, -1])
def test_a_file_cut_short_is_damaged(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.safetensors"
    save_arrays(path, {"a": np.ones(100, np.float32)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match=r"x\.safetensors is damaged: not a whole safetensors file"):
        load_arrays(path)


def test_arrays_without_a_checksum_are_not_believed(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.ones(3, np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(RunError, match="is damaged: it carries no checksum"):
        load_arrays(tmp_path / "x.safetensors")
    with pytest.raises(RunError, match="There is no file"):
        load_arrays(tmp_path / "gone")


@pytest.mark.parametrize("name", ["weights_file", "checkpoint_file", "arrays_file", "tools_file"])
def test_a_flipped_byte_in_any_part_of_a_run_is_reported_by_its_checksum(copied_run: Run, name: str) -> None:
    path: Path = getattr(copied_run, name)
    content = bytearray(path.read_bytes())
    header = int.from_bytes(content[:8], "little")
    for place in (8 + header, (8 + header + len(content)) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 0x04
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"is damaged: its content has SHA-256 [0-9a-f]{16}…, but [0-9a-f]{16}…"):
            load_arrays(path)


# -- the record ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "words"), [
    (b"", "is damaged"),
    (b'{"format": 1, "name"', "is damaged"),
    (b"[]", "is damaged"),
    (b"\xff\xfe", "is damaged"),
    (b'{"name": "x"}', "is damaged"),
    (b'{"format": 1}', "is damaged"),
    (b'{"format": "one"}', "is damaged"),
    (b'{"format": Infinity}', "is damaged"),
    (b'{"format": 2, "name": "x"}', "is damaged"),
    (b'{"format": 0, "name": "x", "status": "finished"}', "is damaged"),
    (b'{"format": -1, "name": "x", "status": "finished"}', "is damaged"),
    (b'{"format": 99, "package": "7.1"}', "was written by a newer sanggar (7.1, format 99)"),
])  # fmt: skip
def test_a_damaged_or_newer_record_is_refused(copied_run: Run, content: bytes, words: str) -> None:
    copied_run.info_file.write_bytes(content)
    with pytest.raises(RunError) as raised:
        Run(copied_run.path)
    assert words in str(raised.value)
    assert str(copied_run.path) in str(raised.value)


def test_what_is_no_run_is_told_from_what_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run directory"):
        Run(tmp_path / "gone")
    with pytest.raises(RunError, match=r"is not a run directory, or was half-written: it has no run\.json"):
        Run(tmp_path)


def test_a_run_says_what_it_lacks(copied_run: Run) -> None:
    def written(file: Path) -> Callable[[], object]:
        return lambda: file.write_text("{")

    for damage, ask, words in (
        (copied_run.arrays_file.unlink, read_arrays, "There is no file"),
        (written(copied_run.arrays_file), read_arrays, "is damaged: not a whole safetensors file"),
        (written(copied_run.tools_file), read_tools, "is damaged: not a whole safetensors file"),
        (copied_run.evaluation_file.unlink, read, "was not evaluated yet; `sanggar evaluate"),
        (copied_run.evaluation_file.exists, read_arrays, "was not evaluated yet; `sanggar evaluate"),
        (copied_run.evaluation_file.exists, read_tools, "was not evaluated yet; `sanggar evaluate"),
        (written(copied_run.evaluation_file), read, "is damaged; `sanggar evaluate"),
        (written(copied_run.evaluation_file), read_arrays, "is damaged; `sanggar evaluate"),
        (written(copied_run.evaluation_file), read_tools, "is damaged; `sanggar evaluate"),
        (copied_run.recipe_file.unlink, Run.recipe_text, "recipe.yaml is missing"),
    ):
        damage()
        with pytest.raises(RunError) as raised:
            ask(copied_run)
        assert words in str(raised.value)
        assert len(str(raised.value).splitlines()) == 1


def test_an_evaluation_is_read_as_it_was_saved(copied_run: Run) -> None:
    evaluation, arrays, (tools, details) = read(copied_run), read_arrays(copied_run), read_tools(copied_run)
    assert evaluation.step == copied_run.info["step"] == details["step"]
    assert any(m.headline for m in evaluation.measurements)
    named = {name.split(".")[0] for name in arrays}
    assert named <= {m.metric for m in evaluation.measurements}
    content = copied_run.evaluation_file.read_bytes()
    for file in (copied_run.evaluation_file, copied_run.arrays_file, copied_run.tools_file):
        file.unlink()
    save(copied_run, evaluation, arrays, tools, details)
    assert copied_run.evaluation_file.read_bytes() == content
    assert read(copied_run) == evaluation
    again, (tools_again, details_again) = read_arrays(copied_run), read_tools(copied_run)
    assert details_again == details
    for one, other in ((arrays, again), (tools, tools_again)):
        assert one.keys() == other.keys()
        assert all(np.array_equal(array, other[name], equal_nan=array.dtype.kind == "f") for name, array in one.items())


def test_a_run_without_a_file_of_tools_has_none(copied_run: Run) -> None:
    copied_run.tools_file.unlink()
    assert read_tools(copied_run) == ({}, {})


def test_a_changed_record_is_read_again(copied_run: Run) -> None:
    copied_run.update(status="stopped", note="é")
    other = Run(copied_run.path)
    assert (other.status, other.info["note"], other.info["format"]) == ("stopped", "é", FORMAT)


def test_a_record_never_holds_what_is_not_json(copied_run: Run) -> None:
    before = copied_run.info_file.read_bytes()
    with pytest.raises(ValueError):
        copied_run.update(loss=float("nan"))
    assert copied_run.info_file.read_bytes() == before


# -- lines -----------------------------------------------------------------------------------------------------


def test_a_last_line_cut_short_is_left_out(copied_run: Run) -> None:
    lines = copied_run.metrics()
    with copied_run.metrics_file.open("ab") as file:
        file.write(b'{"step": 99, "tra')
    assert copied_run.metrics() == lines
    assert len(lines) == 2
    copied_run.metrics_file.unlink()
    assert copied_run.metrics() == []


def test_a_damaged_line_in_the_middle_is_reported(copied_run: Run) -> None:
    copied_run.metrics_file.write_bytes(b'{"step": 1\n' + copied_run.metrics_file.read_bytes())
    with pytest.raises(RunError, match=r"metrics\.jsonl"):
        copied_run.metrics()


def test_a_log_begins_again_where_the_checkpoint_says(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with Log(path, 0) as log:
        log.write({"step": 1})
        length = log.flush()
        log.write({"step": 2})
        log.flush()
    with Log(path, length) as log:
        log.write({"step": 3})
        log.flush()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]
    with pytest.raises(RunError, match="shorter than the checkpoint says"):
        Log(path, 10_000)


# -- folders ---------------------------------------------------------------------------------------------------


def test_what_a_killed_process_left_is_swept_when_training_goes_on(copied_run: Run) -> None:
    (copied_run.path / ".odd.1.new" / "maps").mkdir(parents=True)
    (copied_run.path / ".run.json.1.new").write_text("half")
    copied_run.extend(copied_run.recipe_text(), copied_run.info["identity"])
    assert not list(copied_run.path.rglob(".*.new"))


def test_a_fresh_folder_is_one_that_is_not_taken(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        folder = fresh_folder("digits", tmp_path)
        folder.mkdir()
        names.append(folder.name)
    assert names == ["digits", "digits-2", "digits-3"]


def test_runs_are_found_wherever_they_are_and_newest_last(tmp_path: Path) -> None:
    for name, created in (("b", "2024-02-02"), ("deep/er/a", "2024-03-03"), ("c", "2024-01-01")):
        Run.create(tmp_path / name, "", {"name": name, "status": "finished"}).update(created=created)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    assert [run.name for run in find(tmp_path)] == ["c", "b", "deep/er/a"]
    assert find(tmp_path / "nowhere") == []


def test_a_run_shows_itself_in_a_notebook(copied_run: Run) -> None:
    copied_run.update(name="<b>&")
    html = copied_run._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "finished" in repr(copied_run)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (206_720.4, "206,720"),
        (-206_720.4, "-206,720"),
        (9_999.4, "9999"),
        (1930.54, "1931"),
        (0.01587, "0.01587"),
        (0.0, "0"),
    ],
)
def test_large_numbers_are_written_out(value: float, words: str) -> None:
    assert rounded(value) == words
    if abs(value) > 10_000:  # the report keeps zeros at the end of small ones
        assert number(value) == words.replace("-", "−")
