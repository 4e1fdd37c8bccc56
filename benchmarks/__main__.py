"""`python -m benchmarks` runs every benchmark; `python -m benchmarks NAME` one of them."""

from __future__ import annotations

import sys

from benchmarks import (
    anomaly,
    autoencoder,
    ffnn,
    gan,
    ladder,
    machine,
    prepare,
    rulers,
    search,
    seeds,
    shared,
    studies,
    vae,
)

BENCHMARKS = {
    "autoencoder": autoencoder.main,
    "ffnn": ffnn.main,
    "gan": gan.main,
    "anomaly": anomaly.main,
    "ladder": ladder.main,
    "prepare": prepare.main,
    "rulers": rulers.main,
    "search": search.main,
    "seeds": seeds.main,
    "shared": shared.main,
    "studies": studies.main,
    "vae": vae.main,
}


def main() -> None:
    names = sys.argv[1:] or list(BENCHMARKS)
    for unknown in [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"There is no benchmark {unknown!r}. Known: {', '.join(BENCHMARKS)}.")
    print(machine.describe())
    for name in names:
        print(f"\n== {name}")
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
