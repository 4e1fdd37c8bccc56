"""Judges: small classifiers shipped with sanggar, whose features and predictions measure generated pictures.

A judge is an instrument: the same file measures the same on every machine. It is a network of family `classifier`,
trained by the shipped recipe `judge-NAME` on a train split, and kept as one safetensors file with the recipe that made
it and its accuracy on the test split.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from sanggar import files, recipe
from sanggar.data.dataset import TENTH, DataOptions
from sanggar.data.image_folder import FolderOptions
from sanggar.data.images import Attribute, Images, ImageSpec, as_pixels, at_once, to_float
from sanggar.data.sources import SOURCES
from sanggar.errors import RecipeError, RunError, suggest
from sanggar.models.classifier import Classifier, ClassifierOptions, at_size, dissimilarity
from sanggar.plain import parse
from sanggar.runs import Arrays, Run, load_arrays, save_arrays

FORMAT = 1
"""Version of a judge's file; raised when an older sanggar could not read a newer judge"""
LIMIT = 1_000_000
"""Bytes that a judge's file may have"""
FOLDER = Path(__file__).parent / "judges"
JUDGES: tuple[str, ...] = tuple(sorted(path.stem for path in FOLDER.glob("*.safetensors")))
"""The judges that come with sanggar, each named after the source that it judges, or after what is on the pictures"""
GENERAL = "general"
"""The judge of pictures that no other knows: it looks at any, brought to its size and to colour, and names nothing"""
CHUNK = 256
"""Pictures that go through a judge at a time, at most: few enough to stay in a processor's cache"""

Pixels = UInt8[np.ndarray, "n height width channels"]
Features = Float[np.ndarray, "n features"]
Probabilities = Float[np.ndarray, "n classes"]
Predictions = Float[np.ndarray, "n attributes"]
"""Of attributes, as numbers: see `Judge.place`"""


@dataclass(frozen=True)
class Judge:
    """A classifier to measure with. It computes in float32 and in evaluation mode, whatever trained it.

    Features are the last stage's activations averaged over the picture: what the linear layer classifies by, never
    negative, `size` of them. Pictures that are larger by a whole factor are brought to its size by averaging.
    """

    of: str
    """what it judges: a source, or what is on the pictures"""
    version: int
    spec: ImageSpec
    """the pictures that it looks at, their classes, and the attributes that it predicts"""
    accuracy: float
    """share of the test pictures whose class it predicts, measured with the weights as they are shipped; 0 without
    classes"""
    attribute_scores: dict[str, float]
    """by attribute: the same share, or of a number the mean absolute error"""
    test_count: int
    """test pictures"""
    recipe: str = field(repr=False)
    """resolved recipe that made it"""
    note: str
    """note on the data that it learned from"""
    hash: str
    """first 12 hexadecimal digits of the file's SHA-256"""
    network: Classifier = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name in a protocol: judge cifar-10 v2."""
        return f"judge {self.of} v{self.version}"

    def learned_from(self, data: DataOptions) -> bool:
        """Whether it learned from test pictures of that data: the same pictures, split otherwise."""
        own = parse(self.recipe, self.name)["data"]
        places = [Path(str(place)).stem for place in (own.get("path"), getattr(data, "path", None))]
        drawn = TENTH if isinstance(data, FolderOptions) else None  # of one's own pictures, where nothing is said
        parts = [drawn if part is None else part for part in (own["test"], data.test)]
        return (
            (own["source"], places[0]) == (data.source, places[1])
            and parts != [None, None]  # the publisher's split has no seed
            and (parts[0], own["seed"]) != (parts[1], data.seed)
        )

    @property
    def names_classes(self) -> bool:
        """Whether it says of which class a picture is; the general one knows none that pictures were sorted by."""
        return bool(self.spec.classes) and self.of != GENERAL

    @property
    def size(self) -> int:
        """Numbers in a picture's features."""
        return self.network.size

    def features(self, pixels: np.ndarray) -> Features:
        """Features of each uint8 picture `(N, H, W, C)`. Raises DataError when they are not of the judge's size."""
        return self.both(pixels)[0]

    def classify(self, pixels: np.ndarray) -> Probabilities:
        """Probability of each class for each picture. Raises DataError likewise."""
        return self.both(pixels)[1]

    def both(self, pixels: np.ndarray) -> tuple[Features, Probabilities]:
        """Features and probabilities in one pass, float32. Raises DataError likewise."""

        def look(shown: Tensor) -> tuple[Tensor, ...]:
            features = self.network.features(shown)
            logits = self.network.logits(features) if self.spec.classes else features[:, :0]
            return features, torch.softmax(logits, dim=1)

        features, probabilities = self._look(look, pixels)
        return features, probabilities

    def tell(self, pixels: np.ndarray) -> Predictions:
        """Predict the attributes of each picture, see `Classifier.tell`. Raises DataError likewise."""
        return self._look(lambda shown: (self.network.tell(shown),), pixels)[0]

    def place(self, attribute: str) -> slice:
        """Position of an attribute in what `tell` gives."""
        return self.network.asked.place(attribute)

    def dissimilarity(self, pixels: np.ndarray, others: np.ndarray) -> Float[np.ndarray, "n"]:
        """Perceptual distance of two pictures, pair by pair: see `classifier.dissimilarity`. Raises DataError."""
        return self._look(lambda one, other: (dissimilarity(self.network, one, other).double(),), pixels, others)[0]

    def factor(self, spec: ImageSpec) -> int | None:
        """Factor by which pictures are larger than those that it looks at; None where it cannot look at them.

        The general one looks at all: 1.
        """
        if self.of == GENERAL:
            return 1
        height, rest = divmod(spec.height, self.spec.height)
        fits = spec.channels == self.spec.channels and rest == 0 and spec.width == height * self.spec.width
        return height or None if fits else None

    def _look(self, see: Callable[..., tuple[Tensor, ...]], *sides: np.ndarray) -> list[np.ndarray]:
        """What `see` computes of pictures, a chunk at a time: float arrays."""
        checked = [self._checked(pixels) for pixels in sides]
        device, parts = next(self.network.parameters()).device, []
        few = min(CHUNK, at_once(*checked[0].shape[1:3]))
        # TensorFloat-32, a GPU's default for convolutions, would measure otherwise than a processor
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(checked[0]), few):
                shown = [torch.from_numpy(np.require(p[start : start + few], None, ["C", "W"])) for p in checked]
                seen = see(*(at_size(to_float(pixels.to(device)), self.spec) for pixels in shown))
                parts.append([found.cpu().numpy() for found in seen])
        return [np.concatenate(found) for found in zip(*parts, strict=True)]

    def _checked(self, pixels: np.ndarray) -> Pixels:
        if self.of == GENERAL:
            return brought(pixels, self.spec)
        height, width = np.shape(pixels)[1:3] if np.ndim(pixels) == 4 else (0, 0)
        spec = replace(self.spec, height=height, width=width)
        return as_pixels(pixels, spec if self.factor(spec) else self.spec, f"pictures for the {self.name}")


