"""Small folders of pictures to gather: one's own, and one in CelebA's layout."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sanggar.data.image_folder import FolderOptions
from sanggar.data.sources import SOURCES, Dataset

FLAGS = [
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips",
    "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin",
    "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open",
    "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline",
    "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
]  # fmt: skip
PARTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
POINTS = [f"{part}_{axis}" for part in PARTS for axis in "xy"]
"""What the publisher calls its 40 attributes and the 10 coordinates of its landmarks."""


def colour(index: int) -> tuple[int, int, int]:
    """The colour of the picture of this number, no two alike below 16,000."""
    return index % 128, index // 128, 200


def number(picture: np.ndarray) -> int:
    """The number of a picture of one colour."""
    return int(picture[0, 0, 0]) + 128 * int(picture[0, 0, 1])


def encoded(index: int, kind: str = "PNG", size: tuple[int, int] = (10, 8)) -> bytes:
    """A picture of one colour as a file."""
    file = io.BytesIO()
    Image.new("RGB", size, colour(index)).save(file, kind)
    return file.getvalue()


def write_pictures(place: Path, count: int, folders: Sequence[str] = ("",), table: bool = True) -> Path:
    """Pictures 000.png and so on, in turns in these folders, and a table of what is true of them."""
    for index in range(count):
        path = place / folders[index % len(folders)] / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(index))
    if table:
        rows = [f"{i:03d}.png,{i},{'yes' if i % 2 else 'no'},{'abc'[i % 3]}" for i in range(count)]
        (place / "attributes.csv").write_text("\n".join(["file,age,odd,letter", *rows]) + "\n")
    return place


def zipped(place: Path, out: Path, within: str = "") -> Path:
    """A folder as a zip."""
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(place.rglob("*")):
            if path.is_file():
                archive.write(path, f"{within}{path.relative_to(place).as_posix()}")
    return out


def write_celeba(place: Path, count: int = 30) -> Path:
    """Pictures and tables in CelebA's layout: of ten the last is for test, and the one before for validation."""
    (place / "img_align_celeba").mkdir(parents=True)
    names = [f"{i + 1:06d}.jpg" for i in range(count)]
    for index, name in enumerate(names):
        (place / "img_align_celeba" / name).write_bytes(encoded(index, "PNG", (178, 218)))  # exact, whatever its name
    parts = [{8: 1, 9: 2}.get(index % 10, 0) for index in range(count)]
    flags = [[1 if index % (k + 2) == 0 else -1 for k in range(len(FLAGS))] for index in range(count)]
    tables = {
        "list_eval_partition.txt": [f"{n} {p}" for n, p in zip(names, parts, strict=True)],
        "identity_CelebA.txt": [f"{n} {1000 + i // 2}" for i, n in enumerate(names)],
        "list_attr_celeba.txt": [
            f"{count}", " ".join(FLAGS) + " ",
            *(f"{n} " + " ".join(f"{v:2d}" for v in row) for n, row in zip(names, flags, strict=True)),
        ],
        "list_landmarks_align_celeba.txt": [
            f"{count}", " ".join(POINTS) + " ", *(f"{n} {f'{60 + i}  {i} ' * len(PARTS)}" for i, n in enumerate(names)),
        ],
    }  # fmt: skip
    for name, lines in tables.items():
        (place / name).write_bytes(("\r\n".join(lines) + "\r\n").encode())
    return place


def own(place: Path, **options: object) -> FolderOptions:
    """Options of a folder, at 8×8."""
    return FolderOptions.model_validate({"source": "folder", "path": str(place), "size": 8, **options})


def load(place: Path, **options: object) -> Dataset:
    """The pictures of a folder, at 8×8."""
    return SOURCES["folder"].load(own(place, **options))
