"""The Inception network that FID is defined by: its structure, and how its published weights are found and read.

It is Inception-v3 (Szegedy et al. 2015, arXiv:1512.00567) as TensorFlow's file of 2015-12-05 has it and as pytorch-fid
brought it to PyTorch: average pools that do not count their padding, a maximum pool where the last block should have
an average one, 1,008 classes. Names of parameters are those of the published file.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from sanggar.data.images import to_float
from sanggar.data.sources import root
from sanggar.errors import DataError, suggest
from sanggar.models.base import Pictures, best_device

WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"
"""The published file; its name ends in the first digits of its SHA-256"""
MIRROR = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
SIZE = 2048
"""Numbers in a picture's features"""
CLASSES = 1008
EDGE = 299
"""Pixels along an edge of the network's input"""
CHUNK = 32
"""Pictures that go through it at a time"""

Maps = Float[Tensor, "batch outputs rows columns"]
Shape = int | tuple[int, int]
Step = tuple[str, int, Shape] | tuple[str, int, Shape, int]
"""A convolution: its name, its channels, its kernel, and its stride where that is not 1"""
Chain = list[Step | list[Step]]
"""Steps one after the other; a list among them stands side by side"""
Pool = Literal["average", "maximum"]


# -- structure -------------------------------------------------------------------------------------------------


class Convolution(nn.Module):
    """A convolution without bias, batch normalization, ReLU. Padded to keep the size, unless it strides."""

    def __init__(self, inputs: int, outputs: int, kernel: Shape, stride: int = 1, padding: Shape | None = None) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        if padding is None:
            padding = (height // 2, width // 2) if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, images: Pictures) -> Maps:
        """Feature maps of feature maps."""
        return functional.relu(self.bn(self.conv(images)), inplace=True)


class Block(nn.Module):
    """Chains of convolutions beside one another and beside a pool, their outputs joined in that order.

    The pool is followed by a convolution to `pooled` channels; with none it halves the size and keeps the channels.
    """

    def __init__(self, inputs: int, chains: list[Chain], pool: Pool, pooled: int = 0) -> None:
        super().__init__()
        self.chains, self.pool = chains, pool
        self.outputs = pooled or inputs
        for chain in chains:
            width = inputs
            for place in chain:
                steps = place if isinstance(place, list) else [place]
                for name, channels, kernel, *stride in steps:
                    self.add_module(name, Convolution(width, channels, kernel, *stride))
                width = sum(step[1] for step in steps)
            self.outputs += width
        self.branch_pool = Convolution(inputs, pooled, 1) if pooled else None

    def forward(self, maps: Pictures) -> Maps:
        """Feature maps of feature maps."""
        outputs = []
        for chain in self.chains:
            inner = maps
            for place in chain:
                steps = place if isinstance(place, list) else [place]
                inner = torch.cat([self.get_submodule(step[0])(inner) for step in steps], dim=1)
            outputs.append(inner)
        return torch.cat([*outputs, self._pooled(maps)], dim=1)

    def _pooled(self, maps: Pictures) -> Maps:
        if self.branch_pool is None:
            return functional.max_pool2d(maps, 3, stride=2)
        if self.pool == "maximum":
            pooled = functional.max_pool2d(maps, 3, stride=1, padding=1)
        else:
            pooled = functional.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)
        projected: Tensor = self.branch_pool(pooled)
        return projected


def _grid35(inputs: int, pooled: int) -> Block:
    """Blocks on 35×35 maps; Fig. 5 of the paper, with 5×5 where it has two 3×3."""
    return Block(inputs, [
        [("branch1x1", 64, 1)],
        [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
    ], "average", pooled)  # fmt: skip


def _grid17(inner: int) -> Block:
    """Blocks on 17×17 maps, 7×7 convolutions taken apart into rows and columns: Fig. 6."""
    return Block(768, [
        [("branch1x1", 192, 1)],
        [("branch7x7_1", inner, 1), ("branch7x7_2", inner, (1, 7)), ("branch7x7_3", 192, (7, 1))],
        [
            ("branch7x7dbl_1", inner, 1), ("branch7x7dbl_2", inner, (7, 1)), ("branch7x7dbl_3", inner, (1, 7)),
            ("branch7x7dbl_4", inner, (7, 1)), ("branch7x7dbl_5", 192, (1, 7)),
        ],
    ], "average", 192)  # fmt: skip


def _grid8(inputs: int, pool: Pool) -> Block:
    """Blocks on 8×8 maps, with rows and columns side by side: Fig. 7."""
    return Block(inputs, [
        [("branch1x1", 320, 1)],
        [("branch3x3_1", 384, 1), [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))]],
        [
            ("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3),
            [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))],
        ],
    ], pool, 192)  # fmt: skip


def _to17() -> Block:
    """From 35×35 maps to 17×17."""
    return Block(288, [
        [("branch3x3", 384, 3, 2)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3, 2)],
    ], "maximum")  # fmt: skip


def _to8() -> Block:
    """From 17×17 maps to 8×8."""
    return Block(768, [
        [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)],
        [
            ("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)),
            ("branch7x7x3_4", 192, 3, 2),
        ],
    ], "maximum")  # fmt: skip


