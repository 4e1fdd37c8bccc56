"""CelebA in its publisher's layout: 202,599 faces with 40 flags, 5 landmarks, identities, and a partition.

Liu, Luo, Wang and Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015,
http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from sanggar.data.dataset import DIFFERS, root
from sanggar.data.image_folder import ImageFolderOptions
from sanggar.data.images import Attribute
from sanggar.data.listing import Listing, list_pictures
from sanggar.data.remote import Remote, published
from sanggar.data.tables import number, rows_of
from sanggar.errors import DataError

PAGE = "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
LICENCE = "non-commercial research only; real people, who were not asked"
NOTE = "CelebA is for non-commercial research only; its pictures show real people who did not agree to be in it."
PICTURES = Remote(
    "img_align_celeba.zip", "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74", 1_443_490_838
)
COUNT = 202_599
TABLES = (
    Remote("list_eval_partition.txt", "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7", 0),
    Remote("list_attr_celeba.txt", "f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0", 0),
    Remote("list_landmarks_align_celeba.txt", "6c02a87569907f6db2ba99019085697596730e8129f67a3d61659f198c48d43b", 0),
    Remote("identity_CelebA.txt", "c6143857c3e2630ac2da9f782e9c1232e5e59be993a9d44e8a7916c78a6158c0", 0),
)
"""The publisher's checksums as torchvision's prototype data sets list them; sizes are not looked at."""


def list_celeba(_options: ImageFolderOptions) -> Listing:
    """The pictures under the data root, with the partition as splits. Raises DataError when files do not fit.

    Attributes are the 40 flags (published as −1 and 1), the 10 coordinates of the landmarks, pixels in the published
    178×218, and `identity`, a number that says no more than who is the same person.
    """
    place = _place()
    found = list_pictures(_pictures(place))
    tables = [_read(place / table.name, found.names) for table in TABLES]
    (_, parts), (flags, marks), (points, places), (_, persons) = tables
    if not np.isin(parts, (0, 1, 2)).all() or parts.shape[1] != 1:
        raise DataError(f"{place / TABLES[0].name}: expected 0 (train), 1 (validation) or 2 (test) after each name.")
    if not np.isin(marks, (-1, 1)).all():
        raise DataError(f"{place / TABLES[1].name}: expected 1 or -1 for each of {len(flags)} attributes.")
    attributes = (
        *(Attribute(name, "flag", ("no", "yes")) for name in flags),
        *(number(name, column) for name, column in zip(points, places.T, strict=True)),
        number("identity", persons[:, 0]),
    )
    values = np.concatenate([(marks + 1) / 2, places, persons[:, :1]], axis=1).astype(np.float32)
    zipped = (PICTURES,) if found.place.is_file() else ()
    whole = len(found.names) == COUNT and published(place, (*TABLES, *zipped))
    return replace(
        found, classes=(), labels=None, attributes=attributes, values=values, parts=parts[:, 0].astype(np.int64),
        note=NOTE if whole else f"{NOTE} {DIFFERS}",
    )  # fmt: skip


def _place() -> Path:
    return root() / "celeba"


def _pictures(place: Path) -> Path:
    """The folder of pictures, or their zip, with all tables beside. Raises DataError that says what to put where."""
    missing = [table.name for table in TABLES if not (place / table.name).is_file()]
    for name in (PICTURES.name.removesuffix(".zip"), PICTURES.name):
        if (place / name).exists() and not missing:
            return place / name
    if not (place / PICTURES.name).exists() and not (place / PICTURES.name.removesuffix(".zip")).exists():
        missing.insert(0, PICTURES.name)
    raise DataError(
        f"Missing data: {', '.join(missing)}. CelebA is not fetched for you: it is for non-commercial research "
        f"only, and its publisher asks you to agree to that at {PAGE}. Put the files into {place} (SANGGAR_DATA "
        "chooses another data root); the zip of pictures need not be unpacked."
    )


def _read(path: Path, names: list[str]) -> tuple[list[str], Float64[np.ndarray, "n columns"]]:
    """The columns' names, where a table has a header (a count and the names), and its numbers by picture."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    header: list[str] = []
    if lines and len(lines[0].split()) == 1:
        header, lines = (lines[1].split() if len(lines) > 1 else []), lines[2:]
    lines = [line for line in lines if line.strip()]
    wide = len(lines[0].split()) - 1 if lines else 0
    if wide < 1 or (header and wide != len(header)):
        raise DataError(f"{path}: expected a picture's name and {len(header) or 'some'} numbers on each line.")
    try:
        numbers = np.loadtxt(lines, usecols=range(1, wide + 1), ndmin=2)
    except (ValueError, IndexError) as error:
        raise DataError(f"{path}: not the publisher's layout ({error}).") from None
    rows = rows_of([line.split(None, 1)[0] for line in lines], str(path), names, 3 if header else 1)
    return header, numbers[rows]
