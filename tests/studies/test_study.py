"""Studies done: each run once, whatever is stopped or killed; what fails fails alone; what is said was found."""

from __future__ import annotations

import copy
import errno
import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sanggar
from conftest import TINY_GAN, Cli
from sanggar.errors import RecipeError, RunError
from sanggar.plain import parse, to_yaml
from sanggar.results import Measurement, Protocol
from sanggar.results.stored import read as evaluation_of
from sanggar.results.stored import read_arrays
from sanggar.runs import Run
from sanggar.studies import engine, work
from sanggar.studies import findings as findings_module
from sanggar.studies.definition import Claim, read, read_options, shipped
from sanggar.studies.engine import State
from sanggar.studies.findings import Findings, Row, difference
from sanggar.studies.page import markdown
from sanggar.studies.verdicts import Difference
from sanggar.trained import plan_of

SHORT = {"training.epochs": 1, "evaluation.images": 100, "evaluation.train_images": 100}
STUDY: dict[str, Any] = {
    "name": "toy",
    "about": "Does a wider network know digits better?",
    "report": "a report",
    "tables": {
        "width": {
            "about": "one hidden layer", "base": "digits-ffnn", "set": SHORT, "seeds": 2,
            "rows": {"4": {"model.hidden": [4]}, "8": {"model.hidden": [8]}},
            "metrics": ["classification.accuracy", {"key": "classification.recall", "tags": {"class": "8"}}],
            "reported": {"8": [{"of": "classification.accuracy", "value": 0.9}]},
        },
        "activation": {
            "base": "digits-ffnn", "set": SHORT, "seeds": 1,
            "grid": {"model.activation": ["relu", "tanh"], "model.hidden": [[8]]},
            "metrics": ["classification.accuracy"],
        },
    },
    "claims": {
        "wider": {
            "says": "wider is better", "metric": "classification.accuracy", "row": "width/8", "than": "width/4",
            "margin": 0.01,
        }
    },
    "budgets": {"quick": {"seeds": 1, "tables": ["width"]}, "full": {}},
}  # fmt: skip


def one_at_a_time() -> Executor:
    """An executor of this process."""
    return ThreadPoolExecutor(1)


def done(out: Path, change: Callable[[Any], object] = lambda tree: None, budget: str = "full", **how: Any) -> Findings:
    tree = copy.deepcopy(STUDY)
    change(tree)
    return sanggar.study(tree, budget, out=out, **{"executor": one_at_a_time, **how})


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that is done. Not to be changed."""
    folder = tmp_path_factory.mktemp("studies")
    done(folder)
    return folder


def values(findings: Findings) -> dict[str, list[float]]:
    return {
        f"{row.table}/{row.name}": [m.value for _, m in sorted(row.measured["classification.accuracy"].items())]
        for rows in findings.rows.values() for row in rows
    }  # fmt: skip


@pytest.mark.slow
def test_a_table_shows_the_first_pictures_that_its_networks_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = parse("\n".join(given.replace("=", ": ", 1) for given in TINY_GAN), "small")

    def drawing(tree: Any) -> None:
        del tree["claims"], tree["tables"]["activation"], tree["budgets"]["quick"]
        tree["tables"]["width"] = {
            "base": "digits-cgan", "samples": True, "seeds": 2, "metrics": ["generation.recall"],
            "set": small, "rows": {"one": {}, "<b>other[1]</b>": {"training.batch_size": 32}},
        }  # fmt: skip

    findings = done(tmp_path, drawing)
    with Image.open(tmp_path / "toy-full-width.png") as sheet:
        assert sheet.size == (8 * (10 * 10 - 2), 8 * (2 * 10 - 2))
        shown = np.asarray(sheet)
    first = findings.rows["width"][0].samples
    assert first is not None
    np.testing.assert_array_equal(shown[: 8 * 8 : 8, : 8 * 8 : 8], first[0, ..., 0])
    runs = [Run(path) for path in (tmp_path / "runs").glob("digits-cgan-*")]
    drawn = [read_arrays(run)["generation.samples"][::8][:10] for run in runs if plan_of(run).training.seed == 0]
    assert len(drawn) == 2
    assert all(any((one == row.samples).all() for one in drawn) for row in findings.rows["width"])
    assert "from above: one, &lt;b>other\\[1\\]&lt;/b>](toy-full-width.png)" in markdown(findings)
    for changed in (np.zeros((0, 8, 8, 1), np.uint8), np.zeros((80, 9, 9, 1), np.uint8), np.zeros((80, 8, 8, 1))):
        monkeypatch.setattr(
            findings_module, "read_arrays", lambda run, changed=changed: {"generation.samples": changed}
        )
        assert findings_module._samples(runs[0]) is None
    html = (tmp_path / "toy-full.html").read_text(encoding="utf-8")
    assert html.count("pictures that it draws") == 2 and "<b>other" not in html


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.slow
def test_every_row_has_what_its_runs_measured(toy: Path) -> None:
    before = stamps(toy / "runs")
    findings = done(toy)
    assert stamps(toy / "runs") == before, "what is done is not done again"
    assert len(list((toy / "runs").iterdir())) == 5, "tables share a run: 4 of the first, and one of tanh"
    found = values(findings)
    assert [len(of) for of in found.values()] == [2, 2, 1, 1]
    assert found["activation/activation relu, hidden 8"] == found["width/8"][:1]
    (cell,) = [c for c in read(STUDY).cells if (c.table, c.row, c.seed) == ("width", "4", 1)]
    (m,) = evaluation_of(Run(toy / "runs" / cell.run_name)).find("classification.accuracy", "network")
    assert found["width/4"][1] == m.value
    recall = findings.rows["width"][0].measured["classification.recall, class 8"]
    assert {m.tags["class"] for m in recall.values()} == {"8"}


def test_the_page_and_markdown_say_it_all(toy: Path) -> None:
    text = (toy / "toy-full.md").read_text(encoding="utf-8")
    html = (toy / "toy-full.html").read_text(encoding="utf-8")
    for words in ("wider is better (width/8 higher than width/4)", "fewer than 3 seeds, no verdict", "0.9000",
                  "activation tanh, hidden 8", "Does a wider network",
                  "Claims: 1 undecided. Reported figures: 1 without a verdict."):  # fmt: skip
        assert words in text
        assert words in html
    assert "sanggar study" not in text, "nobody could give that command"
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?https?:""", html), "nothing is loaded from elsewhere"
    assert html.count("<svg") == 3
    assert html.count("<details") == 1, "the first quantity of a table is seen at once"


