"""The doors through which files of strangers come in: what is read, a few good ones, and what may be written meanwhile.

`test_doors` tries some changed files at each, `fuzz` as many as there are minutes for.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import sanggar
from sanggar import recipe
from sanggar.data.cache import kept
from sanggar.data.downloads import read_idx
from sanggar.data.image_folder import FolderOptions, folder_picture
from sanggar.data.images import ImageSpec, read_images
from sanggar.data.masks import NORMAL, ODD, UNKNOWN, read_masks
from sanggar.data.sources import SOURCES
from sanggar.errors import SanggarError
from sanggar.instruments.cache import cache_folder, cached
from sanggar.plan import resolve
from sanggar.reporting.page import report, view
from sanggar.reporting.sections import SECTIONS
from sanggar.results.stored import read, read_arrays, read_tools
from sanggar.runs import Run, load_arrays, save_arrays
from sanggar.trained import plan_of, spec_of
from sanggar.training import checkpoint
from sanggar.training.start import learner_of

FIXTURES = Path(__file__).parent / "fixtures" / "format-1.zip"
SPEC = ImageSpec(8, 8, 1)
TODAYS = "SANGGAR_TODAYS_RUN"
"""The environment's variable with a run of a VAE as it is written today, which whoever opens these doors has made"""


@dataclass(frozen=True)
class Door:
    """One kind of file: good examples of it, and what opens one."""

    good: Callable[[], list[bytes]]
    open: Callable[[bytes, Path], object]
    """given the content, and an empty folder to lie in"""


def through(door: Door, content: bytes, folder: Path) -> str:
    """Open a file; what was said where it was refused. Anything but a refusal in words is raised."""
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch, kept_in(folder):
        for name in ("SANGGAR_CACHE", "SANGGAR_DATA"):
            patch.setenv(name, str(folder / name))
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "compiled"))  # PyTorch's own, made when it is looked at
        try:
            door.open(content, folder)
        except SanggarError as error:
            return str(error)
    return ""


# -- what may be touched -----------------------------------------------------------------------------------------

_allowed: Path | None = None
_hooked = False
WRITES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.chmod", "shutil.rmtree"}
STARTS = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "socket.connect"}


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Nothing is written outside of a folder in here, and no process is started but sanggar's own: else it fails."""
    global _allowed, _hooked
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked = True
    _allowed = folder.resolve()
    try:
        yield
    finally:
        _allowed = None


def _watch(event: str, args: tuple[object, ...]) -> None:
    if _allowed is None:
        return
    is_write = event in WRITES and (len(args) < 2 or args[-1] == -1)  # else by a folder that is open, and was checked
    if event == "open" and len(args) == 3 and isinstance(args[2], int):
        is_write = bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    if is_write and isinstance(args[0], str | bytes | os.PathLike):
        place = Path(os.path.realpath(os.fsdecode(args[0])))
        if not (place.is_relative_to(_allowed) or place == Path(os.devnull) or "__pycache__" in place.parts):
            raise AssertionError(f"{event} outside: {place}")
    if event in STARTS:
        raise AssertionError(f"{event} {args[:2]}")


# -- good files --------------------------------------------------------------------------------------------------


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _pictures() -> list[bytes]:
    found = []
    for kind, mode, options in (
        ("PNG", "L", {}), ("PNG", "P", {"transparency": 0}), ("PNG", "I;16", {}), ("JPEG", "RGB", {}),
        ("WEBP", "RGB", {}), ("GIF", "P", {}), ("BMP", "RGB", {}), ("TIFF", "L", {"compression": "tiff_lzw"}),
        ("TIFF", "F", {}),
    ):  # fmt: skip
        grey = Image.fromarray(_pixels(8, 8))
        image = Image.fromarray(_pixels(8, 8).astype(np.uint16)) if mode == "I;16" else grey.convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


def _zips() -> list[bytes]:
    found = []
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for number in range(24):
                archive.writestr(f"{'ab'[number % 2]}/{number}.png", _pictures()[0])
        found.append(buffer.getvalue())
    return found


def _npz() -> list[bytes]:
    plain, packed, alone = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(plain, images=_pixels(5, 8, 8))
    np.savez_compressed(packed, images=_pixels(5, 8, 8, 1), labels=np.arange(5))
    np.save(alone, _pixels(5, 8, 8))
    return [plain.getvalue(), packed.getvalue(), alone.getvalue()]


