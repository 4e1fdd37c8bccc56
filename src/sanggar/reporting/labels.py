"""Labels: every word that stands for a key, a tag, a subject, a setting or an alarm. The one place for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sanggar.files import Tree
from sanggar.results import NETWORK, Alarm, Json, Measurement

LABELS: dict[str, str] = {
    "reconstruction.mse": "MSE",
    "reconstruction.psnr": "PSNR",
    "reconstruction.ssim": "SSIM",
    "reconstruction.perceptual": "perceptual distance ({network})",
    "denoising.mse": "MSE",
    "denoising.train_mse": "MSE of training pictures",
    "denoising.psnr": "PSNR",
    "denoising.ssim": "SSIM",
    "denoising.compared_psnr": "PSNR beside filters",
    "denoising.gain": "PSNR above {against}",
    "latent.probe": "linear-probe accuracy",
    "latent.knn": "kNN accuracy",
    "latent.silhouette": "silhouette",
    "latent.rank": "effective rank",
    "attributes.probe": "linear probe, {score}",
    "attributes.mig": "mutual information gap",
    "attributes.disentanglement": "DCI disentanglement",
    "attributes.completeness": "DCI completeness",
    "edits.success": "edit flips the attribute",
    "edits.shift": "edit shifts the number",
    "edits.success_validation": "edit flips the attribute, on validation, where it was chosen",
    "edits.shift_validation": "edit shifts the number, on validation, where it was chosen",
    "edits.kept": "other attributes kept",
    "edits.psnr": "PSNR with the unedited",
    "edits.perceptual": "perceptual distance from the unedited ({network})",
    "edits.judge": "judge on real pictures, {score}",
    "edits.mean_success": "edits flip the attribute",
    "edits.mean_success_kept": "other attributes kept, flags edited",
    "edits.mean_success_psnr": "PSNR with the unedited, flags edited",
    "edits.mean_shift": "edits shift the number",
    "edits.mean_shift_kept": "other attributes kept, numbers edited",
    "edits.mean_shift_psnr": "PSNR with the unedited, numbers edited",
    "anomaly.auroc": "AUROC",
    "anomaly.average_precision": "average precision",
    "anomaly.pixel_auroc": "AUROC of pixels",
    "anomaly.region_overlap": "overlap with odd places (AU-PRO to 0.3)",
    "bounds.negative_elbo": "negative ELBO",
    "bounds.distortion": "distortion, −log p(x | z)",
    "bounds.rate": "rate, KL(q(z | x) ‖ p(z))",
    "bounds.bits_per_dimension": "negative ELBO of each value",
    "bounds.importance_weighted": "negative importance-weighted bound",
    "bounds.beta": "beta",
    "bounds.deviation": "deviation of the pixels",
    "bounds.beta_squared": "beta beside the summed squared error",
    "bounds.active_dimensions": "active dimensions",
    "exploration.frechet": "{distance}",
    "exploration.precision": "precision",
    "exploration.recall": "recall",
    "classification.accuracy": "accuracy",
    "classification.cross_entropy": "cross-entropy",
    "classification.calibration_error": "expected calibration error",
    "classification.precision": "precision",
    "classification.recall": "recall",
    "generation.frechet": "{distance}",
    "generation.class_frechet": "{distance}",
    "generation.kernel": "kernel distance ({network})",
    "generation.kernel_deviation": "kernel distance ({network}): deviation over subsets",
    "generation.precision": "precision",
    "generation.recall": "recall",
    "generation.density": "density",
    "generation.coverage": "coverage",
    "generation.nearest": "distance to the nearest training picture",
    "generation.memorization": "near a training picture",
    "generation.duplicates": "near another of the same set",
    "generation.agreement": "agreement with the class asked for",
    "generation.class_agreement": "agreement with the class asked for",
    "train.mse": "train loss, MSE",
    "train.distortion": "train distortion",
    "validation.mse": "validation loss, MSE",
    "validation.distortion": "validation distortion",
    "training.seconds": "seconds of training",
    "network.parameters": "parameters",
}
"""By key; names in braces are settings of the protocol. A key that is not here is written as it is."""

SUBJECTS: dict[str, str] = {
    "network": "network",
    "floor": "real pictures (floor)",
    "pca": "PCA",
    "knn": "kNN",
    "pixels": "pixels",
    "judge": "judge",
    "largest_class": "always the largest class",
    "scikit_learn": "scikit-learn's MLP",
    "identity": "do nothing",
    "gaussian_filter": "Gaussian filter",
    "median_filter": "median filter",
    "non_local_means": "non-local means",
    "wavelet": "wavelet",
}

SCORES: dict[str, str] = {
    "together": "residual and latent distance together",
    "reconstruction": "reconstruction error",
    "residual": "residual in deviations of its pixel",
    "latent": "latent distance",
    "kl": "KL divergence",
    "prior": "density of the learned prior",
    "bound": "negative ELBO",
    "regret": "likelihood regret",
    "neighbours": "distance to training pictures",
}

TRIALS: dict[str, str] = {
    "held_out": "held-out classes",
    "corrupted": "all four corruptions",
    "blur": "blur",
    "noise": "noise",
    "occlusion": "occlusion",
    "defect": "small defect",
    "smooth": "smooth pictures",
    "faded": "faded pictures",
    "mnist": "MNIST pictures",
}

SOURCES: dict[str, str] = {
    "prior": "the prior",
    "normal": "the standard normal distribution",
    "mixture": "a Gaussian mixture",
    "midpoint": "midpoints of training pictures",
}

PRIORS: dict[str, str] = {"flow": "a flow", "mixture": "a learned mixture"}

TAGS: dict[str, tuple[str, Mapping[str, str]]] = {
    "level": ("noise {}", {}),
    "attribute": ("{}", {}),
    "strength": ("strength {}", {}),
    "class": ("class {}", {}),
    "odd": ("{}", TRIALS),
    "score": ("{}", SCORES),
    "condition": ("given {}", {}),
    "draws": ("k = {}", {}),
    "prior": ("prior: {}", PRIORS),
    "source": ("drawn from {}", SOURCES),
    "temperature": ("temperature {}", {}),
    "epoch": ("epoch {}", {}),
    "part": ("{}", {"whole": "whole network"}),
    "counted": ("{}", {"all": "trained and running", "running": "running statistics"}),
}
"""How a tag is written, and words for its values"""

EDIT_METHODS: dict[str, tuple[str, str]] = {
    "means": ("difference of means", "along the difference of class means"),
    "probe": ("normal of a probe", "along the normal of a linear probe"),
    "condition": ("another condition", "by giving the decoder another condition"),
    "noise": ("difference of means in noise", "along the difference of class means in the prior's noise"),
    "prior": ("another condition of the prior", "by giving the prior, and a decoder that takes it, another condition"),
}
"""How an edit is made: in a table, and in a sentence"""

SETTINGS: dict[str, str] = {
    "fitted_on": "{:,} training pictures",
    "tuned_on": "{:,} validation pictures",
    "among": "{:,} training pictures",
    "neighbours": "{}, Euclidean",
    "block": "means of {0}×{0} pixels",
    "near": "nearer than {:.0%} of the test pictures are",
    "bins": "{}, equally wide",
    "of": "{:,} pictures",
}
"""How the value of a setting is written where a number alone would not do"""

VALUES: dict[str, Mapping[str, str]] = {
    "against": {"unedited": "the unedited reconstruction"},
    "condition": {"none": "nothing"},
    "pictures": {
        "without_and_with": "as many without it and with it, each pushed to the other side",
        "below_and_above_median": "as many below and above the median, each pushed to the other side",
    },
    "unit": {
        "half_success": "strength 1 succeeds half as often as any step on validation; or the gap, where nothing "
        "succeeds",
        "half_shift": "strength 1 shifts half as far as any step on validation, or a deviation; or the gap, where "
        "nothing succeeds",
    },
    "kept_when": {"within_half_deviation": "the same verdict; a number, within half a deviation"},
    "mean": {"independent_attributes": "over attributes, as if independent"},
    "trial": {"held_out": "held-out classes", "corrupted": "corrupted pictures", "simpler": "simpler pictures"},
}
"""Words for values of settings"""

FLOORS: dict[str, str] = {
    "train": "as many training pictures, their classes as often, against the same test pictures",
    "test": "the test pictures, by their own labels",
}
"""By split: what stands beside generated pictures"""

ALARMS: dict[str, str] = {
    "evaluation.judge_saw_test": "The {judge} learned from pictures that are for test here, since it split the same "
    "data otherwise: what it says of them is too good, its floors included.",
    "denoising.nothing_learned": "Reconstructions at noise {level:g} have MSE {mse:.2f}: the network has learned next "
    "to nothing.",
    "latent.idle": "The latent space uses about {rank:.1f} of its {size} dimensions: most of it lies idle.",
    "latent.no_map": "The map of the latent space is left out: {n} test pictures are too few for one.",
    "anomaly.not_measured": "Anomaly detection is not measured: {n} normal test pictures are too few.",
    "edits.left_out": "Edits of {names} are not measured: too few pictures, or no judge tells them apart.",
    "bounds.collapse": "Posterior collapse: {active} of {size} dimensions are active, and a picture's latent holds "
    "{rate:.2g} nats of it. Less beta, a warm-up or free bits keep more of them in use.",
    "classification.left_out": "No picture was taken for: {names}. The network leaves out classes.",
    "generation.not_measured": "Generated pictures were not measured: {reason}",
    "generation.no_distance": "The {distance} is left out: {n} pictures are too few for a Fréchet distance on {size} "
    "features: their covariance has no full rank, and the distance would follow the number of pictures, not what they "
    "show. It takes more than {size}, better ten times as many.",
    "generation.no_class_distance": "Distances of some classes are left out: no more pictures than features ({size}): "
    "{classes}.",
    "generation.no_judge": "Whether labels are obeyed was not measured: no judge knows the classes of {data}.",
    "generation.collapse": "Collapse: much of what the real pictures show is never drawn. {signs}",
    "generation.memorization": "Memorization: {share:.0%} of the pictures are nearer to a training picture than "
    "{near:.0%} of the test pictures are.",
    "generation.disobedience": "Labels are not obeyed: {judge} finds the class asked for in {share:.0%} of the "
    "pictures, and in {real:.0%} of real ones.{lowest}",
    "format1.alarm": "{text}",
}
"""By key; names in braces are the alarm's values"""

