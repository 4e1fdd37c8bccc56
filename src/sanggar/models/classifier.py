"""A small residual convolutional network that tells classes or attributes, and whose features judges look at."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from sanggar.data.images import ImageSpec
from sanggar.errors import DataError
from sanggar.models.base import Batch, Model, Phase, Pictures, StepContext, Terms, alone
from sanggar.models.blocks import ACTIVATIONS, Activation, norm_layer
from sanggar.models.conditions import Condition, Conditions, Kind
from sanggar.options import Options

Features = Float[Tensor, "batch features"]
Norm = Literal["none", "batch", "group"]
Width = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0, le=8)]


class ClassifierOptions(Options):
    """A residual convolutional network whose last stage, averaged over the picture, is read by a linear layer."""

    family: Literal["classifier"] = "classifier"
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=6)] = (32, 64, 128)
    """channels of each stage; from one to the next, height and width are halved"""
    blocks: Annotated[tuple[Count, ...], Field(min_length=1, max_length=6)] = (0, 1, 1)
    """residual blocks of each stage, after its first convolution"""
    norm: Norm = "batch"
    """between a convolution and its activation"""
    activation: Activation = "relu"
    """after each convolution"""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """share of the features that the linear layer does not see while training"""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """share of each label that is spread evenly over the classes while training (Szegedy et al. 2016,
    arXiv:1512.00567)"""

    attributes: tuple[str, ...] = ()
    """attributes that it tells beside the class, or instead where the pictures have no classes"""

    @model_validator(mode="after")
    def _as_many(self) -> ClassifierOptions:
        if len(self.blocks) != len(self.widths):
            raise ValueError(f"blocks: {len(self.blocks)} counts for {len(self.widths)} widths")
        return self


class Block(nn.Module):
    """act(x + f(x)) with two 3×3 convolutions (He et al. 2016, arXiv:1512.03385).

    The activation comes last, so that what leaves a stage is never negative where the activation is a ReLU.
    """

    def __init__(self, width: int, norm: Norm, activation: Activation) -> None:
        super().__init__()
        last = convolution(width, width, norm)
        nn.init.zeros_(last[-1].weight)  # type: ignore[arg-type]  # begins as the identity (Goyal et al. 2017)
        self.act = ACTIVATIONS[activation]()
        self.body = nn.Sequential(*convolution(width, width, norm), ACTIVATIONS[activation](), *last)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input with the block's correction added."""
        corrected: Tensor = self.act(x + self.body(x))
        return corrected


