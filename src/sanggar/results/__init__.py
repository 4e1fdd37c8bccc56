"""What evaluation writes and reporting reads: measurements with stable keys, alarms, and details, each typed.

No sentence is stored where a key will do; labels are made from keys when a page is written. A file is checked against
these types when it is read, so that everything behind them can rely on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

if TYPE_CHECKING:
    Json = JsonValue
else:
    Json = Any  # in annotations that are checked while tests run: they cannot follow the recursion of JsonValue

FORMAT = 2
"""Version of what evaluation writes; raised when a key or an array is renamed, with a migration"""

NETWORK, FLOOR, PCA, KNN, PIXELS, JUDGE = "network", "floor", "pca", "knn", "pixels", "judge"
"""Subjects: the run's network, and what is measured beside it. A metric may have others of its own."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$", max_length=80)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Tag = str | int | Finite
Better = Literal["higher", "lower"]
Unit = Literal["", "dB", "nats", "bits", "deviations", "dimensions", "scale"]
"""`scale`: on the pixel scale [-1, 1]"""


class Record(BaseModel):
    """Base of what is stored: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Protocol(Record):
    """What a value depends on besides the model. Two values compare only when their protocols are equal."""

    split: Literal["train", "validation", "test"] = "test"
    n: int = Field(ge=1)
    """pictures"""
    data: str
    """source, fingerprint and whatever else names the pictures"""
    settings: dict[Name, JsonValue] = {}
    """everything else, by name"""

    def having(self, **settings: Json) -> Protocol:
        """The same protocol with more settings."""
        return self.model_copy(update={"settings": {**self.settings, **settings}})

    def on(self, n: int) -> Protocol:
        """The same protocol on another number of pictures."""
        return self.model_copy(update={"n": n})


class Measurement(Record):
    """One measured value."""

    key: Key
    """metric and quantity: reconstruction.psnr"""
    subject: Name = NETWORK
    """whom it was measured of"""
    value: Finite
    unit: Unit = ""
    better: Better | None = None
    interval: tuple[Finite, Finite] | None = None
    """95 % interval over the pictures"""
    tags: dict[Name, Tag] = {}
    """which of several it is: a level of noise, a class, a score"""
    protocol: Protocol
    headline: bool = False
    """whether it is among the first to look at"""

    @property
    def metric(self) -> str:
        """Name of the metric that measured it."""
        return self.key.split(".")[0]


class Alarm(Record):
    """Something that evaluation found wrong; its text is made from the key when it is shown."""

    key: Key
    values: dict[Name, JsonValue] = {}


class Evaluation(Record):
    """Everything that one evaluation of a run measured."""

    format: int
    package: str
    """version of sanggar"""
    step: int = Field(ge=0)
    """step of the weights that were measured"""
    weights: Literal["averaged", "final"]
    measurements: tuple[Measurement, ...]
    alarms: tuple[Alarm, ...] = ()
    details: dict[Name, dict[Name, JsonValue]] = {}
    """by metric: what belongs to its arrays and is no number"""
    seconds: dict[Name, Finite] = {}
    """by metric"""
    files: dict[Name, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = {}
    """by name, the checksums of the array files that belong to it; without, whatever lies there does"""

    def find(self, key: str, subject: str | None = None, /, **tags: Tag) -> list[Measurement]:
        """Measurements with this key, of this subject where one is given, with at least these tags."""
        return [
            m
            for m in self.measurements
            if m.key == key and subject in (None, m.subject) and tags.items() <= m.tags.items()
        ]

    def beside(self, measurement: Measurement, subject: str) -> Measurement | None:
        """The same quantity of another subject."""
        found = self.find(measurement.key, subject, **measurement.tags)
        return found[0] if found else None


def headlines(evaluation: Evaluation) -> Sequence[Measurement]:
    """The measurements to look at first."""
    return [m for m in evaluation.measurements if m.headline]