DIAGNOSES: dict[str, str] = {
    "above_pca": "It reconstructs well: {difference:.1f} dB above as many principal components ({psnr:.1f} and "
    "{pca:.1f} dB).",
    "below_pca": "It reconstructs {difference:.1f} dB worse than as many principal components, which train in seconds "
    "({psnr:.1f} and {pca:.1f} dB).",
    "begin_linear": "What to change first: principal components reconstruct at {pca:.1f} dB, this network at "
    "{psnr:.1f}. With `model.linear=true` it begins as they are, and learns what they cannot say.",
    "above_filter": "It denoises well: {difference:.1f} dB above the best classical filter at noise {level:g}.",
    "below_filter": "At noise {level:g} it denoises {difference:.1f} dB worse than the best classical filter.",
    "classifies": "It classifies {accuracy:.1%} of {n:,} test pictures rightly; always naming the largest class would "
    "get {largest:.1%}.",
    "classifies_badly": "It classifies {accuracy:.1%} rightly, where always naming the largest class gets "
    "{largest:.1%}.",
    "drawn_near": "What it draws is near to real pictures: a distance of {distance:.3g}, {ratio:.1f} times that of "
    "training pictures.",
    "drawn_far": "What it draws is far from real pictures: a distance of {distance:.3g}, {ratio:,.0f} times that of "
    "training pictures.",
    "little_variety": "It leaves out much of what there is: a recall of {value:.2f}, where real pictures have "
    "{real:.2f}.",
    "unlike_real": "Much of what it draws is like no real picture: a precision of {value:.2f}, where real ones have "
    "{real:.2f}.",
    "obeys": "It draws the class that is asked for: in {agreement:.1%} of the pictures, in {real:.1%} of real ones.",
    "disobeys": "It draws the class that is asked for in {agreement:.0%} of the pictures only, of real ones it would "
    "be {real:.0%}.",
    "memorizes": "It remembers training pictures: {share:.1%} of what it draws is all but one of them, and {real:.1%} "
    "of test pictures.",
    "prior_learned": "Its learned prior draws latents where pictures have theirs: a distance of {prior:.3g}, where "
    "the standard normal distribution comes to {normal:.3g}.",
    "learn_a_prior": "What to change first: latents do not lie where the prior draws them (a distance of {prior:.3g}; "
    "from a mixture fitted to them {mixture:.3g}). A prior that is learned, `model.prior={{kind: mixture}}`, draws "
    "where they are.",
    "prior_behind": "What to change first: the learned prior draws worse (a distance of {prior:.3g}) than a mixture "
    "that is fitted in seconds ({mixture:.3g}). Give it more of the training, `model.prior.share`, or make it larger.",
    "unused_dimensions": "What to change first: {active:.0f} of {size:.0f} dimensions of the latent are in use. Less "
    "beta or free bits use more; a smaller latent would do as well.",
    "still_falling": "What to change first: it was still learning when it stopped; {share:.0%} of all that its "
    "validation loss fell came in the last tenth. Train longer.",
    "overfitted": "What to change first: its validation loss was lowest at epoch {epoch:.4g} ({lowest:.4g}) and ended "
    "at {loss:.4g}. Stop earlier, or give it more pictures, augmentation or weight decay.",
    "critic_wins": "What to change first: the critic tells real from drawn pictures in {accuracy:.0%} of pairs, so "
    "that the generator learns little. A penalty (r1), augmentation, or a lower rate for the critic evens it out.",
    "critic_wins_penalized": "What to change first: the critic tells real from drawn pictures in {accuracy:.0%} of "
    "pairs, so that the generator learns little. More weight on its penalty, augmentation, or a lower rate for the "
    "critic evens it out.",
    "critic_wins_beside": "What to change first: the critic tells pictures from reconstructions in {accuracy:.0%} of "
    "pairs, so that little is learned from it. A lower rate for it evens it out.",
    "critic_lost": "What to change first: the critic tells real from drawn pictures in {accuracy:.0%} of pairs, next "
    "to chance. A wider critic, a higher rate for it, or more of its steps to one of the generator's helps.",
    "few_pictures": "All this rests on {n:.0f} test pictures or fewer: small differences say nothing here.",
    "too_few_pictures": "{n:.0f} test pictures, or fewer, are too few for anything to be said of this network.",
}
"""By key: what is said of a network, with the numbers that it rests on"""

