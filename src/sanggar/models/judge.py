"""Judges: small classifiers shipped with sanggar, whose features and labels measure generated pictures.

A judge is an instrument: the same file gives the same ruler on every machine. It is a network of family
`classifier`, trained by the shipped recipe `judge-NAME` on the train split of its source, and kept as one
safetensors file with the recipe that made it and its accuracy on the test split.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from sanggar import recipe
from sanggar.data.images import Facts, as_pixels, to_float
from sanggar.data.sources import SOURCES
from sanggar.errors import RunError, suggest
from sanggar.models.classifier import Classifier, ClassifierOptions
from sanggar.runs import Arrays, Run, load_arrays, save_arrays

FORMAT = 1
"""Version of a judge's file; raised when an older sanggar could not read a newer judge."""
LIMIT = 1_000_000
"""Bytes that a judge's file may have."""
FOLDER = Path(__file__).parent / "judges"
JUDGES: tuple[str, ...] = tuple(sorted(path.stem for path in FOLDER.glob("*.safetensors")))
"""The judges that come with sanggar, each named after the source that it judges."""
CHUNK = 256
"""Pictures that go through a judge at a time: few enough to stay in a processor's cache."""

Pixels = UInt8[np.ndarray, "n height width channels"]
Features = Float[np.ndarray, "n features"]
Shares = Float[np.ndarray, "n classes"]


@dataclass(frozen=True)
class Judge:
    """A classifier to measure with. It computes in float32 and in evaluation mode, whatever trained it.

    Features are the last stage's activations averaged over the picture: what the linear layer classifies by, never
    negative, `size` of them.
    """

    source: str
    version: int
    facts: Facts
    accuracy: float
    """share of the source's test pictures that it tells right, measured with the weights as they are shipped"""
    tested: int
    """how many they are"""
    recipe: str = field(repr=False)
    """the resolved recipe that made it"""
    note: str
    """what has to be said of the data that it learned from"""
    hash: str
    """the first 12 hexadecimal digits of the file's SHA-256"""
    network: Classifier = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """As a protocol names it: judge cifar-10 v2."""
        return f"judge {self.source} v{self.version}"

    @property
    def size(self) -> int:
        """Numbers in a picture's features."""
        return self.network.size

    def features(self, pixels: np.ndarray) -> Features:
        """The features of each uint8 picture `(N, H, W, C)`. Raises DataError when they are not of the judge's size."""
        return self.both(pixels)[0]

    def classify(self, pixels: np.ndarray) -> Shares:
        """The probability of each class for each picture. Raises DataError likewise."""
        return self.both(pixels)[1]

    def both(self, pixels: np.ndarray) -> tuple[Features, Shares]:
        """Features and probabilities in one pass, float32. Raises DataError likewise."""
        pixels = as_pixels(pixels, self.facts, f"pictures for the {self.name}")
        parts = [self._look(pixels[start : start + CHUNK]) for start in range(0, len(pixels), CHUNK)]
        features, shares = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        return features, shares

    def _look(self, pixels: Pixels) -> tuple[Features, Shares]:
        shown = to_float(
            torch.from_numpy(np.require(pixels, requirements=["C", "W"])).to(self.network.linear.weight.device)
        )
        # TensorFloat-32, a GPU's default for convolutions, would measure otherwise than a processor
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features = self.network.features(shown)
            shares = torch.softmax(self.network.logits(features), dim=1)
        return features.cpu().numpy(), shares.cpu().numpy()


def open_judge(name: str, device: str | None = None) -> Judge:
    """A judge that comes with sanggar, on a device (none: the best one here).

    Raises RunError when there is none of that name, or its file is damaged.
    """
    if name not in JUDGES:
        raise RunError(f"There is no judge {name!r}. {suggest(name, JUDGES)}")
    return read_judge(FOLDER / f"{name}.safetensors", device)


def read_judge(path: Path, device: str | None = None) -> Judge:
    """The judge in a file that `ship` wrote. Raises RunError when it is damaged, of a newer format, or no judge."""
    arrays, meta = load_arrays(path)
    if "judge" not in meta:
        raise RunError(f"{path} holds no judge.")
    if meta["judge"] > FORMAT:
        raise RunError(f"{path} was written by a newer sanggar (format {meta['judge']}). Update sanggar to open it.")
    known = {name: meta["facts"][name] for name in ("height", "width", "channels")}
    facts = Facts(**known, classes=tuple(meta["facts"]["classes"]))  # a judge knows of classes, and of nothing beside
    try:
        network = _network(meta["recipe"], facts, arrays, device)
    except ValueError as error:
        raise RunError(f"{path} is damaged: its weights do not fit its recipe: {error}") from None
    return Judge(
        meta["source"], meta["version"], facts, meta["accuracy"], meta["tested"], meta["recipe"], meta["note"],
        hashlib.sha256(path.read_bytes()).hexdigest()[:12], network,
    )  # fmt: skip


def ship(run: Run, out: Path, number: int = 1) -> Judge:
    """Make a finished run of family `classifier` a judge: version `number`, written to `out`.

    Kernels are kept as float16, which halves the file, everything else as float32; the accuracy is measured with
    those. Raises RunError when the run is not finished, is of another family, or would make more than 1 MB;
    DataError when its data are not there.
    """
    tree = recipe.read(recipe.parse(run.recipe_text(), str(run.recipe_file)))
    if run.status != "finished" or tree.model.get("family") != "classifier":
        raise RunError(f"{run.path} is no finished run of family classifier: nothing to make a judge of.")
    source, data = str(tree.data["source"]), run.info["data"]
    options = SOURCES[source].Options.model_validate(tree.data)
    dataset = SOURCES[source].load(options)
    if dataset.fingerprint != data["fingerprint"]:
        raise RunError(f"{run.path} was trained on other data than {source} holds now.")
    arrays, _ = load_arrays(run.weights_file)
    kept = {name: array.astype(np.float16) if array.ndim > 1 else array for name, array in arrays.items()}
    weight = sum(array.nbytes for array in kept.values())
    if weight > LIMIT:
        raise RunError(f"{run.path}: its weights take {weight:,} bytes, a judge's at most {LIMIT:,}.")
    facts, text = SOURCES[source].facts_for(options), run.recipe_text()
    judge = Judge(source, number, facts, math.nan, 0, text, data["note"], "", _network(text, facts, kept, None))
    right = judge.classify(dataset.test.pixels).argmax(axis=1) == dataset.test.labels
    meta = {
        "judge": FORMAT, "version": number, "source": source, "facts": asdict(facts), "accuracy": float(np.mean(right)),
        "tested": len(dataset.test), "recipe": text, "data": dataset.fingerprint, "note": data["note"],
        "package": run.info["package"],
    }  # fmt: skip
    save_arrays(out, kept, meta)
    return read_judge(out)


def _network(text: str, facts: Facts, arrays: Arrays, device: str | None) -> Classifier:
    """The classifier of a resolved recipe with these weights, its norms folded into the convolutions before them.

    Raises ValueError when the weights are another network's.
    """
    options = ClassifierOptions.model_validate(recipe.read(recipe.parse(text, "the judge's recipe")).model)
    network = Classifier(options, facts)
    network.load({name: array.astype(np.float32) for name, array in arrays.items()})
    network.eval()
    for row in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index, (first, second) in enumerate(pairwise(list(row))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                row[index], row[index + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    network.ready(device)
    return network
