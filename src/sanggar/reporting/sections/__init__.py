"""The sections of a report, one function each: given the runs, HTML, or None when it has nothing."""

from __future__ import annotations

from sanggar.reporting.sections import (
    anomaly,
    attributes,
    bounds,
    classification,
    denoising,
    edits,
    exploration,
    generation,
    latent,
    reconstruction,
    run,
    training,
)
from sanggar.reporting.view import Section

SECTIONS: dict[str, tuple[str, Section]] = {
    "short": ("In short", run.in_short),
    "run": ("What was run, and on what", run.what_was_run),
    "alarms": ("Alarms", run.alarms),
    "numbers": ("Headline numbers", run.headlines),
    "generation": ("Beside real pictures", generation.measured),
    "asked": ("Class by class, as asked for", generation.class_by_class),
    "samples": ("Samples", generation.samples),
    "drawn": ("Drawn from the latent space", exploration.drawn),
    "bound": ("The bound, its rate and its distortion", bounds.bound),
    "dimensions": ("What each dimension holds", bounds.dimensions),
    "loss": ("Loss", training.loss_curves),
    "watched": ("What was watched", training.watched),
    "classes": ("Class by class", classification.classes),
    "mistakes": ("Mistakes", classification.mistakes),
    "network": ("The network", classification.network),
    "neurons": ("Weights and gradients", classification.neurons),
    "fidelity": ("How well pictures are reconstructed", reconstruction.fidelity),
    "reconstructions": ("Reconstructions", bounds.reconstructions),
    "denoised": ("Clean, noisy, reconstructed", denoising.denoised),
    "noise": ("PSNR against noise", denoising.against_noise),
    "latent": ("The latent space", latent.latent_space),
    "interpolation": ("Interpolation", latent.interpolation),
    "attributes": ("Attributes in the latent space", attributes.attributes),
    "edits": ("Edits of attributes", edits.edits),
    "corners": ("Between four pictures", exploration.corners),
    "traversals": ("Along single dimensions", exploration.traversals),
    "extremes": ("Best and worst", reconstruction.best_and_worst),
    "anomaly": ("Odd pictures", anomaly.odd_pictures),
    "training": ("As training went", training.as_training_went),
    "walks": ("Walks through the latent space", generation.walks),
    "truncation": ("Truncation", generation.truncation),
    "solvers": ("Steps of sampling", generation.solvers),
    "neighbours": ("Nearest training pictures", generation.neighbours),
    "everything": ("Recipe, versions, protocol", run.everything),
}
"""In the order in which they stand on the page"""