class Classifier(Model):
    """A model of family `classifier`. It classifies, tells attributes, and shows the features that it goes by."""

    Options: ClassVar[type[Options]] = ClassifierOptions

    def __init__(self, options: ClassifierOptions, spec: ImageSpec) -> None:
        super().__init__()
        if not spec.classes and not options.attributes:
            raise DataError(
                "classifier tells classes apart, and these pictures have none; name attributes in model.attributes."
            )
        self.options = options
        self.asked = Conditions(options.attributes, spec, "model.attributes")
        """the attributes that it tells, as numbers"""
        self.size = options.widths[-1]
        """numbers in a picture's features"""
        stages: list[nn.Module] = []
        for stage, (before, after) in enumerate(pairwise((spec.channels, *options.widths))):
            # a picture of one pixel is left as it is: ceil_mode
            stages += [nn.MaxPool2d(2, ceil_mode=True)] if stage else []
            stages += [*convolution(before, after, options.norm), ACTIVATIONS[options.activation]()]
            stages += [Block(after, options.norm, options.activation) for _ in range(options.blocks[stage])]
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(options.dropout)
        self.classes = len(spec.classes)
        if self.classes:
            self.linear = nn.Linear(self.size, self.classes)
        if options.attributes:
            self.heads = nn.Linear(self.size, self.asked.width)
        self.divisible = alone(self)

    def phases(self) -> list[Phase]:
        """One phase: all parameters, one loss, and the accuracy to look at where there are classes."""
        watched = ("accuracy",) if self.classes else ()
        return [Phase("classifier", list(self.parameters()), self.loss, watched=watched)]

    def loss(self, batch: Batch, context: StepContext) -> Terms:
        """Cross-entropy in nats and the share told right; of attributes, cross-entropy or half the squared error."""
        features, terms = self.features(batch.images), {}
        if self.classes:
            if batch.labels is None:
                raise DataError("classifier learns from labels, and these pictures have none.")
            logits = self.logits(features)
            smoothing = self.options.label_smoothing if self.training else 0.0
            terms["cross_entropy"] = F.cross_entropy(logits, batch.labels, label_smoothing=smoothing)
            terms["accuracy"] = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        if self.options.attributes:
            wanted, raw = self.asked.encode(batch.labels, batch.attributes), self.heads(self.dropout(features)).float()
            for name in self.asked.names:
                place = self.asked.place(name)
                terms[name] = attribute_loss(self.asked.kind(name), raw[:, place], wanted[:, place])
        return terms

    def features(self, images: Pictures) -> Features:
        """The last stage averaged over height and width, float32; never negative where the activation is a ReLU."""
        return self.stages(images).float().mean(dim=(2, 3))  # type: ignore[no-any-return]

    def maps(self, images: Pictures) -> list[Float[Tensor, "_ _ _ _"]]:
        """What leaves each stage, the largest first: channels at places."""
        x, found = images, []
        for layer in self.stages:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
            x = layer(x)
        return [*found, x]

    def logits(self, features: Features) -> Float[Tensor, "batch classes"]:
        """The logarithms of the probabilities, up to a constant, float32."""
        return self.linear(self.dropout(features)).float()  # type: ignore[no-any-return]

    def classify(self, images: Pictures) -> Float[Tensor, "batch classes"]:
        """The probability of each class."""
        return torch.softmax(self.logits(self.features(images)), dim=1)

    def tell(self, images: Pictures) -> Condition:
        """The attributes of each picture: the probability of a flag and of each category, a number in its own unit."""
        raw, found = self.heads(self.features(images)).float(), []
        for name in self.asked.names:
            part, kind = raw[:, self.asked.place(name)], self.asked.kind(name)
            if kind == "number":
                column = self.asked.columns[name][1]
                found.append(part * column.deviation + column.mean)
            else:
                found.append(torch.sigmoid(part) if kind == "flag" else torch.softmax(part, dim=1))
        return torch.cat(found, dim=1)


def attribute_loss(kind: Kind, raw: Condition, wanted: Condition) -> Float[Tensor, ""]:
    """Cross-entropy in nats of a flag (wanted: −1 or 1) or a category (one 1 among zeros); half the squared error of a
    number in deviations.
    """
    if kind == "flag":
        return F.softplus(-raw * wanted).mean()
    if kind == "category":
        return F.cross_entropy(raw, wanted.argmax(dim=1))
    return (raw - wanted).square().mean() / 2


def dissimilarity(network: Classifier, x: Pictures, y: Pictures) -> Float[Tensor, "batch"]:
    """How differently a classifier sees two pictures: LPIPS without learned weights (Zhang et al. 2018,
    arXiv:1801.03924, equation 1).

    At each stage, the channels at a place are divided by their norm; squared differences are averaged over places and
    summed over channels and stages. 0 for the same pictures, at most 4 a stage.
    """
    total = torch.zeros(len(x), device=x.device)
    for one, other in zip(network.maps(x), network.maps(y), strict=True):
        difference = F.normalize(one.float(), dim=1) - F.normalize(other.float(), dim=1)
        total = total + difference.square().sum(dim=1).mean(dim=(1, 2))
    return total


def at_size(images: Float[Tensor, "n channels height width"], spec: ImageSpec) -> Float[Tensor, "n channels h w"]:
    """Average pictures that are larger by a whole factor to the size of the spec."""
    factor = images.shape[2] // spec.height
    return images if factor == 1 else F.avg_pool2d(images, factor)


def convolution(before: int, after: int, norm: Norm) -> list[nn.Module]:
    """A 3×3 convolution that keeps the size, and its norm; the bias is the norm's where there is one."""
    layer = nn.Conv2d(before, after, 3, padding=1, bias=norm == "none")
    return [layer] if norm == "none" else [layer, norm_layer(norm, after)]