def test_a_smaller_budget_uses_what_is_there(toy: Path) -> None:
    told: list[list[str]] = []
    findings = done(toy, budget="quick", tell=lambda states: told.append([state.doing for state in states]))
    assert set(told[-1]) == {"kept"}
    assert [len(v) for v in values(findings).values()] == [1, 1]
    assert findings.claims["wider"].verdict.outcome == "undecided"


def test_a_run_keeps_the_claims_that_it_was_begun_for(toy: Path) -> None:
    (claim,) = read(STUDY).claims.values()
    cells = {cell.run_name: cell for cell in read(STUDY).cells if cell.table == "width"}
    for name in cells:
        assert Run(toy / "runs" / name).info["studies"] == {"toy": {"wider": {"hash": claim.hash, "step": 0}}}


def test_a_claim_that_is_changed_or_stated_afterwards_is_said_to_be(toy: Path) -> None:
    findings = done(toy, lambda tree: tree["claims"]["wider"].update(margin=0.02))
    assert findings.claims["wider"].changed == "changed after 4 of its 4 runs had begun"
    assert "changed after 4 of its 4" in markdown(findings)
    late = {**STUDY["claims"]["wider"], "metric": "classification.cross_entropy", "direction": "lower"}
    findings = done(toy, lambda tree: tree["claims"].update(late=late))
    assert findings.claims["late"].changed == "stated after 4 of its 4 runs had begun"
    assert findings.claims["wider"].changed == ""


def test_classes_are_compared_with_one_another(toy: Path) -> None:
    recall = "classification.recall"
    low: dict[str, Any] = {
        "says": "8 and 9 are the weak ones", "metric": {"key": recall, "tags": {"class": ["8", "9"]}},
        "row": "width/8", "than": "width/8", "than_metric": {"key": recall, "tags": {"class": ["0", "1", "2"]}},
        "direction": "lower", "margin": 0.01,
    }  # fmt: skip
    findings = done(toy, lambda tree: tree["claims"].update(low=low))
    difference = findings.claims["low"].verdict.difference
    assert difference is not None
    for seed, value in enumerate(difference.values):
        (cell,) = [c for c in findings.study.cells if (c.table, c.row, c.seed) == ("width", "8", seed)]
        of = {m.tags["class"]: m.value for m in evaluation_of(Run(toy / "runs" / cell.run_name)).find(recall)}
        assert value == pytest.approx((of["0"] + of["1"] + of["2"]) / 3 - (of["8"] + of["9"]) / 2)
    said = "(width/8, classification.recall, class 8, 9 lower than width/8, classification.recall, class 0, 1, 2)"
    assert said in markdown(findings)


