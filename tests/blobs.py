"""Pictures of known making: a blob's place, size and brightness, and a network that is exactly linear in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from sanggar.data.dataset import Dataset, fingerprint
from sanggar.data.images import Attribute, Images, ImageSpec
from sanggar.evaluation.context import EvaluationContext, Findings
from sanggar.evaluation.metrics import attributes, edits
from sanggar.models.base import Batch, Model, Phase, StepContext, Terms
from sanggar.models.conditions import Conditions
from sanggar.options import Options
from sanggar.plan import FAMILIES, EvaluationOptions
from sanggar.results import FORMAT, Evaluation, Measurement
from sanggar.results.stored import save
from sanggar.runs import Run, save_arrays
from sanggar.trained import TrainedModel
from typed import there

ATTRIBUTES = (
    Attribute("right", "flag", ("left", "right")),
    Attribute("size", "category", ("small", "middle", "large")),
    Attribute("brightness", "number", mean=170.0, deviation=40.0),
)
SPEC = ImageSpec(8, 8, 1, (), ATTRIBUTES)
SIZES = (0.8, 1.5, 2.4)


def blobs(n: int, seed: int) -> Images:
    """Blobs of known place, size and brightness on black, with a little noise."""
    random = np.random.default_rng(seed)
    right, size, brightness = random.integers(0, 2, n), random.integers(0, 3, n), random.uniform(100, 240, n)
    y, x = np.mgrid[:8, :8]
    far = (x[None] - (2 + 3 * right)[:, None, None]) ** 2 + (y[None] - 3.5) ** 2
    shapes = np.exp(-far / np.array(SIZES)[size][:, None, None] ** 2)
    pixels = np.clip(brightness[:, None, None] * shapes + random.normal(0, 4, shapes.shape), 0, 255).round()
    return Images(
        pixels.astype(np.uint8)[..., None], None, np.stack([right, size, brightness], axis=1).astype(np.float32)
    )


DATASET = Dataset(blobs(600, 0), blobs(200, 1), blobs(300, 2), "0" * 64)


def changed(change: Callable[[Images], Images], *splits: str) -> Dataset:
    """The same data with some splits changed, all of them where none is named, and another fingerprint."""
    parts: dict[str, Any] = {
        split: change(getattr(DATASET, split)) for split in splits or ("train", "validation", "test")
    }
    dataset = replace(DATASET, **parts)
    return replace(dataset, fingerprint=fingerprint(dataset.train, dataset.validation, dataset.test))


class LineOptions(Options):
    """What the decoder is conditioned on."""

    family: Literal["line", "eye"] = "line"
    condition: tuple[str, ...] = ()


class Line(Model):
    """Principal components; where it is conditioned on the place, a picture of that place is added."""

    Options = LineOptions
    latent_size = 8

    def __init__(self, options: LineOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.conditions = Conditions(options.condition, spec)
        pixels = spec.height * spec.width * spec.channels
        self.mean, self.basis = nn.Parameter(torch.zeros(pixels)), nn.Parameter(torch.zeros(8, pixels))
        self.right = nn.Parameter(torch.zeros(pixels))

    def phases(self) -> list[Phase]:
        return [Phase("line", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, context: StepContext) -> Terms:
        return {"none": 0.0 * self.mean.sum()}

    def encode(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - self.mean) @ self.basis.T

    def decode(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        flat = latents @ self.basis + self.mean
        if condition is not None:
            flat = flat + condition[:, :1] * self.right
        return flat.view(-1, 1, 8, 8)


class Eye(Line):
    """The same without a decoder."""

    decode: Any = None


@contextmanager
def known_families() -> Iterator[None]:
    """Both families, known by name for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "line", Line)
        patch.setitem(FAMILIES, "eye", Eye)
        yield


def run_at(
    path: Path, spec: ImageSpec = SPEC, condition: str = "", family: str = "line", *, blind: bool = False
) -> Run:
    """A run of principal components, as training would have left it; a blind one knows the place by condition alone."""
    model = f"{{family: {family}, condition: [{condition}]}}"
    recipe = f"name: lines\ndata: {{source: digits}}\nmodel: {model}\ntraining: {{steps: 1}}\n"
    data = {
        "source": "digits", "about": "blobs", "licence": "none", "note": "", "fingerprint": "0" * 64,
        "height": spec.height, "width": spec.width, "channels": spec.channels, "classes": list(spec.classes),
        "attributes": [asdict(column) for column in spec.attributes], "train": 600, "validation": 200, "test": 300,
    }  # fmt: skip
    info = {
        "name": "lines", "about": "", "identity": "0" * 64, "package": "0", "status": "finished", "step": 1,
        "data": data, "versions": {}, "platform": "here",
        "device": {"name": "here", "kind": "cpu", "threads": 1, "processes": 1, "precision": "fp32"},
    }  # fmt: skip
    run = Run.create(path, recipe, info)
    flat = DATASET.train.pixels.reshape(600, -1) / 127.5 - 1
    pca = PCA(8, random_state=0).fit(flat)
    right = there(DATASET.train.attributes)[:, 0] > 0
    between = (flat[right].mean(axis=0) - flat[~right].mean(axis=0)) / 2
    basis = pca.components_
    if blind:  # latents know nothing of the place
        across = between / np.linalg.norm(between)
        basis = basis - np.outer(basis @ across, across)
    arrays = {"mean": pca.mean_, "basis": basis, "right": 2 * between * blind}
    save_arrays(run.weights_file, {k: v.astype(np.float32) for k, v in arrays.items()}, {"step": 1})
    return run


def context_of(run: Run, dataset: Dataset = DATASET) -> EvaluationContext:
    return EvaluationContext(TrainedModel(run), dataset, EvaluationOptions())


def measured(run: Run, dataset: Dataset = DATASET) -> Findings:
    """A run's edits and attributes, written into it."""
    context = context_of(run, dataset)
    edited, probed = edits.measure(context, Options()), attributes.measure(context, Options())
    both = replace(edited, measurements=[*edited.measurements, *probed.measurements])
    write(run, both)
    return both


def write(run: Run, findings: Findings, step: int = 1) -> None:
    """Write what was found of edits into a run."""
    evaluation = Evaluation(
        format=FORMAT, package="0", step=step, weights="final", measurements=tuple(findings.measurements),
        alarms=tuple(findings.alarms), details={"edits": findings.details} if findings.details else {},
    )  # fmt: skip
    arrays = {f"edits.{name}": array for name, array in findings.arrays.items()}
    save(run, evaluation, arrays, findings.tools, {"step": step, **findings.tool_details})


def of(findings: Findings, key: str) -> list[Measurement]:
    """Measurements with a key."""
    return [m for m in findings.measurements if m.key == key]
