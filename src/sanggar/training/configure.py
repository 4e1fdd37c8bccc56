"""A recipe for pictures of one's own: sized to them, to this machine and to the minutes given, and why.

As nnU-Net (Isensee et al. 2021, arXiv:1904.08128) does for segmentation: the data are looked at, and rules that can be
read make every choice. The rules choose for a start; a search, or a second recipe with `base:`, goes on from there.
"""

from __future__ import annotations

import io
import math
import statistics
import textwrap
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from sanggar import recipe
from sanggar.data.image_folder import FolderOptions
from sanggar.data.layout import TRAIN
from sanggar.data.look import Look, look
from sanggar.data.sources import SOURCES
from sanggar.errors import RecipeError
from sanggar.files import Tree
from sanggar.training.describe import describe

Family = Literal["vae", "autoencoder", "gan", "flow"]
FAMILIES: tuple[Family, ...] = ("vae", "autoencoder", "gan", "flow")
WORDS = {"vae": "A VAE", "autoencoder": "An autoencoder", "gan": "A GAN", "flow": "A flow"}
SIZES = (16, 24, 28, 32, 48, 64, 96, 128)
"""Edges that pictures are brought to"""
EDGES = ((5, 32), (20, 64), (60, 96))
"""Up to so many minutes, the largest edge: a picture of twice the edge costs four times the time"""
PATCHED = 64
"""Edge from which autoencoders and VAEs look at squares of 2×2 pixels, for a quarter of the work"""
OF_CLASS = 50
"""Pictures that every class has to have to be conditioned on, and the most classes that are"""
SEEN = 100_000
"""Pictures, each as often as it comes, that a training shall see; a smaller network where a larger one cannot"""
PASSES = (4, 100)
"""Epochs that are wanted for that, at least and at most"""
LONGEST = 1000
"""Epochs of a training, however small the network"""
WIDTH = 120
"""Characters of a line of the recipe"""
STILL = 0.9
"""Share of the minutes that steps may take: the rest is for validation and checkpoints"""


@dataclass
class Choices:
    """Values of a recipe by dotted key, in the order of choosing, and why each is what it is."""

    values: dict[str, object]
    why: dict[str, str]

    def choose(self, key: str, value: object, why: str = "") -> None:
        """Set a value."""
        self.values[key] = value
        if why:
            self.why[key] = why

    def tree(self) -> Tree:
        """As a recipe holds them."""
        tree: Tree = {}
        for key, value in self.values.items():
            at = tree
            *path, last = key.split(".")
            for part in path:
                at = at.setdefault(part, {})
            at[last] = value
        return tree


@dataclass(frozen=True)
class Configuration:
    """A recipe that was chosen, and what it was chosen by."""

    choices: Choices
    look: Look
    minutes: float
    """that its training takes on this machine, estimated"""

    def yaml(self) -> str:
        """The recipe, each value under why it is what it is."""
        writer = YAML()
        writer.width = WIDTH
        buffer = io.StringIO()
        writer.dump(_commented(self.choices), buffer)
        return buffer.getvalue()


def configure(
    folder: str | Path, minutes: float = 10.0, family: str = "vae", say: Callable[[str], None] = lambda text: None
) -> Configuration:
    """Choose a recipe for the pictures of a folder or a zip, for so many minutes of training on this machine.

    Raises DataError where the pictures are too few or all the same, RecipeError where the time is too short for one
    pass over them.
    """
    if family not in FAMILIES:
        raise RecipeError(f"family: there is no {family!r} for pictures of one's own. Known: {', '.join(FAMILIES)}.")
    if not 0 < minutes < 10_000:
        raise RecipeError(f"minutes: expected a number above 0 and below 10,000, got {minutes!r}.")
    looked = look(str(folder))
    choices = Choices({}, {})
    _about(choices, looked, str(folder), minutes, family)
    edge = _pictures(choices, looked, str(folder), minutes)
    train = SOURCES["folder"].left(FolderOptions(source="folder", path=str(folder)))
    _network(choices, looked, edge, family)
    _training(choices, train, family)
    taken = _sized(choices, train, edge, minutes, family, say)
    choices.choose(
        "evaluation.train_images", min(10_000, max(20, train)), "what principal components and mixtures are fitted on"
    )
    if family == "flow":
        choices.choose("evaluation.generation.samples", 2000, "each picture that a flow draws takes many evaluations")
    return Configuration(choices, looked, taken)


