"""The data sets that a recipe can name."""

from __future__ import annotations

from functools import partial

from sanggar.data.arrays import ArrayOptions, Arrays
from sanggar.data.celeba import LICENCE, list_celeba
from sanggar.data.dataset import DataOptions, Dataset, Presence, Source, fingerprint, root
from sanggar.data.downloads import IDX_FILES, Download, read_cifar_layout, read_digits, read_mnist_layout
from sanggar.data.emnist import EMNIST
from sanggar.data.glyphs import GLYPHS
from sanggar.data.image_folder import FolderOptions, ImageFolder, ImageFolderOptions, list_folder
from sanggar.data.images import ImageSpec
from sanggar.data.remote import Remote

__all__ = ["SOURCES", "DataOptions", "Dataset", "Presence", "Source", "fingerprint", "presence", "root"]

DIGITS = ImageSpec(8, 8, 1, tuple("0123456789"))
MNIST = ImageSpec(28, 28, 1, tuple("0123456789"))
FASHION = ImageSpec(
    28, 28, 1, ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
)  # fmt: skip
KUZUSHIJI = ImageSpec(28, 28, 1, ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"))
QMNIST_FILES = (
    "qmnist-train-images-idx3-ubyte",
    "qmnist-train-labels-idx2-int",
    "qmnist-test-images-idx3-ubyte",
    "qmnist-test-labels-idx2-int",
)

CIFAR = ImageSpec(
    32, 32, 3, ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
)  # fmt: skip
CIFAR_FILES = (
    Remote("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5", 30_730_000),
    Remote("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed", 30_730_000),
    Remote("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67", 30_730_000),
    Remote("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48", 30_730_000),
    Remote("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add", 30_730_000),
    Remote("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b", 30_730_000),
)

SOURCES: dict[str, Source] = {
    "digits": Download(
        about="1,797 scanned digits, 8×8 grey, part of scikit-learn",
        licence="CC BY 4.0 (UCI)",
        spec=DIGITS,
        read=read_digits,
        train_count=1437,
        test_count=360,
    ),
    "glyphs": GLYPHS,
    "mnist": Download(
        about="70,000 handwritten digits, 28×28 grey",
        licence="CC BY-SA 3.0",
        spec=MNIST,
        read=partial(read_mnist_layout, spec=MNIST),
        train_count=60_000,
        test_count=10_000,
        files=(
            Remote(IDX_FILES[0], "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47_040_016),
            Remote(IDX_FILES[1], "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
            Remote(IDX_FILES[2], "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7_840_016),
            Remote(IDX_FILES[3], "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        elsewhere=("MNIST/raw",),
    ),
    "fashion-mnist": Download(
        about="70,000 articles of clothing, 28×28 grey",
        licence="MIT",
        spec=FASHION,
        read=partial(read_mnist_layout, spec=FASHION),
        train_count=60_000,
        test_count=10_000,
        files=(
            Remote(IDX_FILES[0], "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", 47_040_016),
            Remote(IDX_FILES[1], "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", 60_008),
            Remote(IDX_FILES[2], "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", 7_840_016),
            Remote(IDX_FILES[3], "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", 10_008),
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        elsewhere=("FashionMNIST/raw",),
    ),
    "kmnist": Download(
        about="70,000 characters of old Japanese handwriting (Kuzushiji), 28×28 grey",
        licence="CC BY-SA 4.0",
        spec=KUZUSHIJI,
        read=partial(read_mnist_layout, spec=KUZUSHIJI),
        train_count=60_000,
        test_count=10_000,
        files=(
            Remote(IDX_FILES[0], "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4", 47_040_016, True),
            Remote(IDX_FILES[1], "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17", 60_008, True),
            Remote(IDX_FILES[2], "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5", 7_840_016, True),
            Remote(IDX_FILES[3], "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c", 10_008, True),
        ),
        mirrors=(
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ),
        elsewhere=("KMNIST/raw",),
    ),
    "qmnist": Download(
        about="120,000 handwritten digits, MNIST made anew with all 60,000 test pictures, 28×28 grey",
        licence="as published by its authors (Yadav and Bottou 2019)",
        spec=MNIST,
        read=partial(read_mnist_layout, spec=MNIST, names=QMNIST_FILES),
        train_count=60_000,
        test_count=60_000,
        files=(
            Remote(
                QMNIST_FILES[0], "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d", 47_040_016, True
            ),
            Remote(
                QMNIST_FILES[1], "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f", 1_920_012, True
            ),
            Remote(
                QMNIST_FILES[2], "43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375", 47_040_016, True
            ),
            Remote(
                QMNIST_FILES[3], "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06", 1_920_012, True
            ),
        ),
        mirrors=(
            "https://raw.githubusercontent.com/facebookresearch/qmnist/master/",
            "https://github.com/facebookresearch/qmnist/raw/master/",
        ),
        elsewhere=("QMNIST/raw",),
    ),
    "emnist": EMNIST,
    "cifar-10": Download(
        about="60,000 photographs of animals and vehicles, 32×32 RGB",
        licence="as published by its authors (Krizhevsky 2009)",
        spec=CIFAR,
        read=partial(read_cifar_layout, spec=CIFAR, files=CIFAR_FILES),
        train_count=50_000,
        test_count=10_000,
        files=CIFAR_FILES,
        mirrors=(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
        ),
        folder="cifar-10-batches-bin",
    ),
    "celeba": ImageFolder(
        about="202,599 faces of celebrities, with 40 flags, landmarks and identities",
        licence=LICENCE,
        Options=ImageFolderOptions,
        listed=list_celeba,
    ),
    "folder": ImageFolder(
        about="pictures of your own: any folder or zip, with a table of attributes",
        licence="yours to know",
        Options=FolderOptions,
        listed=list_folder,
    ),
    "arrays": Arrays(
        about="pictures of your own in arrays: an .npz, an .npy, or a table with a column for each pixel",
        licence="yours to know",
        Options=ArrayOptions,
    ),
}


def presence(name: str, options: DataOptions | None = None) -> Presence:
    """Whether a source's files are on this machine; published files are compared with the published checksums."""
    return SOURCES[name].presence(name, options)
