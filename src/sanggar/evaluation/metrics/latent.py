"""What the latent space keeps apart: probes, neighbours, silhouette and rank, beside PCA and raw pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from sanggar.data.images import Images
from sanggar.evaluation.context import Findings, Number, Subject, averaged, first_of_each_class, share_interval
from sanggar.evaluation.measures.probes import Table, fitted, logistic, pixel_table, shrunk
from sanggar.evaluation.metrics.attributes import attribute_probes, columns_of, disentanglement

NEIGHBOURS = 10


def measure_latent(subject: Subject) -> Findings:
    """Linear-probe and nearest-neighbour accuracy, silhouette and effective rank of each representation.

    Where the data have attributes, what a linear probe tells of them, and how far single dimensions stand for them.
    """
    painter, options = subject.painter, subject.options
    train, test = subject.dataset.train.first(options.probe_images), subject.test
    classes = _classes(train, test)
    columns = columns_of(painter.spec, train, test, subject.options.attributes)
    numbers: list[Number] = []
    given = {"split": "test", "n": len(test), "data": painter.data_name}
    fitted_on = {**given, "fitted_on": f"{len(train)} training pictures"}
    tables = _representations(subject, train, test)
    for name, (train_table, test_table) in tables.items():
        if classes is not None:
            numbers += _class_numbers(name, train_table, test_table, classes, given, fitted_on, subject)
        method = {"size": test_table.shape[1], "method": "Roy & Vetterli 2007, of centred features"}
        number = Number(
            "latent.rank", f"effective rank: {name}", effective_rank(test_table), "dimensions", "higher", given
        )
        numbers.append(replace(number, protocol=given | method, subject=name))
    numbers += attribute_probes(columns, tables, fitted_on, subject)
    numbers += disentanglement(columns, tables, given, options.seed)
    pictures = {} if test.labels is None else _map(subject, test)
    pictures |= _strips(subject, test) if painter.can("decode") and len(test) > 1 else {}
    return Findings(numbers, pictures, _alarms(numbers))


def _classes(train: Images, test: Images) -> tuple[Int64[np.ndarray, "_"], Int64[np.ndarray, "_"]] | None:
    """The labels of both splits, where there are several classes to tell apart in each."""
    if train.labels is None or test.labels is None:
        return None
    several = all(len(np.unique(labels)) > 1 for labels in (train.labels, test.labels))
    return (train.labels, test.labels) if several else None


def _class_numbers(
    name: str, train: Table, test: Table, classes: tuple[np.ndarray, np.ndarray], given: dict[str, Any],
    fitted_on: dict[str, Any], subject: Subject,
) -> list[Number]:  # fmt: skip
    """How well one representation keeps classes apart."""
    numbers, of_size = [], {"size": test.shape[1]} if name == "PCA" else {}
    hits = fitted(logistic(), train, classes[0]).predict(test) == classes[1]
    near = _nearest(train, classes[0], test) == classes[1]
    for key, label, found, how in (
        ("probe", "linear-probe accuracy", hits, "logistic regression on standardized features"),
        ("knn", "kNN accuracy", near, f"{NEIGHBOURS} neighbours, Euclidean"),
    ):
        spec = subject.painter.spec
        blocks = shrunk(spec.height, spec.width) if name != "network" else ""
        protocol = fitted_on | {"method": how} | ({"pixels": blocks} if blocks else {}) | of_size
        number = Number(f"latent.{key}", f"{label}: {name}", float(found.mean()), "", "higher", protocol)
        shown = name == "network" and key == "probe"
        numbers.append(replace(number, subject=name, interval=share_interval(found), headline=shown))
    few = slice(subject.options.map_images)
    if not 1 < len(np.unique(classes[1][few])) < len(classes[1][few]):
        return numbers  # a class, or a picture, has no others to lie apart from
    widths = _silhouettes(test[few], classes[1][few])
    fewer = {**given, "n": len(widths)} | of_size
    return [*numbers, averaged("latent.silhouette", f"silhouette: {name}", widths, fewer, subject=name)]


def _representations(subject: Subject, train: Images, test: Images) -> dict[str, tuple[Table, Table]]:
    """The network's latent, PCA of the same size fitted on train, and the pixels themselves."""
    from sklearn.decomposition import PCA

    latent = subject.painter.encode(train.pixels), subject.painter.encode(test.pixels)
    # a table of features, not pictures: none of what is measured on it depends on its scale
    pixels = tuple(pixel_table(split) for split in (train, test))
    size = min(latent[0].shape[1], *pixels[0].shape)
    pca = PCA(size, random_state=subject.options.seed).fit(pixels[0])
    return {
        "network": latent,
        "PCA": (pca.transform(pixels[0]), pca.transform(pixels[1])),
        "pixels": (pixels[0], pixels[1]),
    }


def _nearest(train: Table, labels: np.ndarray, test: Table) -> np.ndarray:
    from sklearn.neighbors import KNeighborsClassifier

    return np.asarray(KNeighborsClassifier(NEIGHBOURS).fit(train, labels).predict(test))


def _silhouettes(table: Table, labels: np.ndarray) -> Float[np.ndarray, "n"]:
    from sklearn.metrics import silhouette_samples

    return np.asarray(silhouette_samples(table, labels), np.float64)


def effective_rank(table: Table) -> float:
    """exp of the entropy of the normalized singular values of the centred table (Roy & Vetterli 2007)."""
    values = np.linalg.svd(table - table.mean(axis=0), compute_uv=False).astype(np.float64)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else 0.0


def _map(subject: Subject, test: Images) -> dict[str, np.ndarray]:
    """Where t-SNE puts the test pictures by their latents (openTSNE; Policar et al. 2019), with some thumbnails."""
    from openTSNE import TSNE

    few = test.first(subject.options.map_images)
    latents = subject.painter.encode(few.pixels)
    neighbours = "exact" if len(few) <= 5000 else "auto"
    perplexity = min(30.0, (len(few) - 1) / 3)
    # one thread: where another process has the second core, two wait for each other thirty times as long as they work
    tsne = TSNE(perplexity=perplexity, neighbors=neighbours, random_state=subject.options.seed, n_jobs=1)
    places = np.asarray(tsne.fit(latents), np.float32)
    assert few.labels is not None
    chosen = np.array(first_of_each_class(few, 60))
    return {
        "map.places": places,
        "map.labels": few.labels,
        "map.chosen": chosen,
        "map.thumbnails": few.pixels[chosen],
    }


def _strips(subject: Subject, test: Images) -> dict[str, np.ndarray]:
    """Four walks of nine pictures on the straight line between the latents of two test pictures."""
    chosen = first_of_each_class(test, 8)
    pairs = list(zip(chosen[0::2], chosen[1::2], strict=False))
    strips = [subject.painter.interpolate(test.pixels[[a]], test.pixels[[b]], 9) for a, b in pairs]
    ends = np.array(pairs)
    return {
        "strips.pictures": np.stack(strips),
        "strips.ends": np.stack([test.pixels[ends[:, 0]], test.pixels[ends[:, 1]]]),
    }


def _alarms(numbers: list[Number]) -> list[str]:
    rank = next(n for n in numbers if n.key == "latent.rank" and n.subject == "network")
    size = rank.protocol["size"]
    if rank.value < 0.1 * size:
        return [f"The latent space uses about {rank.value:.1f} of its {size} dimensions: most of it lies idle."]
    return []