def test_what_is_not_measured_is_said_to_be(toy: Path) -> None:
    odd = {"key": "classification.recall", "tags": {"class": "8", "condition": "none"}}
    findings = done(toy, lambda tree: tree["tables"]["width"]["metrics"].append(odd))
    assert "| not measured of this network |" in markdown(findings)


def test_the_size_of_a_network_is_judged_without_seeds(toy: Path) -> None:
    def with_sizes(tree: Any) -> None:
        width = tree["tables"]["width"]
        size = {"key": "network.parameters"}
        width["metrics"].append(size)
        width["reported"] = {"4": [{"of": size, "value": 310}], "8": [{"of": size, "value": 611}]}

    findings = done(toy, with_sizes, "quick")
    outcomes = [comparison.outcome for row in ("4", "8") for _, comparison in findings.reported["width", row]]
    assert outcomes == ["reproduced", "another"], "65 × 4 + 5 × 10 and 65 × 8 + 9 × 10 = 610 numbers"
    line = next(line for line in markdown(findings).splitlines() if line.startswith("| 4 |"))
    assert line.endswith("| 310 | parameters, whole network, trained and running: 310 | reproduced |")


def test_a_budget_does_a_share_of_each_length() -> None:
    tree = copy.deepcopy(STUDY)
    tree["tables"]["width"]["rows"]["8"]["training.epochs"] = 10
    tree["budgets"]["quick"]["length"] = 0.2
    epochs = {cell.row: cell.plan.training.epochs for cell in read(tree, "quick").cells}
    assert epochs == {"4": 1, "8": 2}, "at least one"
    assert {cell.plan.training.epochs for cell in read(tree).cells} == {1, 10}


def test_a_run_that_fails_fails_its_cells_alone(tmp_path: Path) -> None:
    def explode(tree: Any) -> None:
        tree["tables"]["width"]["rows"]["8"]["training.optimizer"] = {"kind": "sgd", "learning_rate": 1e30}
        del tree["tables"]["activation"]

    findings = done(tmp_path, explode, "quick")
    good, bad = findings.rows["width"]
    assert good.values(findings.study.tables["width"].metrics[0])
    assert "became" in bad.troubles[0]
    assert findings.claims["wider"].verdict.outcome == "not measured"
    assert "failed: " in (tmp_path / "toy-quick.md").read_text(encoding="utf-8")


def test_workers_of_other_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = next(iter(engine.states(read(STUDY, "quick"), tmp_path).values())).job
    monkeypatch.setattr(work, "versions", lambda: {**job.versions, "numpy": "0.1"})
    said = work.work(job)
    assert said == f"this worker has numpy 0.1 and not {job.versions['numpy']}: numbers would not compare"
    assert not Path(job.folder).exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills processes")
