"""Does TPE find better settings than chance? Thirty trials each, five seeds, by the best validation loss."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sanggar.studies.engine import Workers
from sanggar.studies.executors import cores, here
from sanggar.studies.search import Runs, Search, tried
from sanggar.studies.space import space

SEEDS, TRIALS = 5, 30
SPACES = {
    "digits-ffnn": (
        "training.epochs=5", "training.optimizer.learning_rate=1e-4..1e-1:log", "model.hidden=[16],[64],[64,64]",
        "training.batch_size=16..128:log", "model.dropout=0..0.5", "model.activation=relu,tanh,sigmoid",
    ),
    "digits-vae": (
        "training.epochs=4", "training.optimizer.learning_rate=1e-4..1e-1:log", "training.batch_size=32..256:log",
        "model.widths=[8,16],[16,32]", "model.latent_size=2..32:log",
    ),
}  # fmt: skip
"""What is varied. The loss of the VAE is its bound, whose terms mean the same for every setting."""


def main() -> None:
    """Race them; runs that both come to are trained once."""
    with tempfile.TemporaryDirectory() as folder, Workers(here()) as workers:
        for recipe, varied in SPACES.items():
            runs, won = Runs(Path(folder), workers), 0
            for seed in range(SEEDS):
                best = {}
                for sampler in ("tpe", "random"):
                    search = Search(space(recipe, varied), TRIALS, sampler, seed=seed)
                    values = [trial.value for trial in tried(search, runs, cores())]
                    best[sampler] = search.better(value for value in values if value is not None)
                won += best["tpe"] < best["random"]
                print(f"  {recipe}, seed {seed}: best loss {best['tpe']:.4f} by TPE, {best['random']:.4f} by chance",
                      flush=True)  # fmt: skip
            print(f"  {recipe}: TPE is better in {won} of {SEEDS} seeds ({TRIALS} trials each)")