def _idx() -> list[bytes]:
    return [b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (4, 8, 8)) + _pixels(4, 8, 8).tobytes()]


def _tables() -> list[bytes]:
    rows = [f"{number}.png,{'yes' if number % 3 else 'no'},{number * 1.5},kind {number % 2}" for number in range(24)]
    plain = "file,smiling,age,kind\n" + "\n".join(rows) + "\n"
    return [
        plain.encode(),
        plain.replace(",", ";").replace(".5", ",5").encode("utf-16"),
        plain.replace(",", "\t").encode(),
    ]


@cache
def member(name: str) -> bytes:
    """A file of one of the runs that 0.1.0 made."""
    with zipfile.ZipFile(FIXTURES) as archive:
        return archive.read(name)


def _recipes() -> list[bytes]:
    shipped = [path.read_bytes() for name, path in sorted(recipe.shipped().items()) if "digits" in name]
    return [*shipped, member("vae/recipe.yaml")]


def _overrides() -> list[bytes]:
    return [
        b"training.epochs=40", b"model.widths=[4, 8]", b"model.beta={warm_up: 0.5}", b"data.test=0.1",
        b"training.seed=3", b"training.augmentation={flip: true}", b"model.likelihood={kind: gaussian}",
    ]  # fmt: skip


# -- the doors ---------------------------------------------------------------------------------------------------


