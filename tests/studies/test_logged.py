"""What a run's own log says: its losses and seconds as measurements that a study can ask for."""

from __future__ import annotations

import pytest

from conftest import Trained
from sanggar.results import Measurement
from sanggar.runs import Run
from sanggar.studies.logged import logged


def of(run: Run, key: str, **tags: object) -> Measurement:
    (found,) = [m for m in logged(run) if m.key == key and tags.items() <= m.tags.items()]
    return found


def test_each_epoch_has_its_losses_and_the_last_is_known_as_such(tiny_run: Run) -> None:
    lines, timing = tiny_run.metrics(), tiny_run.timing()
    assert [line["epoch"] for line in lines] == [1, 2]
    for epoch, line in enumerate(lines, start=1):
        train, validation = (of(tiny_run, f"{split}.mse", epoch=epoch) for split in ("train", "validation"))
        assert (train.value, validation.value) == tuple(line[s]["autoencoder/mse"] for s in ("train", "validation"))
        assert (train.protocol.split, train.protocol.n) == ("train", tiny_run.info["data"]["train"])
        assert (validation.protocol.split, validation.better) == ("validation", "lower")
    assert of(tiny_run, "train.mse", epoch="last").value == of(tiny_run, "train.mse", epoch=2).value
    assert of(tiny_run, "training.seconds", epoch="last").value == timing[-1]["seconds"]


def test_what_is_only_watched_is_neither_better_nor_worse(trained: Trained) -> None:
    run = trained("vae")
    rate = of(run, "validation.rate", epoch="last")
    assert (rate.value, rate.better) == (run.metrics()[-1]["watched"]["validation"]["vae/rate"], None)
    assert of(run, "validation.distortion", epoch="last").better == "lower"


def test_terms_of_several_phases_are_told_apart(trained: Trained) -> None:
    run = trained("gan")
    line = run.metrics()[-1]
    terms = sorted(name for name in line["train"])
    assert {name.partition("/")[0] for name in terms} == {"critic", "generator"}
    for name in terms:
        phase, _, term = name.partition("/")
        assert of(run, f"train.{term}", epoch="last", phase=phase).value == line["train"][name]


def test_a_step_between_two_epochs_is_named_by_its_share(trained: Trained) -> None:
    run = trained("gan")
    epochs = [m.tags["epoch"] for m in logged(run) if m.key == "training.seconds" and m.tags["epoch"] != "last"]
    assert epochs == pytest.approx([line["epoch"] for line in run.metrics()], abs=1e-4)
    assert len(epochs) > 1