# -- choices -----------------------------------------------------------------------------------------------------


def _about(choices: Choices, looked: Look, folder: str, minutes: float, family: str) -> None:
    modes = ", ".join(f"{mode} {count}" for mode, count in looked.modes.most_common())
    edges = sorted(looked.edges)
    shorter = (
        f"{edges[0]} to {edges[-1]} pixels, half of them {int(statistics.median(edges))} or more"
        if edges[0] < edges[-1] else f"{edges[0]} pixels"
    )  # fmt: skip
    lines = [f"{looked.count:,} pictures; {looked.opened:,} were opened: shorter edges {shorter}; modes {modes}"]
    if looked.different < len(looked.edges):
        lines.append(f"{len(looked.edges) - looked.different:,} of those opened look the same as another")
    if looked.broken:
        lines.append(f"{len(looked.broken):,} of those opened cannot be read and are left out")
    if looked.listing.attributes:
        names = ", ".join(attribute.name for attribute in looked.listing.attributes)
        lines.append(f"a table tells {names}: measured, and conditioned on where model.condition names one")
    choices.choose("format", recipe.FORMAT)
    choices.choose(
        "about", f"{WORDS[family]} on pictures of one's own, chosen by `sanggar new` for {minutes:g} minutes of "
        f"training. {'. '.join(line[0].upper() + line[1:] for line in lines)}."
    )  # fmt: skip


def _pictures(choices: Choices, looked: Look, folder: str, minutes: float) -> int:
    median = int(statistics.median(looked.edges))
    limit = next((edge for most, edge in EDGES if minutes <= most), SIZES[-1])
    edge = max(size for size in SIZES if size <= max(SIZES[0], min(median, limit)))
    sizes = ", ".join(map(str, SIZES))
    choices.choose("data.source", "folder")
    choices.choose("data.path", folder)
    by = (
        f"half of the pictures are smaller: they are enlarged to the smallest of {sizes}" if median < edge
        else f"the largest of {sizes} that half of the pictures have" if median <= limit
        else f"the pictures are larger, but {minutes:g} minutes are too short for more" if limit < SIZES[-1]
        else "the pictures are larger: this is the largest that is chosen here"
    )  # fmt: skip
    choices.choose("data.size", edge, f"pixels: {by}")
    far = sum(ratio > 1.5 for ratio in looked.ratios) / len(looked.ratios)
    if far > 0.5:
        why = f"{far:.0%} of the pictures are more than half again as long as wide: a square would cut much of them off"
        choices.choose("data.fit", "squash", why)
    else:
        why = "the square in the middle: most pictures are nearly square, and keep their proportions"
        choices.choose("data.fit", "crop", why)
    choices.choose(
        "data.colour", looked.colour,
        "there are colours in them" if looked.colour else "next to no colours in them: one channel will do",
    )  # fmt: skip
    return edge


def _conditions(looked: Look) -> tuple[list[str], str]:
    """What a network is conditioned on, and why."""
    listing = looked.listing
    if listing.labels is None or len(listing.classes) < 2:
        return [], "there are no classes by folder, so that it is conditioned on nothing"
    trained = listing.labels if listing.parts is None else listing.labels[listing.parts == TRAIN]
    counts = np.bincount(trained, minlength=len(listing.classes))
    if len(counts) > OF_CLASS or counts.min() < OF_CLASS:
        return [], (
            f"{len(counts)} classes, the smallest of {counts.min():,} pictures, are too many or too small to be drawn "
            "each for itself"
        )
    return ["class"], f"{len(counts)} classes, each of {counts.min():,} pictures or more"


