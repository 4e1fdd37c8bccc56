"""The pictures that the judge `general` learns from: `python -m benchmarks.general`, into the data root.

Digits, clothes, things, letters and faces, all brought to 32×32 RGB, each kind with classes of its own: features that
tell all of them apart say something of pictures of any kind.
"""

from __future__ import annotations

import numpy as np

from sanggar.data.dataset import DataOptions
from sanggar.data.image_folder import FolderOptions
from sanggar.data.images import Images, ImageSpec
from sanggar.data.sources import SOURCES, root
from sanggar.instruments.judge import brought

SPEC = ImageSpec(32, 32, 3)
TRAIN, TEST = 12_000, 1_000
"""Pictures of each kind, at most"""
AGES = (12.0, 30.0, 50.0)
"""Years that part faces: with the gender, eight classes"""
NAME = "judge-general.npz"


def kinds() -> list[tuple[str, DataOptions]]:
    """Sources, by name, and how they are loaded."""
    published = ("mnist", "fashion-mnist", "cifar-10", "glyphs")
    faces = FolderOptions(source="folder", path="utkface-128", size=64, label="gender", test=0.1)
    return [*((name, SOURCES[name].Options(source=name)) for name in published), ("folder", faces)]


def classes(images: Images, name: str, ages: int | None) -> np.ndarray:
    """The class of each picture within its kind."""
    assert images.labels is not None
    if name != "folder" or images.attributes is None or ages is None:
        return images.labels
    return np.asarray(images.labels * (len(AGES) + 1) + np.digitize(images.attributes[:, ages], AGES))


def main() -> None:
    """Write the arrays."""
    parts: dict[str, list[np.ndarray]] = {key: [] for key in ("x_train", "y_train", "x_test", "y_test")}
    first = 0
    for name, options in kinds():
        dataset, spec = SOURCES[name].load(options), SOURCES[name].spec_for(options)
        columns = [column.name for column in spec.attributes]
        ages = columns.index("age") if "age" in columns else None
        largest = 0
        for split, images in (("train", dataset.train.first(TRAIN)), ("test", dataset.test.first(TEST))):
            found = classes(images, name, ages)
            parts[f"x_{split}"].append(brought(images.pixels, SPEC))
            parts[f"y_{split}"].append(found + first)
            largest = max(largest, int(found.max()))
        first += largest + 1
        print(f"  {name}: {len(parts['x_train'][-1]):,} pictures, {largest + 1} classes")
    order = np.random.default_rng(0).permutation(sum(map(len, parts["y_train"])))
    whole = {key: np.concatenate(arrays) for key, arrays in parts.items()}
    for key in ("x_train", "y_train"):
        whole[key] = whole[key][order]
    np.savez(root() / NAME, **whole)  # type: ignore[arg-type]  # by its types the next argument is another
    print(f"  {root() / NAME}: {len(order):,} pictures of {first} classes")


if __name__ == "__main__":
    main()
