"""Generated pictures for the report: samples, walks between latents, truncation, nearest training pictures."""

from __future__ import annotations

import numpy as np

from sanggar.evaluation.measures.distances import Moments, cloud, frechet_of, nearest, neighbourhoods, too_few
from sanggar.instruments.features import FeatureExtractor, Features, Labels, Latents, Pixels, Real, look_at
from sanggar.runs import Arrays
from sanggar.trained import TrainedModel, slerp

LEVELS = (1.0, 0.8, 0.6, 0.4, 0.2)
"""Of truncation, as shown and swept."""
SWEPT = 1000
"""Pictures that each level of truncation is measured on."""
COLUMNS, WALKS, STEPS, NEIGHBOURS = 8, 4, 9, 3
"""Pictures in a row, walks through the latent space, pictures on each, training pictures below a sample."""


def shown_pictures(painter: TrainedModel, seed: int) -> Arrays:
    """Samples (a row a class), walks between latents (a class each), the same latents at levels of truncation."""
    conditional, classes = painter.conditional, len(painter.spec.classes)
    rows = classes if conditional else COLUMNS
    labels = np.repeat(np.arange(rows, dtype=np.int64), COLUMNS) if conditional else None
    latents = painter.latents(max(rows, 2) * COLUMNS, seed)
    arrays = {
        "generation.samples": painter.paint(latents[: rows * COLUMNS], labels),
        "generation.columns": np.array([COLUMNS]),
        "generation.truncation.levels": np.array(LEVELS),
    }
    if labels is not None:
        arrays["generation.labels"] = labels
    walks = [
        painter.paint(
            slerp(latents[2 * row], latents[2 * row + 1], STEPS),
            np.full(STEPS, row % classes, np.int64) if conditional else None,
        )
        for row in range(WALKS)
    ]
    in_turn = painter.labels(COLUMNS)
    swept = [painter.paint(latents[:COLUMNS], in_turn, level) for level in LEVELS]
    return arrays | {"generation.walks": np.stack(walks), "generation.truncation.pictures": np.stack(swept)}


def neighbour_pictures(real: Real, seen: Features, few: Pixels) -> Arrays:
    """The first samples, and below each the training pictures that are nearest by features."""
    count = min(NEIGHBOURS, len(real.train))
    distances, positions = nearest(seen.features[: len(few)], real.of_train.features, count)
    below = [real.train.pixels[positions[:, rank]] for rank in range(count)]
    return {"generation.neighbours": np.stack([few, *below]), "generation.neighbours.distances": distances.T}


def truncation_sweep(
    painter: TrainedModel,
    extractor: FeatureExtractor,
    real: Real,
    latents: Latents,
    asked: Labels | None,
    seen: Features,
) -> Arrays:
    """Fréchet distance and recall at each level of truncation: quality against variety."""
    few = slice(min(SWEPT, len(latents)))
    features, labels = real.of_test.features[few], None if asked is None else asked[few]
    around, test = cloud(features), Moments.of(features)
    recall, distance = [], []
    for level in LEVELS:
        drawn = (
            seen.features[few] if level == 1 else look_at(painter, extractor, latents[few], labels, level)[1].features
        )
        recall.append(neighbourhoods(around, cloud(drawn)).recall.mean())
        if not too_few(*drawn.shape):
            distance.append(frechet_of(Moments.of(drawn), test))
    arrays = {"generation.truncation.recall": np.array(recall), "generation.truncation.n": np.array([len(features)])}
    return arrays | ({"generation.truncation.frechet": np.array(distance)} if distance else {})