def _written(content: bytes, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _picture(content: bytes, folder: Path) -> None:
    path = _written(content, folder / "x.png")
    options = FolderOptions(source="folder", path=str(folder), size=8)
    for read_it in (partial(read_images, spec=SPEC), partial(folder_picture, options=options)):
        read_it(path)


def _pictures_of(place: Path) -> None:
    options = FolderOptions(source="folder", path=str(place), size=8, colour=False)
    options = FolderOptions.model_validate(options.model_dump() | {"test": 4, "validation": 4})
    data = SOURCES["folder"].load(options)
    assert data.train.pixels.dtype == np.uint8
    data.train.pixels.sum()


def _zip(content: bytes, folder: Path) -> None:
    _pictures_of(_written(content, folder / "pictures.zip"))


def _table(content: bytes, folder: Path) -> None:
    for number in range(24):
        _written(_pictures()[0], folder / "pictures" / f"{number}.png")
    _written(content, folder / "pictures" / "attributes.csv")
    _pictures_of(folder / "pictures")


def _arrays(content: bytes, folder: Path) -> None:
    read_images(_written(content, folder / "x.npz"), SPEC)


def _tensors(content: bytes, folder: Path) -> None:
    load_arrays(_written(content, folder / "x.safetensors"))


def _recipe(content: bytes, folder: Path) -> None:
    resolve(recipe.read(_written(content, folder / "mine.yaml")))


def _override(content: bytes, folder: Path) -> None:
    resolve(recipe.read("digits-vae", [content.decode("utf-8", "replace")]))


def _mask(content: bytes, folder: Path) -> None:
    picture = _written(_pictures()[0], folder / "x.png")
    _written(content, folder / "x_mask.png")
    masks, _ = read_masks(folder, [picture.name], np.array([True]), {picture.name: ("x_mask.png",)}, 8, "crop")
    assert np.isin(masks, (NORMAL, ODD, UNKNOWN)).all()


@cache
def _prepared_files() -> dict[str, bytes]:
    """What a preparation in the cache consists of."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANGGAR_CACHE", folder)
        _pictures_of(_written(_zips()[0], Path(folder) / "pictures.zip"))
        return {path.name: path.read_bytes() for path in Path(folder).glob("prepared/*/*")}


def _prepared(content: bytes, folder: Path, name: str) -> None:
    """A preparation with one file changed is used where it is whole, and else made anew."""
    pictures = _written(_zips()[0], folder / "pictures.zip")
    _pictures_of(pictures)
    (place,) = (folder / "SANGGAR_CACHE" / "prepared").glob("[!.]*/")
    _written(content, place / name)
    kept()
    _pictures_of(pictures)


def _features(content: bytes, folder: Path) -> None:
    """What was measured once, changed, is taken where it is whole and else computed anew."""
    for path in _features_of(folder):
        _written(content, path)
    _features_of(folder)


def _features_of(folder: Path) -> list[Path]:
    arrays = cached(("tried",), lambda: {"values": np.arange(4.0)})
    np.testing.assert_array_equal(arrays["values"], np.arange(4.0))
    return list(cache_folder().iterdir())


def _feature_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANGGAR_CACHE", folder)
        return _features_of(Path(folder))[0].read_bytes()


def _of_run(content: bytes, folder: Path, name: str) -> None:
    """A run of 0.1.0 with one file changed, and all that opens it."""
    run, file = name.split("/", 1)
    with zipfile.ZipFile(FIXTURES) as archive:
        for entry in archive.infolist():
            if entry.filename.startswith(f"{run}/") and not entry.is_dir():
                _written(archive.read(entry), folder / entry.filename)
    _written(content, folder / run / file)
    _read_run(folder / run)


def _of_todays_run(content: bytes, folder: Path, name: str) -> None:
    """A run of today with one file changed, all that opens it, and its report, or the section that shows the file."""
    shutil.copytree(os.environ[TODAYS], folder / "run")
    _written(content, folder / "run" / name)
    if name == "evaluation.json":
        report(Run(folder / "run"))
    if name == PREVIEW:  # shown from three of them on
        _written(_todays(PREVIEW)[0], folder / "run" / "samples" / "step-00000009.png")
        assert SECTIONS["training"][1]([view(Run(folder / "run"))])
    _read_run(folder / "run")


def _state(content: bytes, folder: Path) -> None:
    """A checkpoint whose tensors are others, and whose checksum is right."""
    shutil.copytree(os.environ[TODAYS], folder / "run")
    run = Run(folder / "run")
    try:
        arrays = safetensors.numpy.load(content)
    except Exception:  # no archive at all
        _written(content, run.checkpoint_file)
    else:
        save_arrays(run.checkpoint_file, arrays, load_arrays(run.checkpoint_file)[1])
    found = checkpoint.load(run)
    assert found is not None
    learner_of(plan_of(run), spec_of(run)).load_state(found[0])


def _read_run(place: Path) -> None:
    opened = Run(place)
    spec_of(opened)
    plan_of(opened)
    opened.metrics()
    opened.timing()
    read(opened)
    read_arrays(opened)
    read_tools(opened)
    sanggar.open(opened)


def _run_door(name: str) -> Door:
    return Door(lambda: [member(name)], partial(_of_run, name=name))


def _todays(name: str) -> list[bytes]:
    return [(Path(os.environ[TODAYS]) / name).read_bytes()]


def _todays_door(name: str) -> Door:
    return Door(partial(_todays, name), partial(_of_todays_run, name=name))


FILES = (
    "run.json", "recipe.yaml", "metrics.jsonl", "timing.jsonl", "evaluation.json", "evaluation.safetensors",
    "weights.safetensors",
)  # fmt: skip
"""Of a run, those that are read whatever one does with it"""
PREVIEW = "samples/step-00000036.png"


DOORS = {
    "picture": Door(_pictures, _picture),
    "zip": Door(_zips, _zip),
    "table": Door(_tables, _table),
    "arrays": Door(_npz, _arrays),
    "idx": Door(_idx, lambda content, folder: read_idx(_written(content, folder / "images-idx3-ubyte"))),
    "mask": Door(lambda: _pictures()[:3], _mask),
    **{
        f"prepared {name}": Door(partial(lambda name: [_prepared_files()[name]], name), partial(_prepared, name=name))
        for name in ("about.json", "digests.npy", "pixels.npy")
    },
    "features": Door(lambda: [_feature_file()], _features),
    "tensors": Door(lambda: [member("vae/weights.safetensors")], _tensors),
    "recipe": Door(_recipes, _recipe),
    "override": Door(_overrides, _override),
    "state": Door(partial(_todays, "checkpoint/state.safetensors"), _state),
    **{f"old run {name}": _run_door(f"vae/{name}") for name in FILES},
    **{f"run {name}": _todays_door(name) for name in (*FILES, "tools.safetensors", PREVIEW)},
}  # fmt: skip
