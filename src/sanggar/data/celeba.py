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
from sanggar.data.remote import Remote, published, read_file
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
IDENTITY = TABLES[-1].name
"""The table that may be missing: nothing needs it."""
LARGEST = 1_000_000
"""Above all numbers in the tables."""
FOLDERS = ("", "Anno", "Eval", "Img")
"""Where the files lie: all in one folder, or in the publisher's own."""


def list_celeba(_options: ImageFolderOptions) -> Listing:
    """The pictures under the data root, with the partition as splits. Raises DataError when files do not fit.

    Attributes are the 40 flags (published as −1 and 1), the 10 coordinates of the landmarks, pixels in the published
    178×218, and `identity`, a number that says no more than who is the same person.
    """
    files = _files(_place())
    pictures = files.pop(PICTURES.name)
    found = list_pictures(pictures)
    tables = {name: _read(path, found.names) for name, path in files.items()}
    (_, parts), (flags, marks), (points, places) = (tables[table.name] for table in TABLES[:3])
    if not np.isin(parts, (0, 1, 2)).all() or parts.shape[1] != 1:
        raise DataError(f"{files[TABLES[0].name]}: expected 0 (train), 1 (validation) or 2 (test) after each name.")
    if not np.isin(marks, (-1, 1)).all():
        raise DataError(f"{files[TABLES[1].name]}: expected 1 or -1 for each of {len(flags)} attributes.")
    attributes = (
        *(Attribute(name, "flag", ("no", "yes")) for name in flags),
        *(number(name, column) for name, column in zip(points, places.T, strict=True)),
    )
    columns = [(marks + 1) / 2, places]
    if IDENTITY in tables:
        persons = tables[IDENTITY][1][:, :1]
        attributes, columns = (*attributes, number("identity", persons[:, 0])), [*columns, persons]
    values = np.concatenate(columns, axis=1).astype(np.float32)
    known = [(files[table.name].parent, table) for table in TABLES if table.name in files]
    known += [(pictures.parent, PICTURES)] if pictures.is_file() else []
    whole = len(found.names) == COUNT and all(published(folder, [file]) for folder, file in known)
    return replace(
        found, classes=(), labels=None, attributes=attributes, values=values, parts=parts[:, 0].astype(np.int64),
        note=NOTE if whole else f"{NOTE} {DIFFERS}",
    )  # fmt: skip


def _place() -> Path:
    """The folder that the files lie in, or are to be put into."""
    places = (root() / "celeba", root() / "CelebA")
    return next((p for p in places if any((p / f / TABLES[0].name).is_file() for f in FOLDERS)), places[0])


def _files(place: Path) -> dict[str, Path]:
    """Where the tables lie, and the folder of pictures or their zip. Raises DataError that says what to put where."""
    files, missing = {}, []
    for table in TABLES:
        path = next((p for folder in FOLDERS if (p := place / folder / table.name).is_file()), None)
        if path is not None:
            files[table.name] = path
        elif table.name != IDENTITY:
            missing.append(table.name)
    unpacked = PICTURES.name.removesuffix(".zip")
    pictures = [
        path
        for name in (unpacked, PICTURES.name)
        for folder in FOLDERS
        if (path := place / folder / name).is_dir() or (path.is_file() and name != unpacked)
    ]
    if not pictures:
        missing.insert(0, PICTURES.name)
    if missing:
        raise DataError(
            f"Missing data: {', '.join(missing)}. CelebA is not fetched for you: it is for non-commercial research "
            f"only, and its publisher asks you to agree to that at {PAGE}. Put the files into {place} (SANGGAR_DATA "
            f"chooses another data root), in its folders {', '.join(filter(None, FOLDERS))} or without; the "
            f"zip of pictures need not be unpacked, and {IDENTITY} may be missing."
        )
    return {**files, PICTURES.name: pictures[0]}


def _read(path: Path, names: list[str]) -> tuple[list[str], Float64[np.ndarray, "n columns"]]:
    """The columns' names, where a table has a header (a count and the names), and its numbers by picture."""
    lines = read_file(path).decode(errors="replace").splitlines()
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
    if not (np.abs(numbers) <= LARGEST).all():
        raise DataError(f"{path}: not the publisher's layout (a number is not finite, or above {LARGEST:,}).")
    rows = rows_of([line.split(None, 1)[0] for line in lines], str(path), names, 3 if header else 1)
    return header, numbers[rows]
