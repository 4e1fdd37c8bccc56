"""The FID network: its structure and names are the published ones; weights are found, checked, never executed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sanggar.data.sources import SOURCES, DataOptions, root
from sanggar.errors import DataError
from sanggar.instruments import inception
from sanggar.instruments.inception import WEIGHTS, InceptionNetwork, find_weights, fitted, open_inception, read_weights

PRESENT = any((root() / "inception" / WEIGHTS).with_suffix(end).is_file() for end in (".pth", ".safetensors"))


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Random ones, under the published names."""
    torch.manual_seed(0)
    named = InceptionNetwork().state_dict()
    return {name: array for name, array in named.items() if not name.endswith("num_batches_tracked")}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder `inception` in a data root, and no network."""
    monkeypatch.setenv("SANGGAR_DATA", str(tmp_path))
    monkeypatch.setattr(inception, "MIRROR", "http://127.0.0.1:9/")
    (tmp_path / "inception").mkdir()
    return tmp_path / "inception"


def test_it_has_as_many_parameters_as_published(weights: dict[str, Tensor]) -> None:
    # Keras publishes 21,802,784 for the same convolutions: without the 17,216 scales, with both moving statistics
    body = sum(array.numel() for name, array in weights.items() if not name.startswith("fc."))
    assert body - 17_216 == 21_802_784
    assert weights["fc.weight"].shape == (1008, 2048)
    assert weights["fc.bias"].shape == (1008,)


def test_its_names_are_the_published_ones(weights: dict[str, Tensor]) -> None:
    stem = "Conv2d_(1a_3x3|2a_3x3|2b_3x3|3b_1x1|4a_3x3)"
    branch = r"branch(1x1|3x3|5x5|7x7|3x3dbl|7x7dbl|7x7x3|_pool)(_[1-5][ab]?)?"
    array = r"(conv\.weight|bn\.(weight|bias|running_mean|running_var))"
    pattern = re.compile(rf"(fc\.(weight|bias)|{stem}\.{array}|Mixed_(5[bcd]|6[a-e]|7[abc])\.{branch}\.{array})")
    assert [name for name in weights if not pattern.fullmatch(name)] == []
    convolutions = [name for name in weights if name.endswith("conv.weight")]
    assert len(convolutions) == 94
    assert len(weights) == 94 * 5 + 2
    assert weights["Mixed_6e.branch7x7dbl_4.conv.weight"].shape == (192, 192, 7, 1)
    assert weights["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)
    assert weights["Mixed_7b.branch_pool.conv.weight"].shape == (192, 1280, 1, 1)


def test_pools_count_no_padding_and_the_last_one_takes_the_maximum(weights: dict[str, Tensor]) -> None:
    network = fitted(weights).eval()
    flat = torch.ones(1, 192, 5, 5)
    seen: dict[str, Tensor] = {}
    for name in ("Mixed_5b", "Mixed_7c"):
        getattr(network, name).branch_pool.register_forward_pre_hook(
            lambda _, given, name=name: seen.update({name: given[0]})
        )
    with torch.inference_mode():
        network.Mixed_5b(flat)
        maps = torch.randn(1, 2048, 4, 4)
        network.Mixed_7c(maps)
    torch.testing.assert_close(seen["Mixed_5b"], flat)
    assert float(seen["Mixed_7c"][0, 0, 0, 0]) == float(maps[0, 0, :2, :2].max())


def test_features_and_logits_of_grey_and_colour(weights: dict[str, Tensor], place: Path) -> None:
    save_file(weights, place / Path(WEIGHTS).with_suffix(".safetensors").name)
    extractor = open_inception("cpu")
    grey = np.random.default_rng(0).integers(0, 256, (1, 28, 28, 1), np.uint8)
    features = extractor.features(np.concatenate([grey, grey[:, ::-1]]))
    assert features.shape == (2, 2048)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    np.testing.assert_allclose(extractor.features(grey.repeat(3, axis=3)), features[:1], rtol=1e-3, atol=1e-5)
    assert len(extractor.hash) == 12
    assert extractor.network.fc(torch.from_numpy(features)).shape == (2, 1008)


def test_weights_under_other_names_are_refused(weights: dict[str, Tensor]) -> None:
    with pytest.raises(DataError, match=r"not the weights of the FID .* 1 of its 472 arrays are missing, fc\.bias"):
        fitted({name: array for name, array in weights.items() if name != "fc.bias"})
    with pytest.raises(DataError, match=r"AuxLogits\.conv0 is none of its arrays"):
        fitted({**weights, "AuxLogits.conv0": torch.zeros(1)})
    with pytest.raises(DataError, match=r"fc\.bias is \(1000,\), expected \(1008,\)"):
        fitted({**weights, "fc.bias": torch.zeros(1000)})


def test_missing_weights_and_what_to_put_where(place: Path) -> None:
    with pytest.raises(DataError) as refused:
        find_weights()
    for words in (f"Put {WEIGHTS}", ".safetensors", str(place), "SANGGAR_DATA", "connect to a network", "judge"):
        assert words in str(refused.value)
    assert list(place.iterdir()) == []


def test_a_damaged_file_is_refused(place: Path) -> None:
    (place / WEIGHTS).write_bytes(b"cut short")
    with pytest.raises(DataError, match=r"is damaged: .* expected 6726825d…"):
        read_weights(find_weights())
    other = place / "other.safetensors"
    other.write_bytes(b"cut short")
    with pytest.raises(DataError, match="not weights that can be read without running code"):
        read_weights(other)


class Malice:
    """Would run code when unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("ran"),))


def test_code_in_a_file_is_not_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    torch.save({"fc.bias": Malice()}, place / "evil.pth")
    digest = hashlib.sha256((place / "evil.pth").read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(inception, "WEIGHTS", f"evil-{digest}.pth")
    with pytest.raises(DataError, match="without running code"):
        read_weights(place / "evil.pth")
    assert not (place / "ran").exists()


@pytest.mark.skipif(not PRESENT, reason="the published weights are not on this machine")
def test_features_are_those_of_the_published_statistics() -> None:
    # of the 50,000 training pictures of CIFAR-10, published with Heusel et al. 2017 beside the definition of FID
    statistics = root() / "inception" / "fid_stats_cifar10_train.npz"
    if "cifar-10" not in SOURCES or not statistics.is_file():
        pytest.skip("the published statistics of CIFAR-10 are not on this machine")
    with np.load(statistics, allow_pickle=False) as file:
        mean, covariance = file["mu"], file["sigma"]
    dataset = SOURCES["cifar-10"].load(DataOptions(source="cifar-10"))
    if dataset.note:
        pytest.skip(f"the published statistics are of other pictures: {dataset.note}")
    train = dataset.train
    features = open_inception("cpu").features(train.pixels[:1000]).astype(np.float64)
    error = np.sum((features.mean(axis=0) - mean) ** 2) / (np.trace(covariance) / len(features))
    assert error < 2  # 1 is what a thousand pictures leave open