REASONS: dict[str, str] = {
    "few_pictures": "{n} pictures are too few to compare generated ones with.",
    "no_judge": "there is no judge for {source} (for {judges} there is one). `evaluation.feature_network=inception` "
    "measures with the FID network, and a judge's name with that judge.",
}
"""By the reason in an alarm's values: why generated pictures were not measured; `no_judge` is of earlier versions"""

SIGNS: dict[str, str] = {
    "recall": "recall is {value:.2f}, of real pictures {floor:.2f}",
    "coverage": "coverage is {value:.2f}, of real pictures {floor:.2f}",
    "duplicates": "{value:.0%} of the pictures have another that is all but the same, of real pictures {floor:.1%}",
}
"""By quantity: signs of collapse"""

ENTRIES: dict[str, str] = {"classes": "{class} {n}", "lowest": "{class} {share:.0%}"}
"""By the name of a list in an alarm's values: how an entry of it is written"""


class _Known(dict[str, object]):
    """Values for a template; a name without a value stands as it is."""

    def __missing__(self, name: str) -> str:
        return name.replace("_", " ")


def label(m: Measurement, *leaving_out: str) -> str:
    """What was measured, in words: the quantity and its tags, but for the tags that are left out."""
    settings = _Known({name: _word(value) for name, value in m.protocol.settings.items()})
    if m.key.endswith("frechet"):
        settings["distance"] = distance(m.protocol.settings)
    template = LABELS.get(m.key, m.key.replace(".", ": ").replace("_", " ").replace("{", "{{").replace("}", "}}"))
    tags = [tag(name, value) for name, value in m.tags.items() if name not in leaving_out]
    return ", ".join([template.format_map(settings), *tags])


