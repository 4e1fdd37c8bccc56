"""Whether two versions of sanggar train and measure the same, bit for bit, on one machine.

    python -m benchmarks.equality run FOLDER        # with the one version, then with the other
    python -m benchmarks.equality compare ONE OTHER # with the newer one: results of the older are migrated

Each run is a short training on one thread, measured. Compared are the bytes of every saved tensor, the lines of
`metrics.jsonl`, and every measured value with its interval.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

BRIEF = (
    "training.device=cpu", "training.precision=fp32", "evaluation.images=300", "evaluation.probe_images=400",
    "evaluation.classical_images=24", "evaluation.tuning_images=10", "evaluation.noise_levels=[0.2,0.3]",
    "evaluation.map_images=100", "evaluation.bound_images=20", "evaluation.samples=300",
    "evaluation.anomaly_images=80", "evaluation.regret_steps=3",
)  # fmt: skip
SHORT = ("training.epochs=null", "training.validate_every=15", "training.steps=30")
FACES = ("data.size=32", "data.path=faces", "model.widths=[4,8,8]", "model.latent_size=8", "model.blocks=1",
         "evaluation.feature_network=cifar-10")  # fmt: skip
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "autoencoder": ("digits-denoising-autoencoder", ("training.epochs=6", "training.ema=0.9")),
    "ffnn": ("digits-ffnn", ("training.epochs=4", "model.normalization=rms", "model.dropout=0.1")),
    "classifier": ("judge-digits", ("training.epochs=3",)),
    "vae": ("digits-vae", ("training.epochs=6", "model.condition=[class]")),
    "vae-perceptual": ("digits-vae", (
        "training.epochs=3", "model.perceptual={judge: digits}", "model.adversarial={weight: 0.02}",
        "model.adversarial.critic={kind: dcgan, widths: [8,16], norm: none}")),
    "vae-held-out": ("digits-vae", ("training.epochs=3", "data.only=['0','1','2','3','4']")),
    "gan": ("digits-cgan", SHORT),
    "gan-joined": ("digits-cgan", (
        *SHORT, "model.condition=joined", "model.penalty={kind: r1}", "model.instance_noise=0.1",
        "model.augmentation={kind: adaptive, flip: true}")),
    "gan-style": ("cifar10-style", (*SHORT, "training.batch_size=16", "training.ema=0.9")),
    "gan-wgan": ("cifar10-wgan-gp", (*SHORT, "training.batch_size=16", "training.steps=6")),
    "gan-sn": ("cifar10-sngan", (*SHORT, "training.batch_size=16", "training.steps=6")),
    "fashion-vae": ("fashion-vae", (
        *SHORT, "model.widths=[4,8]", "model.blocks=0", "model.latent_size=6", "data.only=[sneaker,bag]")),
    "faces": ("faces-vae", (*SHORT, *FACES, "model.condition=[gender,age]", "data.label=null")),
    "faces-judge": ("faces-vae", (
        *SHORT, "data.path=faces", "data.size=64", "model.widths=[4,8,8]", "model.latent_size=8", "model.blocks=0",
        "data.label=gender")),
    "faces-plain": ("faces-autoencoder", (*SHORT, *FACES)),
}  # fmt: skip


def run(folder: Path) -> None:
    """Train and measure all of them."""
    import sanggar

    for name, (recipe, overrides) in RUNS.items():
        if not (folder / name / "evaluation.json").is_file():
            print(name, flush=True)
            sanggar.evaluate(sanggar.train(recipe, (*BRIEF, *overrides), out=folder / name))


def compare(one: Path, other: Path) -> int:
    """Print what differs, run by run."""
    wrong = 0
    for name in RUNS:
        a, b = (_content(folder / name) for folder in (one, other))
        differing = [key for key in {**a, **b} if a.get(key) != b.get(key)]
        wrong += len(differing)
        print(f"{name}: {len(a)} and {len(b)} values, {len(differing)} differ", *differing[:12], sep="\n    ")
    return wrong


def _content(folder: Path) -> dict[str, Any]:
    from sanggar.results.stored import read
    from sanggar.runs import Run, load_arrays

    found: dict[str, Any] = {}
    for file in ("weights.safetensors", "checkpoint/state.safetensors"):
        for name, array in load_arrays(folder / file)[0].items():
            found[f"{file} {name}"] = hashlib.sha256(array.tobytes()).hexdigest()
    for number, line in enumerate((folder / "metrics.jsonl").read_text().splitlines()):
        found[f"metrics.jsonl {number}"] = json.loads(line)
    for n in read(Run(folder)).measurements:
        key = json.dumps([n.key, n.subject, n.tags], sort_keys=True)
        assert key not in found, f"twice: {key}"
        found[key] = (n.value, n.interval)
    return found


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", folder]:
            run(Path(folder))
        case ["compare", one, other]:
            sys.exit(1 if compare(Path(one), Path(other)) else 0)
        case _:
            sys.exit(__doc__)