def test_a_killed_worker_is_replaced_and_the_numbers_are_the_same(toy: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_one(states: Sequence[State]) -> None:
        if not killed and any((state.folder / "run.json").is_file() for state in states):
            victim = multiprocessing.active_children()[0]
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
            killed.append(victim.pid)

    findings = done(tmp_path, executor="here", workers=2, tell=kill_one)
    assert killed
    assert values(findings) == values(done(toy))
    assert (tmp_path / "toy-full.md").read_text() == (toy / "toy-full.md").read_text()


def stopped(study: Any, out: Path, after: int, number: int, child: bool = False, delay: float = 0) -> list[int]:
    """Begin a study as a command, and send it a signal so many seconds after so many runs began: its workers' numbers.

    With `child`, one of its workers is killed so many seconds before.
    """
    file = out.with_suffix(".yaml")
    file.write_text(to_yaml({key: value for key, value in study.items() if key != "name"}), encoding="utf-8")
    command = [sys.executable, "-m", "sanggar", "study", str(file), "--out", str(out), "--workers", "2"]
    said = out.with_suffix(".said")
    with said.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
        while process.poll() is None and len(list(out.glob("runs/*/run.json"))) < after:
            time.sleep(0.05)
        children = [int(n) for n in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        workers = [n for n in children if "spawn_main" in Path(f"/proc/{n}/cmdline").read_text()]
        if child and workers:
            os.kill(workers[0], signal.SIGKILL)
        time.sleep(delay)
        process.send_signal(number)
        process.wait()
    return workers


def ended(processes: Sequence[int], seconds: float) -> bool:
    """Whether processes are gone within some seconds."""
    until = time.monotonic() + seconds
    while any(Path(f"/proc/{n}").exists() for n in processes):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes as Linux has them")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_command_that_ends_early_leaves_nobody_working_and_goes_on_the_same(
    number: int, toy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "toy"
    workers = stopped(STUDY, out, 2, number)
    assert workers and ended(workers, 60)
    assert "Traceback" not in out.with_suffix(".said").read_text(encoding="utf-8")
    assert values(done(out)) == values(done(toy))
    assert (out / "toy-full.md").read_text() == (toy / "toy-full.md").read_text()


def test_a_full_disk_fails_a_run_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights.safetensors")

    monkeypatch.setattr("sanggar.training.start.train", full)
    findings = done(tmp_path, budget="quick")
    troubles = [trouble for row in findings.rows["width"] for trouble in row.troubles.values()]
    assert len(troubles) == 2 and all("No space left on device" in trouble for trouble in troubles)


@pytest.mark.slow
def test_interrupted_it_goes_on(toy: Path, tmp_path: Path) -> None:
    class Enough(KeyboardInterrupt):
        pass

    def stop(states: Sequence[State]) -> None:
        if sum(state.doing == "done" for state in states) == 2:
            raise Enough

    with pytest.raises(Enough):
        done(tmp_path, tell=stop)
    kept: list[str] = []
    findings = done(tmp_path, tell=lambda states: kept.append(" ".join(state.doing for state in states)))
    assert kept[0].split().count("kept") >= 2
    assert values(findings) == values(done(toy))


@pytest.mark.slow
def test_the_command_does_it_and_lists_them(
    toy: Path, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(to_yaml({key: value for key, value in STUDY.items() if key != "name"}), encoding="utf-8")
    status, out, err = run_cli("study", file, "--out", toy)
    assert status == 0
    assert out.splitlines()[-1] == f"Study: {toy / 'toy-full.html'}"
    assert "wider: " in out
    assert "5 runs: 5 kept" in err
    assert run_cli("studies")[0] == 0
    for name in shipped():
        assert name in run_cli("studies")[1]


ALIKE = {"model.initializer": [{"kind": "uniform"}, {"kind": "uniform", "low": -1}]}
ENDLESS = {f"model.key{number}": [1, 2, 3, 4] for number in range(40)}
REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "a key": (lambda t: t["tables"]["width"]["rows"]["8"].update({"model.hiden": [3]}),
              "toy: tables.width, 8: digits-ffnn: model.hiden: there is no such key. Did you mean 'hidden'?"),
    "a base": (lambda t: t["tables"]["width"].update(base="digit-ffnn"), "There is no recipe"),
    "rows called alike": (lambda t: t["tables"]["activation"].update(grid=ALIKE), "would be called alike"),
    "a grid without end": (lambda t: t["tables"]["activation"].update(grid=ENDLESS), "rows; 1,000 are the most"),
    "a grid": (lambda t: t["tables"]["activation"]["grid"].update({"training.epochs": []}),
               "the grid has no values of training.epochs"),
    "no rows": (lambda t: t["tables"]["activation"].pop("grid"), "give either rows or a grid"),
    "a side": (lambda t: t["claims"]["wider"].update(row="width/9"),
               "toy: claims.wider: there is no row 'width/9'. Did you mean 'width/8'?"),
    "reported": (lambda t: t["tables"]["width"]["reported"].update({"9": []}), "reported: there is no row '9'"),
    "a margin": (lambda t: t["claims"]["wider"].update(margin=-1), "study.claims.wider.margin: expected"),
    "a table": (lambda t: t["budgets"]["full"].update(tables=["widht"]), "there is no table 'widht'. Did you mean"),
    "a part of a network": (
        lambda t: t["tables"]["width"]["metrics"].append({"key": "network.parameters", "tags": {"part": "bdy"}}),
        "toy: tables.width.metrics[2]: network.parameters: digits-ffnn has no part 'bdy'"),
    "another key": (lambda t: t.update(table={}), "study.table: there is no such key. Did you mean 'tables'?"),
    "a metric": (lambda t: t["claims"]["wider"].update(metric="clasification.accuracy"),
                 "there is no metric 'clasification'. Did you mean 'classification'?"),
    "a measurement": (lambda t: t["claims"]["wider"].update(metric="classification.acuracy"),
                      "there is no measurement 'classification.acuracy'. Did you mean 'classification.accuracy'?"),
    "a subject": (lambda t: t["tables"]["width"]["metrics"].append(
        {"key": "classification.accuracy", "subject": "scikit_lern"}), "Did you mean 'scikit_learn'?"),
    "a class": (lambda t: t["tables"]["width"]["metrics"].append(
        {"key": "classification.recall", "tags": {"class": "12"}}), "there is no class '12'. Did you mean '2'?"),
    "a seed": (lambda t: t["tables"]["width"]["rows"]["8"].update({"training.seed": 3}),
               "toy: tables.width, 8: training.seed is the study's own"),
    "a claim of itself": (lambda t: t["claims"]["wider"].update(than="width/8"),
                          "claims.wider: both sides are the same; give another row"),
    "a claim's key": (lambda t: t["claims"]["wider"].update(margn=1), "study.claims.wider.margn: there is no such key"),
    "not of this network": (lambda t: t["claims"]["wider"].update(metric="reconstruction.psnr"),
                            "claims.wider: reconstruction.psnr is not measured of digits-ffnn"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_one_line_before_anything_is_trained(name: str, tmp_path: Path) -> None:
    change, words = REFUSED[name]
    with pytest.raises(RecipeError) as raised:
        done(tmp_path / "out", change)
    assert words in str(raised.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("change", "words"), [
    (lambda info: info["versions"].update(numpy="1.0"), r"by other versions \(numpy 1.0 and not .*move it away"),
    (lambda info: info.update(package="0.0.1"), r"by other versions \(sanggar 0.0.1 and not"),
])  # fmt: skip
def test_a_run_by_other_versions_is_not_used(
    change: Callable[[Any], object], words: str, toy: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(toy, tmp_path / "out"))
    name = next(cell.run_name for cell in read(STUDY).cells)
    info = json.loads((out / "runs" / name / "run.json").read_text(encoding="utf-8"))
    change(info)
    (out / "runs" / name / "run.json").write_text(json.dumps(info), encoding="utf-8")
    before = stamps(out / "runs")
    findings = done(out)
    assert re.search(words, findings.rows["width"][0].troubles[0])
    assert stamps(out / "runs") == before, "what was there is kept"
    assert len(values(findings)["width/8"]) == 2


def test_a_run_of_another_recipe_is_not_used(toy: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(toy, tmp_path / "out"))
    names = {cell.row: cell.run_name for cell in read(STUDY).cells if (cell.table, cell.seed) == ("width", 0)}
    shutil.rmtree(out / "runs" / names["8"])
    shutil.copytree(out / "runs" / names["4"], out / "runs" / names["8"])
    findings = done(out)
    assert "holds a run of another recipe (model.hidden): move it away" in findings.rows["width"][1].troubles[0]
    why = findings.claims["wider"].verdict.why
    assert findings.claims["wider"].verdict.outcome == "undecided" and "one seed" in why


def test_a_claim_that_lacks_a_side_says_which_and_why(toy: Path) -> None:
    def unmeasured(tree: Any) -> None:
        tree["claims"]["wider"]["metric"] = {"key": "train.nothing", "tags": {"epoch": "last"}}

    said = done(toy, unmeasured).claims["wider"].verdict
    assert (said.outcome, said.why) == (
        "not measured",
        "width/8, train.nothing, epoch last: not in the log of its training",
    )


def test_a_file_that_is_not_there_and_a_folder_that_is_a_run_are_told(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"There is no file .*mine.yaml"):
        sanggar.study(tmp_path / "mine.yaml", out=tmp_path / "out")
    run = next((toy / "runs").iterdir())
    with pytest.raises(RunError, match="is a run: give a folder of its own"):
        done(run)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "runs").touch()
    with pytest.raises(RunError, match=r"Cannot write .*taken.runs: File exists"):
        done(tmp_path / "taken")


def test_an_unknown_study_or_budget_is_one_line(run_cli: Cli, tmp_path: Path) -> None:
    status, _, err = run_cli("study", "minst-ffnn", "--out", tmp_path / "x")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "There is no study 'minst-ffnn'." in err
    with pytest.raises(RecipeError, match=r"there is no budget 'quik'\. Did you mean 'quick'\?"):
        read(STUDY, "quik")


def test_a_name_leads_nowhere_else(tmp_path: Path) -> None:
    done(tmp_path / "in", lambda tree: tree.update(name="../Up & away"), "quick")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert (tmp_path / "in" / "up-away-quick.html").is_file()


@pytest.mark.slow
def test_each_shipped_study_makes_sense() -> None:
    for name in shipped():
        for budget in read_options(name).budgets or ["full"]:
            assert list(read(name, budget).cells)


def test_time_is_not_lost_between_runs(toy: Path) -> None:
    began = time.monotonic()
    done(toy)
    assert time.monotonic() - began < 10


def test_the_live_table_has_what_goes_on_and_what_failed(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from sanggar.cli.study import _going, _table

    states = list(engine.states(read(STUDY), toy).values())
    states[0].doing, states[1].doing, states[1].trouble = "running", "failed", "memory ran out"
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(_table(states))
    text = console.export_text()
    assert "5 runs: 1 running, 1 failed, 3 waiting" in text
    assert "measuring" in text, "its steps are done"
    monkeypatch.setattr(engine, "progress", lambda state: (60, 180, 30.0))
    assert _going(states[0]) == ("60 of 180", "1.0 min")
    assert "memory ran out" in text
    assert states[2].folder.name not in text


def test_figures_of_several_quantities_are_a_table_of_their_own(toy: Path) -> None:
    def with_losses(tree: Any) -> None:
        loss = [{"key": "train.categorical_cross_entropy", "tags": {"epoch": epoch}} for epoch in (1, 99)]
        figures = [{"of": "classification.accuracy", "value": 0.9}, *({"of": of, "value": 0.61} for of in loss)]
        tree["tables"]["width"]["reported"] = {"8": figures}

    text = markdown(done(toy, with_losses))
    assert "|  | accuracy ↑ | recall, class 8 ↑ |\n" in text, "no column of reported figures"
    (cell,) = [c for c in read(STUDY).cells if (c.table, c.row, c.seed) == ("width", "8", 0)]
    lines = Run(toy / "runs" / cell.run_name).metrics()
    measured = f"{lines[0]['train']['ffnn/categorical_cross_entropy']:.4g}"
    (first,) = [line for line in text.splitlines() if "epoch 1 ↓" in line]
    assert first.startswith("| 8 | train: categorical cross entropy, epoch 1 ↓ | ")
    assert measured in first
    assert "| 0.6100 | " in first
    absent = (
        "| 8 | train.categorical_cross_entropy, epoch 99 | not in the log of its training | 0.6100 | not measured |"
    )
    assert absent in text
    html = (toy / "toy-full.html").read_text(encoding="utf-8")
    assert "train.categorical_cross_entropy, epoch 99" in html


def test_a_single_row_has_a_line_for_each_quantity_and_a_chart_of_all_its_tags(toy: Path) -> None:
    def alone(tree: Any) -> None:
        width = tree["tables"]["width"]
        del width["rows"]["4"], width["reported"], tree["claims"]
        recall = [{"key": "classification.recall", "tags": {"class": digit}} for digit in "38"]
        width["metrics"] = [*recall, "classification.accuracy"]

    text = markdown(done(toy, alone))
    assert "|  | 8 |\n|---|---|\n| recall, class 3 ↑ | " in text
    assert "\n| recall, class 8 ↑ | " in text
    html = (toy / "toy-full.html").read_text(encoding="utf-8")
    (alt,) = re.findall(r'aria-label="(recall ↑, a dot for each run[^"]*)"', html)
    assert re.search(r": class 3 [\d.]+, class 8 [\d.]+\.$", alt)


def test_a_claim_of_two_quantities_is_of_other_pictures_and_not_measured_otherwise() -> None:
    def measured(key: str, value: float, split: Any, n: int, **settings: Any) -> dict[int, Measurement]:
        protocol = Protocol(split=split, n=n, data="digits", settings=settings)
        return {seed: Measurement(key=key, value=value + seed, protocol=protocol) for seed in (0, 1)}

    claim = Claim.model_validate(
        {"says": "", "metric": "a.test", "than_metric": "a.train", "row": "t/r", "than": "t/r", "margin": 0}
    )
    quantities = {"a.test": measured("a.test", 3, "test", 20, level=1), "a.train": measured("a.train", 1, "train", 30)}
    assert difference(claim, {"t/r": Row("t", "r", quantities, {}, {})}) == "the two do not compare: level 1 and None"
    quantities["a.train"] = measured("a.train", 1, "train", 30, level=1)
    found = difference(claim, {"t/r": Row("t", "r", quantities, {}, {})})
    assert isinstance(found, Difference)
    assert found.values == (2, 2)
