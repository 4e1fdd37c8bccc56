"""Which rates, betas and batches suit each rung of the CIFAR-10 ladder? Six short trials of each, on validation.

The trials lie in `searches`, as those of `sanggar search` do: stopped, it goes on where it was.
"""

from __future__ import annotations

from pathlib import Path

from sanggar.studies.engine import Workers
from sanggar.studies.executors import cores, here
from sanggar.studies.search import Runs, Search, tried
from sanggar.studies.space import as_text, space

RUNGS = {
    "cifar10-gan-dense": (850, ("0.0002", "0.0006"), ("[0.5,0.999]", "[0.0,0.999]")),
    "cifar10-dcgan": (180, ("0.0002", "0.0006"), ("[0.5,0.999]", "[0.0,0.999]")),
    "cifar10-wgan-gp": (108, ("0.0001", "0.0003"), ("[0.0,0.9]", "[0.5,0.9]")),
    "cifar10-sngan": (68, ("0.0002", "0.0006"), ("[0.0,0.9]", "[0.5,0.9]")),
    "cifar10-style": (118, ("0.0025", "0.0008"), ("[0.0,0.99]", "[0.5,0.99]")),
}
"""Steps of 64 pictures, half as many as in the study `cifar10-gan`; rates and betas of the generator's Adam, of which
the recipe has the first"""
RATE, BETAS = "training.optimizer.learning_rate", "training.optimizer.betas"


def main() -> None:
    """Try them and say how far each is from real pictures."""
    with Workers(here()) as workers:
        runs = Runs(Path("searches"), workers)
        for recipe, (steps, rates, betas) in RUNGS.items():
            told = ("model.condition=[]", "evaluation.generation.samples=2000")
            both = f"{RATE}={','.join(rates)}"
            grids = [
                (*told, f"training.steps={steps}", both, f"{BETAS}={','.join(betas)}"),
                (*told, f"training.steps={2 * steps}", "training.batch_size=32", both),
            ]
            for varied in grids:
                search = Search(space(recipe, varied), 4, "grid", "generation.frechet")
                for trial in tried(search, runs, cores()):
                    value = trial.trouble or f"{trial.value:.2f}"
                    print(f"  {recipe}, {as_text(trial.setting)}: {value}", flush=True)