def label_with_subject(m: Measurement, *leaving_out: str) -> str:
    """The same, with the subject where it is not the network."""
    of = label(m, *leaving_out)
    return of if m.subject == NETWORK else f"{of}: {subject(m.subject)}"


def subject(name: str) -> str:
    """A subject in words."""
    return SUBJECTS.get(name, name.replace("_", " "))


def tag(name: str, value: object) -> str:
    """A tag in words."""
    said = f"{value:g}" if isinstance(value, float) else str(value)
    if name not in TAGS:
        return f"{name.replace('_', ' ')} {said}"
    template, words = TAGS[name]
    return template.format(words.get(str(value), said))


def distance(settings: Mapping[str, Json]) -> str:
    """What a Fréchet distance is called by its network: FID on Inception's features alone."""
    network = str(settings.get("network", ""))
    return "FID" if network.startswith("Inception") else f"Fréchet distance ({network})"


def alarm(given: Alarm) -> str:
    """An alarm in words."""
    template = ALARMS.get(given.key)
    if template is None:
        return f"{given.key}: " + ", ".join(f"{name} {value}" for name, value in given.values.items())
    try:
        return template.format(**_alarm_words(given))
    except (KeyError, ValueError, IndexError, TypeError, AttributeError):  # of a file that was tampered with
        return f"{given.key}: " + ", ".join(f"{name} {value}" for name, value in given.values.items())