def open_judge(name: str, device: str | None = None) -> Judge:
    """Open a judge that comes with sanggar, on a device (None: the best one here).

    Raises RunError when there is none of that name, or its file is damaged.
    """
    if name not in JUDGES:
        raise RunError(f"There is no judge {name!r}. {suggest(name, JUDGES)}")
    return read_judge(FOLDER / f"{name}.safetensors", device)


def judge_for(named: str, source: str, spec: ImageSpec, own: Path | None = None) -> Judge:
    """Judge that a recipe names in `evaluation.feature_network`, else the source's, else the ruler of these pictures.

    That is the one in the file `own`, where it is there and to be trusted, else the general judge. Raises RecipeError
    where the one that is named cannot look at these pictures.
    """
    if named not in JUDGES and source not in JUDGES and own is not None:
        with suppress(RunError):  # none there, or damaged: it can be made anew
            if load_arrays(own)[1].get("trusted") is True:
                return that_sees(read_judge(own), spec, "evaluation.feature_network")
    name = named if named in JUDGES else source if source in JUDGES else GENERAL
    return that_sees(open_judge(name), spec, "evaluation.feature_network")


def own_file(fingerprint: str, data: DataOptions) -> Path:
    """Where the ruler of some pictures is kept: one for each split of the same pictures."""
    key = f"{FORMAT}/{fingerprint}/{data.model_dump_json(exclude={'path', 'note'})}"
    return files.cache_folder("rulers") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def brought(pixels: np.ndarray, spec: ImageSpec) -> Pixels:
    """Pictures of any size as others are: bilinear, antialiased; grey ones as grey in each channel."""
    parts = [np.zeros((0, spec.height, spec.width, spec.channels), np.uint8)]
    for start in range(0, len(pixels), CHUNK):
        shown = torch.from_numpy(np.array(pixels[start : start + CHUNK])).permute(0, 3, 1, 2).float()
        small = F.interpolate(shown, (spec.height, spec.width), mode="bilinear", antialias=True)
        whole = small.round().clamp(0, 255).to(torch.uint8).expand(-1, spec.channels, -1, -1)
        parts.append(whole.permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


def that_sees(judge: Judge, spec: ImageSpec, key: str) -> Judge:
    """The judge, if it can look at these pictures; else raise RecipeError that names the recipe's key."""
    if judge.factor(spec) is None:
        raise RecipeError(
            f"{key}: the {judge.name} looks at pictures of {judge.spec.size}, or larger by a whole factor; these are "
            f"{spec.size}."
        )
    return judge


def read_judge(path: Path, device: str | None = None) -> Judge:
    """Read the judge in a file that `ship` wrote. Raises RunError when it is damaged, of a newer format, or none."""
    arrays, meta = load_arrays(path)
    if "judge" not in meta:
        raise RunError(f"{path} holds no judge.")
    if meta["judge"] > FORMAT:
        raise RunError(f"{path} was written by a newer sanggar (format {meta['judge']}). Update sanggar to open it.")
    attributes = [Attribute(**a | {"values": tuple(a["values"])}) for a in meta["facts"].get("attributes", ())]
    known = {name: meta["facts"][name] for name in ("height", "width", "channels")}
    spec = ImageSpec(**known, classes=tuple(meta["facts"]["classes"]), attributes=tuple(attributes))
    try:
        network = _network(meta["recipe"], spec, arrays, device)
    except ValueError as error:
        raise RunError(f"{path} is damaged: its weights do not fit its recipe: {error}") from None
    return Judge(
        meta["source"], meta["version"], spec, meta["accuracy"], meta.get("told", {}), meta["tested"], meta["recipe"],
        meta["note"], hashlib.sha256(path.read_bytes()).hexdigest()[:12], network,
    )  # fmt: skip


def ship(run: Run, out: Path, number: int = 1, name: str | None = None) -> Judge:
    """Make a finished run of family `classifier` a judge: version `number`, written to `out`, whose stem is its name.

    Another name can be given.

    Kernels are kept as float16, which halves the file, everything else as float32; the accuracy is measured with
    those. Raises RunError when the run is not finished, is of another family, or would make more than 1 MB;
    DataError when its data are not there.
    """
    tree = recipe.read_stored(run.recipe_text(), str(run.recipe_file))
    if run.status != "finished" or tree.model.get("family") != "classifier":
        raise RunError(f"{run.path} is no finished run of family classifier: no judge.")
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
    text, spec = run.recipe_text(), SOURCES[source].spec_for(options)
    asked = tree.model.get("attributes", ())
    spec = replace(spec, attributes=tuple(column for column in spec.attributes if column.name in asked))
    network = _network(text, spec, kept, None)
    name = name or out.stem
    judge = Judge(name, number, spec, math.nan, {}, 0, text, data["note"], "", network)
    spec_of_all, accuracy = SOURCES[source].spec_for(options), 0.0
    if spec.classes:
        accuracy = float(np.mean(judge.classify(dataset.test.pixels).argmax(axis=1) == dataset.test.labels))
    meta = {
        "judge": FORMAT, "version": number, "source": name, "facts": asdict(spec), "tested": len(dataset.test),
        "accuracy": accuracy, "told": attribute_scores(judge, dataset.test, spec_of_all),
        "recipe": text, "data": dataset.fingerprint, "note": data["note"], "package": run.info["package"],
    }  # fmt: skip
    save_arrays(out, kept, meta)
    return read_judge(out)


def attribute_scores(judge: Judge, test: Images, spec: ImageSpec) -> dict[str, float]:
    """Measure how well a judge predicts each attribute of pictures, whose columns are those of `spec`.

    The share that is right, or of a number the mean absolute error.
    """
    if not judge.spec.attributes:
        return {}
    assert test.attributes is not None
    predicted, scores = judge.tell(test.pixels), {}
    for column in judge.spec.attributes:
        part, truth = predicted[:, judge.place(column.name)], test.attributes[:, spec.attributes.index(column)]
        if column.kind == "number":
            scores[column.name] = float(np.abs(part[:, 0] - truth).mean())
        else:
            values = part.argmax(axis=1) if column.kind == "category" else part[:, 0] > 0.5
            scores[column.name] = float((values == truth).mean())
    return scores


def _network(text: str, spec: ImageSpec, arrays: Arrays, device: str | None) -> Classifier:
    """Build the classifier of a resolved recipe with these weights, norms folded into the convolutions before them.

    Raises ValueError when the weights are another network's.
    """
    options = ClassifierOptions.model_validate(recipe.read(parse(text, "the judge's recipe")).model)
    network = Classifier(options, spec)
    network.load({name: array.astype(np.float32) for name, array in arrays.items()})
    network.eval()
    for row in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index, (first, second) in enumerate(pairwise(list(row))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                row[index], row[index + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    network.eval_on(device)
    return network