class InceptionNetwork(nn.Module):
    """From pictures in [-1, 1] to 2,048 features and, by a linear layer, to 1,008 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, padding=0)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _grid35(192, 32), _grid35(256, 64), _grid35(288, 64)
        self.Mixed_6a = _to17()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = map(_grid17, (128, 160, 160, 192))
        self.Mixed_7a = _to8()
        self.Mixed_7b, self.Mixed_7c = _grid8(1280, "average"), _grid8(2048, "maximum")
        self.fc = nn.Linear(SIZE, CLASSES)

    def features(self, images: Pictures) -> Float[Tensor, "batch 2048"]:
        """The last feature maps averaged over the picture, of pictures `(N, 3, H, W)` of any size.

        Resized as pytorch-fid does: bilinear, half-pixel centres, without antialiasing.
        """
        maps = functional.interpolate(images, size=(EDGE, EDGE), mode="bilinear", align_corners=False)
        maps = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(maps)))
        maps = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(maps, 3, stride=2)))
        maps = functional.max_pool2d(maps, 3, stride=2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                maps = block(maps)
        return maps.mean(dim=(2, 3))

    def forward(self, images: Pictures) -> Float[Tensor, "batch 1008"]:
        """Logit of each class."""
        logits: Tensor = self.fc(self.features(images))
        return logits


# -- weights ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inception:
    """The FID network as an instrument, in float32 and in evaluation mode."""

    hash: str
    """first 12 hexadecimal digits of the SHA-256 over its weights, whatever file they were in"""
    network: InceptionNetwork = field(repr=False, compare=False)
    name: str = "Inception-v3 2015-12-05"
    size: int = SIZE

    def features(self, pixels: UInt8[np.ndarray, "n height width channels"]) -> Float[np.ndarray, "n 2048"]:
        """Features of each picture, float32. Grey pictures are shown as grey RGB."""
        device = self.network.fc.weight.device
        parts = []
        for start in range(0, len(pixels), CHUNK):
            chunk = torch.from_numpy(np.require(pixels[start : start + CHUNK], requirements=["C", "W"])).to(device)
            # TensorFloat-32 would make a GPU measure otherwise than a processor
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                images = to_float(chunk)
                parts.append(self.network.features(images.expand(-1, 3, -1, -1)).cpu().numpy())
        return np.concatenate(parts)


def open_inception(device: str | None = None) -> Inception:
    """Open the FID network with its published weights, on a device (None: the best one).

    The weights are looked for in the folder `inception` of the data root, as the published `.pth` or as
    `.safetensors` with the same names, and fetched where neither is there. Raises DataError when they cannot be had,
    are damaged, or are another network's.
    """
    arrays = read_weights(find_weights())
    network = fitted(arrays)
    network.to(device or best_device()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {tuple(arrays[name].shape)};".encode())
        digest.update(arrays[name].contiguous().numpy().tobytes())
    return Inception(digest.hexdigest()[:12], network.eval())


def find_weights() -> Path:
    """Find the file of weights under the data root, and fetch it where there is none. Raises DataError."""
    published = root() / "inception" / WEIGHTS
    for path in (published, published.with_suffix(".safetensors")):
        if path.is_file():
            return path
    _fetch(published)
    return published


def _fetch(path: Path) -> None:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    url = MIRROR + path.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as scratch:
            download = pooch.HTTPDownloader(progressbar=True, timeout=30)
            got = Path(pooch.retrieve(url, None, path.name, scratch, downloader=download))
            _check_sum(got)
            got.replace(path)
    except (OSError, ValueError, DataError) as error:  # requests' errors are OSErrors
        reason = str(error) if isinstance(error, DataError) else type(error).__name__
        raise DataError(
            f"Missing weights: FID is measured with the published Inception network. Put {path.name} (95 MB; or a "
            f".safetensors with the same names) into {path.parent} (SANGGAR_DATA chooses another data root), or "
            f"connect to a network. Tried: {url} ({reason}). `evaluation.feature_network=judge` measures without it."
        ) from None


def _check_sum(path: Path) -> None:
    expected = Path(WEIGHTS).stem.rpartition("-")[2]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[: len(expected)]
    if digest != expected:
        raise DataError(
            f"{path} is damaged: its content has SHA-256 {digest}…, expected {expected}…. Delete it, and it is "
            "fetched anew."
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the named arrays of a file, as float32; nothing in it is executed. Raises DataError."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            arrays = load_file(path)
        else:
            _check_sum(path)
            arrays = torch.load(path, map_location="cpu", weights_only=True)
        # batch normalization counts its batches: not a weight, and older files lack it
        return {name: array.float() for name, array in arrays.items() if not name.endswith("num_batches_tracked")}
    except DataError:
        raise
    except Exception as error:  # what a damaged file makes PyTorch raise is not documented
        raise DataError(
            f"{path}: not weights that can be read without running code ({type(error).__name__})."
        ) from None


def fitted(arrays: dict[str, Tensor]) -> InceptionNetwork:
    """Build the network with these weights. Raises DataError when they are another network's."""
    with torch.device("meta"):
        network = InceptionNetwork()
    expected = {name: array for name, array in network.state_dict().items() if "num_batches" not in name}
    if missing := [name for name in expected if name not in arrays]:
        raise DataError(
            f"These are not the weights of the FID Inception network: {len(missing)} of its {len(expected)} arrays are "
            f"missing, {missing[0]} first. {suggest(missing[0], arrays)}"
        )
    if unknown := [name for name in arrays if name not in expected]:
        raise DataError(
            f"These are not the weights of the FID Inception network: {unknown[0]} is none of its arrays. "
            f"{suggest(unknown[0], expected) if len(unknown) == 1 else f'{len(unknown)} are not.'}"
        )
    for name, array in expected.items():
        if arrays[name].shape != array.shape:
            raise DataError(
                f"These are not the weights of the FID Inception network: {name} is {tuple(arrays[name].shape)}, "
                f"expected {tuple(array.shape)}. (torchvision's own weights differ: they tell 1,000 classes apart.)"
            )
    counts = {name: torch.tensor(0) for name in network.state_dict() if "num_batches" in name}
    network.load_state_dict(arrays | counts, assign=True)
    return network.requires_grad_(False)