def _network(choices: Choices, looked: Look, edge: int, family: str) -> None:
    names, why = _conditions(looked)
    choices.choose("model.family", family)
    if family in ("vae", "autoencoder"):
        latent = min(256, max(16, 2 * edge), max(8, looked.count // 20))
        choices.choose(
            "model.latent_size",
            latent,
            "two numbers for each pixel of an edge, fewer where pictures are few",
        )
        choices.choose("model.linear", True, "begins as principal components: the time goes into what they cannot say")
        choices.choose("model.norm", "group", "goes by each picture alone: batches may be small")
        choices.choose("model.activation", "silu", "smooth, and as quick as relu")
        prior: Tree = {"kind": "mixture"}
        if names:
            prior["condition"] = names
        choices.choose(
            "model.prior", prior,
            f"latents are drawn where pictures have theirs; it takes a few pictures, where a flow takes many; {why}",
        )  # fmt: skip
    if family == "vae":
        choices.choose("model.likelihood", {"kind": "gaussian"}, "its deviation is learned")
        choices.choose(
            "model.beta", {"weight": 0.5}, "below 1 for sharper reconstructions: the learned prior makes up for it"
        )
    if family == "autoencoder":
        choices.choose("model.noise", {"level": 0.1}, "a little noise keeps the latent space smooth")
    if family in ("gan", "flow"):
        choices.choose("model.condition", names, why)
    if family == "gan":
        if names:
            choices.choose("model.conditioning", "projection", "the critic compares a picture with its class")
        choices.choose("model.latent_size", 64, "of noise, which nothing is encoded into: enough for any variety")
        choices.choose("model.objective", {"kind": "relativistic"}, "scores are compared in pairs: few modes are lost")
        choices.choose("model.penalty", {"kind": "r1", "weight": 1, "every": 16}, "keeps the critic from running away")
        if looked.count < 5000:
            choices.choose(
                "model.augmentation", {"kind": "fixed", "translation": 0.1, "cutout": 0.2},
                f"of all that the critic sees: with {looked.count:,} pictures it would learn them by heart",
            )  # fmt: skip


def _training(choices: Choices, train: int, family: str) -> None:
    batch = 32 if train < 2000 else 64
    choices.choose("training.batch_size", batch, f"{train:,} pictures to train on")
    rate = {"gan": 0.001, "flow": 0.001}.get(family, 0.002)
    optimizer: Tree = {"kind": "adam", "learning_rate": rate}
    if family == "gan":
        optimizer["betas"] = [0.0, 0.99]
    choices.choose("training.optimizer", optimizer, "what networks of this kind and size learn well with")
    choices.choose("training.ema", 0.995, "averaged weights draw better than the last ones")


def _networks(family: str, edge: int) -> list[Tree]:
    """Networks by size, by what a step of them takes, the quickest first: keys below `model`."""
    squares = 2 if edge >= PATCHED and family in ("vae", "autoencoder") else 1
    halvings = max(1, int(math.log2(edge / squares / 4)))
    levels = min(4, halvings)
    found = list[Tree]()
    for width in (8, 16, 24, 32, 48, 64):
        widths = [min(width * 2**level, 256) for level in range(levels)]
        if family in ("vae", "autoencoder"):
            coarser: Tree = {"patch": squares} if squares > 1 else {}
            found += [{"widths": widths, "blocks": blocks, **coarser} for blocks in ((0, 1) if width >= 32 else (0,))]
        elif family == "gan":
            found.append({
                "generator": {"kind": "resnet", "widths": widths[::-1], "norm": "batch"},
                "critic": {"kind": "resnet", "widths": widths, "norm": "none"},
            })  # fmt: skip
        else:
            patch = 1 if edge <= 16 else 2 if edge <= 32 else 4
            found.append({"network": {"kind": "unet", "widths": widths[: max(1, levels - int(math.log2(patch)))],
                                      "patch": patch}})  # fmt: skip
    return found


def _sized(
    choices: Choices, train: int, edge: int, minutes: float, family: str, say: Callable[[str], None]
) -> float:  # fmt: skip
    """Choose the network and the epochs by timing networks; the minutes that they take."""
    batch = choices.values["training.batch_size"]
    assert isinstance(batch, int)
    per_epoch = max(1, train // batch)
    least = min(max(SEEN / train, PASSES[0]), PASSES[1])
    networks = _networks(family, edge)
    timed: dict[int, float] = {}

    def passes_of(place: int) -> float:
        """Epochs in the time that there is, less with every place."""
        if place not in timed:
            timed[place] = _seconds(choices, networks[place], per_epoch)
            say(f"{_shown(networks[place])}: {1000 * timed[place]:.0f} ms a step")
        return STILL * 60 * minutes / (timed[place] * per_epoch)

    # the last place, from the smallest network on, with epochs enough: few are timed
    place = max(0, bisect_right(range(len(networks)), -least, key=lambda place: -passes_of(place)) - 1)
    network, passes, seconds = networks[place], passes_of(place), timed[place]
    if passes < 1:
        raise RecipeError(
            f"{minutes:g} minutes are too few: the smallest network takes {_duration(seconds * per_epoch)} for one "
            f"epoch of {train:,} pictures on this machine. Give more minutes, or fewer pictures."
        )
    epochs = int(min(passes, LONGEST))
    why = (
        f"{1000 * seconds:.0f} ms a step on this machine: the largest of those tried that passes over the pictures "
        f"{least:.0f} times" if passes >= least else
        f"{1000 * seconds:.0f} ms a step on this machine: the smallest of those tried"
    )  # fmt: skip
    for number, (key, value) in enumerate(network.items()):
        choices.choose(f"model.{key}", value, "with the same step" if number else why)
    unit = "epochs" if family != "gan" else "steps"
    amount = epochs if family != "gan" else epochs * per_epoch
    taken = epochs * per_epoch * seconds / 60
    choices.choose(f"training.{unit}", amount, f"{epochs} passes over the pictures, in about {_duration(60 * taken)}")
    warm = min(100, epochs * per_epoch // 20)
    choices.choose("training.schedule", {"kind": "cosine", "warmup_steps": warm}, "ends where it has settled")
    if family == "gan" or epochs > 40:
        every = max(1, epochs * per_epoch // 20)
        choices.choose("training.validate_every", every, "twenty times")
    return taken


def _shown(network: Tree) -> str:
    """A network in words: the widths of its parts."""
    return ", ".join(f"{key} {value['widths'] if isinstance(value, dict) else value}" for key, value in network.items())


def _duration(seconds: float) -> str:
    return f"{seconds:.2g} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"


def _seconds(choices: Choices, network: Tree, per_epoch: int) -> float:
    """Of a step with a network, timed."""
    tried = Choices(dict(choices.values), {})
    for key, value in network.items():
        tried.choose(f"model.{key}", value)
    tried.choose("training.steps", 20 * per_epoch)
    return describe(recipe.read(tried.tree())).cost.seconds_a_step


# -- as YAML -----------------------------------------------------------------------------------------------------

GROUPS = ("format", "about", "data", "model", "training", "evaluation")


def _commented(choices: Choices) -> CommentedMap:
    """The recipe with a comment above each value that has a reason."""
    order = sorted(choices.values, key=lambda key: GROUPS.index(key.split(".")[0]))
    whole = CommentedMap()
    for key in order:
        *path, last = key.split(".")
        at = whole
        for part in path:
            at = at.setdefault(part, CommentedMap())
        at[last] = _flowing(choices.values[key])
        if why := choices.why.get(key):
            lines = textwrap.fill(why, WIDTH - 2 * len(path) - 2, break_long_words=False)
            at.yaml_set_comment_before_after_key(last, before=lines, indent=2 * len(path))
    return whole


def _flowing(value: object) -> object:
    """Lists and small dictionaries in one line."""
    if isinstance(value, dict):
        found = CommentedMap({key: _flowing(inner) for key, inner in value.items()})
        found.fa.set_flow_style()
        return found
    if isinstance(value, Sequence) and not isinstance(value, str):
        listed = CommentedSeq(_flowing(inner) for inner in value)
        listed.fa.set_flow_style()
        return listed
    return value