def diagnosis(key: str, values: Mapping[str, object]) -> str:
    """A diagnosis in words."""
    return DIAGNOSES[key].format(**values)


def _alarm_words(given: Alarm) -> Tree:
    """Values of an alarm as its template takes them."""
    values: Tree = dict(given.values)
    for name in ENTRIES.keys() & values.keys():
        values[name] = [ENTRIES[name].format(**entry) for entry in values[name]]
    if "network" in values:
        values["distance"] = distance(given.values)
    if "signs" in values:
        signs = "; ".join(SIGNS[sign["quantity"]].format(**sign) for sign in values["signs"])
        values["signs"] = f"{signs[:1].upper()}{signs[1:]}."
    if "lowest" in values:
        values["lowest"] = f" Lowest: {', '.join(values['lowest'])}." if values["lowest"] else ""
    values = {name: _listed(value) for name, value in values.items()}
    if "reason" in values:
        values["reason"] = REASONS[values["reason"]].format(**values)
    return values


def unit(m: Measurement) -> str:
    """Unit of a measurement in words."""
    if m.key == "bounds.active_dimensions":
        return f"of {m.protocol.settings.get('size')}"
    return {"scale": "on [-1, 1]", "bits": "bits per dimension"}.get(m.unit, m.unit)


def protocol(m: Measurement) -> str:
    """What a measurement depends on, in words."""
    given = m.protocol
    first = {"split": given.split, "n": given.n, "data": given.data}
    every = {**first, **m.tags, **given.settings}
    return "; ".join(f"{name.replace('_', ' ')}: {setting(name, value)}" for name, value in every.items())


def setting(name: str, value: object) -> str:
    """The value of a setting, in words."""
    if name in SETTINGS and isinstance(value, int | float) and not isinstance(value, bool):
        return SETTINGS[name].format(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    words = VALUES.get(name, FLOORS if name == "floor" else TAGS[name][1] if name in TAGS else {})
    return words.get(str(value), str(_word(_listed(value))))


def edit(measured: Sequence[Measurement]) -> str:
    """What was measured of an edit at one strength, as a sentence."""
    by = {m.key.removeprefix("edits."): m for m in measured}
    if "success" in by:
        m, verb = by["success"], "it flips {:.0%} [{:.0%}, {:.0%}] of"
    else:
        m, verb = by["shift"], "it shifts the number by {:.2f} [{:.2f}, {:.2f}] deviations on"
    how_often = verb.format(m.value, *(m.interval or (m.value, m.value)))
    kept = f", other attributes stay in {by['kept'].value:.0%}" if "kept" in by else ""
    return (
        f"At strength ±{m.tags['strength']:g}, {how_often} {m.protocol.n} test pictures{kept}, PSNR "
        f"{by['psnr'].value:.1f} dB with the unedited ({m.protocol.settings['judge']})."
    )


def _word(value: object) -> object:
    """A value that names a subject, in words."""
    return SUBJECTS.get(value, value) if isinstance(value, str) else value


def _listed(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
