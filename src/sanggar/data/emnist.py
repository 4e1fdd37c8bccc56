"""EMNIST: letters and digits in MNIST's layout, six data sets that the publisher packs into one zip.

Cohen, Afshar, Tapson and van Schaik, "EMNIST: an extension of MNIST to handwritten letters", 2017,
https://www.nist.gov/itl/products-and-services/emnist-dataset
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Literal, cast

from sanggar.data.dataset import DataOptions, Dataset, Presence, Source
from sanggar.data.downloads import Download, read_mnist_layout
from sanggar.data.images import ImageSpec
from sanggar.data.remote import Remote

ABOUT = "up to 814,255 handwritten characters in six sets (data.split), 28×28 grey"
LICENCE = "as published by NIST, which states none (Cohen et al. 2017)"
ARCHIVE = Remote("gzip.zip", "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e", 561_753_746)
MIRRORS = (
    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
    "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
)
MERGED = digits + ascii_uppercase + "abdefghnqrt"
"""Classes where small letters that look like their capitals are one class with them, called as the capital."""
SETS = {
    "byclass": (digits + ascii_uppercase + ascii_lowercase, 697_932, 116_323),
    "bymerge": (MERGED, 697_932, 116_323),
    "balanced": (MERGED, 112_800, 18_800),
    "letters": (ascii_uppercase, 124_800, 20_800),
    "digits": (digits, 240_000, 40_000),
    "mnist": (digits, 60_000, 10_000),
}
"""By name: classes in the order of their labels, training and test pictures."""


class EmnistOptions(DataOptions):
    """Which of EMNIST's sets, and how it is split."""

    split: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"] = "balanced"
    """which of the publisher's sets: all characters by class, or with small letters that look like their capitals
    merged with them; the same in equal numbers; letters alone, capitals and small ones merged; digits alone; or as many
    of these as MNIST has"""


@dataclass(frozen=True)
class Emnist(Source):
    """Six published data sets, of which `data.split` chooses."""

    sets: dict[str, Download]

    def _chosen(self, options: DataOptions) -> Download:
        return self.sets[cast("EmnistOptions", options).split]

    def spec_for(self, options: DataOptions) -> ImageSpec:
        """Known before the files are."""
        return self._chosen(options).spec_for(options)

    def left(self, options: DataOptions) -> int:
        """Pictures to train on, known before the files are."""
        return self._chosen(options).left(options)

    def memory(self, options: DataOptions) -> int:
        """What the decompressed files weigh."""
        return self._chosen(options).memory(options)

    def splits(self, options: DataOptions) -> Dataset:
        """The splits in memory. Raises DataError when files are missing or damaged."""
        return self._chosen(options).splits(options)

    def presence(self, name: str, options: DataOptions | None = None) -> Presence:
        """Look for the zip or the unpacked files under the data root."""
        options = options or EmnistOptions(source=name)
        return self._chosen(options).presence(name, options)


def emnist_set(name: str) -> Download:
    """One of the six. Its files lie column by column; the labels of letters count from 1."""
    classes, train, test = SETS[name]
    spec = ImageSpec(28, 28, 1, tuple(classes))
    files = [
        Remote(f"emnist-{name}-{part}-{kind}-ubyte", "", start + count * weight)
        for part, count in (("train", train), ("test", test))
        for kind, start, weight in (("images-idx3", 16, 28 * 28), ("labels-idx1", 8, 1))
    ]
    names, first = [file.name for file in files], int(name == "letters")
    return Download(
        about=ABOUT, licence=LICENCE, spec=spec, train_count=train, test_count=test, files=tuple(files),
        read=partial(read_mnist_layout, spec=spec, names=names, first=first, transposed=True),
        mirrors=MIRRORS, archive=ARCHIVE, elsewhere=("EMNIST/raw",),
    )  # fmt: skip


EMNIST = Emnist(ABOUT, LICENCE, {name: emnist_set(name) for name in SETS}, Options=EmnistOptions)
