"""A study's file: rows of other recipes, and studies that stand on one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sanggar.errors import RecipeError
from sanggar.studies.definition import read
from sanggar.studies.engine import check

TABLE: dict[str, Any] = {
    "base": "digits-ffnn", "set": {"training.epochs": 3}, "metrics": ["classification.accuracy"],
    "rows": {"wide": {"model.hidden": [99]}, "other": {"base": "judge-digits", "training.batch_size": 7}},
}  # fmt: skip
STUDY: dict[str, Any] = {"name": "one", "about": "one", "tables": {"table": TABLE}, "budgets": {"full": {}}}


def test_a_row_may_be_of_another_recipe() -> None:
    wide, other = read(STUDY).cells
    assert (wide.plan.name, wide.plan.training.epochs) == ("digits-ffnn", 3)
    assert (other.plan.name, other.plan.training.epochs, other.plan.training.batch_size) == ("judge-digits", 3, 7)
    table = {**TABLE, "rows": {"other": {"base": "judge-digit"}}}
    with pytest.raises(RecipeError, match=r"one: tables.table, other: There is no recipe 'judge-digit'\. Did you mean"):
        list(read({**STUDY, "tables": {"table": table}}).cells)


def test_a_study_may_stand_on_another(tmp_path: Path) -> None:
    from sanggar.plain import to_yaml

    (tmp_path / "one.yaml").write_text(to_yaml({k: v for k, v in STUDY.items() if k != "name"}), encoding="utf-8")
    above = "base: one.yaml\nabout: two\ntables: {table: {base: digits-denoising-autoencoder, rows: {wide: {}}}}\n"
    (tmp_path / "two.yaml").write_text(above, encoding="utf-8")
    two = read(tmp_path / "two.yaml")
    assert (two.name, two.options.about) == ("two", "two")
    assert list(two.tables["table"].settings()) == ["wide", "other"]
    assert two.tables["table"].base == "digits-denoising-autoencoder"
    assert two.tables["table"].metrics == read(STUDY).tables["table"].metrics
    (tmp_path / "three.yaml").write_text("base: two.yaml\nabout: three\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"base: the study two.yaml has a base itself"):
        read(tmp_path / "three.yaml")
    (tmp_path / "four.yaml").write_text("base: mnist-fnn\nabout: four\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"There is no study 'mnist-fnn'\. Did you mean"):
        read(tmp_path / "four.yaml")


def test_what_its_evaluation_leaves_out_is_refused() -> None:
    table = {**TABLE, "set": {"training.epochs": 3, "evaluation.metrics": ["latent"]}}
    with pytest.raises(RecipeError, match=r"classification.accuracy is left out by evaluation.metrics"):
        check(read({**STUDY, "tables": {"table": table}}))
    logged = {**table, "metrics": [{"key": "train.mse", "tags": {"epoch": "last"}}]}
    check(read({**STUDY, "tables": {"table": logged}}))
