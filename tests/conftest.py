"""Shapes in signatures are checked while the tests run; one small trained run serves every test that reads one."""

from __future__ import annotations

import os

# Small networks on a shared machine: one thread each is fastest, and several OpenMP pools starve each other.
os.environ["OMP_NUM_THREADS"] = "1"

import pkgutil
from importlib.util import find_spec

import jaxtyping
import torch  # noqa: F401  # before the hook: what a hooked module imports is compiled anew, past its bytecode
from jaxtyping import install_import_hook

import shapes

# not the from-scratch engine: its derivatives are functions within functions, which would be wrapped at each call
SPEC = find_spec("sanggar")
assert SPEC is not None
FOLDERS = SPEC.submodule_search_locations
ROOMS = [room.name for room in pkgutil.iter_modules(FOLDERS) if room.name != "scratch"]
jaxtyping.jaxtyped = shapes.jaxtyped  # type: ignore[assignment]
install_import_hook([f"sanggar.{room}" for room in ROOMS], "beartype.beartype")

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

import sanggar
from sanggar.evaluation.context import EvaluationContext
from sanggar.files import Content
from sanggar.runs import Arrays, Run, checksum_of, save_arrays
from sanggar.trained import TrainedModel

# what is landed is judged by the same examples each time; at a desk new ones are tried
settings.register_profile("sanggar", deadline=None, max_examples=40, derandomize="CI" in os.environ)
settings.load_profile("sanggar")

BRIEF = (
    "training.epochs=2",
    "training.device=cpu",
    "training.precision=fp32",
    "evaluation.classical_images=20",
    "evaluation.tuning_images=10",
    "evaluation.noise_levels=[0.2,0.3]",
    "evaluation.probe_images=200",
    "evaluation.map_images=40",
)
TINY = ("model.widths=[4,8]", "model.latent_size=6", *BRIEF, "evaluation.images=40")
"""Overrides that make digits-denoising-autoencoder a matter of a second."""
TINY_FFNN = ("model.hidden=[5]", *BRIEF, "evaluation.images=200")
"""The same for digits-ffnn."""
TINY_CLASSIFIER = ("model.widths=[4,8]", "model.blocks=[0,1]", *BRIEF, "evaluation.images=200")
"""The same for judge-digits."""
TINY_GAN = (
    "model.generator.widths=[8,4]", "model.critic.widths=[4,8]", "model.latent_size=6", *BRIEF, "training.steps=null",
    "training.validate_every=10", "evaluation.images=200", "evaluation.samples=200",
)  # fmt: skip
"""The same for digits-cgan."""
TINY_VAE = ("model.widths=[4,8]", "model.latent_size=6", *BRIEF, "evaluation.images=200", "evaluation.samples=100",
            "evaluation.bound_images=20", "evaluation.anomaly_images=40")  # fmt: skip
"""The same for digits-vae."""
TINY_FLOW = (
    "model.network={kind: unet, widths: [4,8]}", *BRIEF, "training.steps=null", "training.validate_every=10",
    "evaluation.images=60", "evaluation.samples=60", "evaluation.train_images=100",
)  # fmt: skip
"""The same for digits-flow."""
SLIM: dict[str, dict[str, object]] = {"flow": {"network": {"widths": [4, 8]}}}
"""What makes a family quick to ask."""
DEMOS = {
    "autoencoder": ("digits-denoising-autoencoder", TINY),
    "ffnn": ("digits-ffnn", TINY_FFNN),
    "classifier": ("judge-digits", TINY_CLASSIFIER),
    "gan": ("digits-cgan", TINY_GAN),
    "vae": ("digits-vae", TINY_VAE),
    "flow": ("digits-flow", TINY_FLOW),
}
"""By family: a recipe on digits, and what makes it small. A family that is not here is trained as it comes."""

Trained = Callable[[str], Run]


def quick_first(values: Iterable[object]) -> list[object]:
    """Parameters of a test of which `make test` runs the first alone; the others are `slow`."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.slow) for value in others)]


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes that run these tests have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def trained(shared: Path) -> Trained:
    """A family's trained and evaluated run of a tiny network on digits. Not to be changed: copy it first."""

    @cache
    def run_of(family: str) -> Run:
        plain = {
            "data": {"source": "digits", "validation": 237},
            "model": {"family": family},
            "training": {"epochs": 2},
        }
        path = shared / family / "run"
        with FileLock(shared / f"{family}.lock"):  # whoever comes first trains it for all
            if not path.exists():
                recipe, overrides = DEMOS.get(family, (plain, (*BRIEF, "evaluation.images=40")))
                run = sanggar.train(recipe, overrides, out=shared / family / "unfinished")
                sanggar.evaluate(run).path.rename(path)
        return Run(path)

    return run_of


class Stop(Exception):
    """Raised to end a training where a test wants it."""


def context_of(run: Run) -> EvaluationContext:
    """What metrics are given to measure of a run."""
    model = TrainedModel(run)
    return EvaluationContext(model, model.plan.source.load(model.plan.data), model.plan.evaluation)


def put_arrays(run: Run, file: Path, arrays: Arrays, meta: Content | None = None) -> None:
    """Replace arrays of an evaluation, as if it had found these."""
    save_arrays(file, arrays, meta)
    tree = json.loads(run.evaluation_file.read_text(encoding="utf-8"))
    if file.stem in tree.get("files", {}):
        tree["files"][file.stem] = checksum_of(file)
        run.evaluation_file.write_text(json.dumps(tree), encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def cached_aside(shared: Path) -> Iterator[None]:
    """What is measured of real pictures, and prepared ones, are not kept in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANGGAR_CACHE", str(shared / "cache"))
        yield


@pytest.fixture(scope="session")
def tiny_run(trained: Trained) -> Run:
    """The autoencoder's."""
    return trained("autoencoder")


@pytest.fixture(scope="session")
def ffnn_run(trained: Trained) -> Run:
    """The from-scratch network's."""
    return trained("ffnn")


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Trained:
    """A copy of a family's tiny run that a test may damage."""
    return lambda family: Run(shutil.copytree(trained(family).path, tmp_path / f"copied-{family}"))


@pytest.fixture
def copied_run(tiny_run: Run, tmp_path: Path) -> Run:
    """A copy of the tiny run that a test may damage."""
    shutil.copytree(tiny_run.path, tmp_path / "copied")
    return Run(tmp_path / "copied")


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line in this process: its exit status, standard output, standard error."""
    from sanggar.cli import main

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call
