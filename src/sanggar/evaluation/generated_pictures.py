"""Generated pictures for the report: samples, walks between latents, truncation, nearest training pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Int64, UInt8

from sanggar.data.images import Images
from sanggar.evaluation.measures.distances import Moments, cloud, frechet_of, nearest, neighbourhoods, too_few
from sanggar.evaluation.reference import Reference, draw_and_extract
from sanggar.instruments.features import FeatureExtractor, Features
from sanggar.models.flow.matching import EVALUATIONS
from sanggar.results import Json
from sanggar.runs import Arrays
from sanggar.tools.interpolation import slerp
from sanggar.trained import Labels, Noise, Rows, TrainedModel

LEVELS = (1.0, 0.8, 0.6, 0.4, 0.2)
"""Levels of truncation that are shown and measured"""
SWEPT = 1000
"""Pictures that each level is measured on"""
STEPS = (1, 2, 4, 8, 16, 32)
"""Steps of a solver that are shown and measured; the last of those alone whose steps take one evaluation"""
COLUMNS, WALKS, PLACES, NEIGHBOURS = 8, 4, 9, 3
"""Pictures in a row, walks through the latent space, pictures on each, training pictures below a sample"""

Few = UInt8[np.ndarray, "few height width channels"]


def sweeps(model: TrainedModel) -> bool:
    """Whether truncation is swept: of a model with such an option, unless it decodes what it encodes.

    The temperatures of an autoencoder are shown beside other ways to draw, see the metric `exploration`.
    """
    return model.swept is not None and not (model.can("encode") and model.can("decode"))


def shown_pictures(model: TrainedModel, test: Images, seed: int) -> Arrays:
    """Samples (a row a class), walks between latents (a class each), the same noise at levels of truncation."""
    classes = len(model.spec.classes)
    lines = classes if model.by_class else COLUMNS
    noise = model.noise(max(lines, 2) * COLUMNS, seed)
    labels = np.repeat(np.arange(lines, dtype=np.int64), COLUMNS) if model.by_class else None
    arrays = {"samples": model.draw(noise[: lines * COLUMNS], _conditions(model, test, labels, lines * COLUMNS))}
    if labels is not None:
        arrays["labels"] = labels
    rows = _conditions(model, test, _in_turn(model, WALKS), WALKS)
    arrays["walks"] = np.stack([
        model.draw(
            _arc(noise[2 * walk], noise[2 * walk + 1]),
            None if rows is None else np.repeat(rows[walk : walk + 1], PLACES, axis=0),
        )
        for walk in range(WALKS)
    ])  # fmt: skip
    if sweeps(model):
        rows = _conditions(model, test, _in_turn(model, COLUMNS), COLUMNS)
        levels = [model.draw(noise[:COLUMNS], rows, **{str(model.swept): level}) for level in LEVELS]
        arrays |= {"truncation_levels": np.array(LEVELS), "truncation_pictures": np.stack(levels)}
    return arrays


def _in_turn(model: TrainedModel, count: int) -> Labels | None:
    """Each class in turn; None where the model is not conditioned on the class."""
    return np.arange(count, dtype=np.int64) % len(model.spec.classes) if model.by_class else None


def _arc(first: np.ndarray, last: np.ndarray) -> Noise:
    """Noise on the arc between that of two pictures, both included."""
    return slerp(first.ravel(), last.ravel(), PLACES).reshape(PLACES, *first.shape)


def _conditions(model: TrainedModel, test: Images, labels: Labels | None, count: int) -> Rows | None:
    """Conditions of `count` pictures to show: of these classes, where the model is conditioned on the class.

    Where it cannot do without attributes either, they are those of test pictures, of the same class if there are any.
    """
    if labels is None:
        return model.rows_like(test.take(np.arange(count) % len(test)))
    return model.rows_like(replace(test.take(_of_classes(test.labels, labels, len(test))), labels=labels))


def _of_classes(
    known: Int64[np.ndarray, "pictures"] | None, wanted: Int64[np.ndarray, "wanted"], pictures: int
) -> Int64[np.ndarray, "wanted"]:
    """Positions of pictures of the wanted classes, the first ones; of any class where one has no pictures."""
    positions = np.arange(len(wanted)) % pictures
    for label in np.unique(wanted) if known is not None else ():
        of_class, places = np.flatnonzero(known == label), np.flatnonzero(wanted == label)
        if len(of_class):
            positions[places] = np.resize(of_class, len(places))
    return positions


def neighbour_pictures(real: Reference, features: Features, few: Few) -> Arrays:
    """The first generated pictures, below each the training pictures nearest to it by features, and their distances."""
    count = min(NEIGHBOURS, len(real.train))
    distances, positions = nearest(features.features[: len(few)], real.of_train.features, count)
    below = [real.train.pixels[positions[:, rank]] for rank in range(count)]
    return {"neighbours": np.stack([few, *below]), "neighbour_distances": distances.T}


def truncation_sweep(
    model: TrainedModel, extractor: FeatureExtractor, real: Reference, noise: Noise, rows: Rows | None,
    features: Features,
) -> tuple[Arrays, int]:  # fmt: skip
    """Measure recall and, on pictures enough, Fréchet distance at each level of truncation; on how many pictures.

    `features` are those of the same noise without truncation.
    """
    few = slice(min(SWEPT, len(noise)))
    real_features, rows = real.of_test.features[few], None if rows is None else rows[few]
    around, test = cloud(real_features), Moments.of(real_features)
    recall, distance = [], []
    for level in LEVELS:
        option = {str(model.swept): level}
        drawn = features if level == 1 else draw_and_extract(model, extractor, noise[few], rows, **option)[1]
        points = drawn.features[few]
        recall.append(neighbourhoods(around, cloud(points)).recall.mean())
        if not too_few(*points.shape):
            distance.append(frechet_of(Moments.of(points), test))
    arrays = {"truncation_recall": np.array(recall)}
    return arrays | ({"truncation_frechet": np.array(distance)} if distance else {}), len(real_features)


def solver_curves(
    model: TrainedModel, extractor: FeatureExtractor, real: Reference, noise: Noise, rows: Rows | None
) -> tuple[Arrays, dict[str, Json]]:  # fmt: skip
    """Draw the same noise by each solver in few and many steps: pictures, Fréchet distance, recall, evaluations.

    Distances are there where pictures are enough. Details: the solvers by their order, and the number of pictures.
    """
    few = slice(min(SWEPT, len(noise)))
    rows, test = None if rows is None else rows[few], Moments.of(real.of_test.features[few])
    around = cloud(real.of_test.features[few])
    ways = [(s, n) for s in model.solvers for n in STEPS if n < STEPS[-1] or EVALUATIONS[s] == 1]
    pictures, recall, distance = [], [], []
    for solver, steps in ways:
        shown, drawn = draw_and_extract(model, extractor, noise[few], rows, solver=solver, steps=steps)
        pictures.append(shown)
        points = drawn.features
        recall.append(neighbourhoods(around, cloud(points)).recall.mean())
        if not too_few(*points.shape):
            distance.append(frechet_of(Moments.of(points), test))
    arrays = {
        "solver_pictures": np.stack(pictures), "solver_recall": np.array(recall),
        "solver_steps": np.array([steps for _, steps in ways]),
        "solver_evaluations": np.array([steps * EVALUATIONS[solver] for solver, steps in ways]),
        **({"solver_frechet": np.array(distance)} if distance else {}),
    }  # fmt: skip
    return arrays, {"solvers": [solver for solver, _ in ways], "solver_n": len(noise[few])}
