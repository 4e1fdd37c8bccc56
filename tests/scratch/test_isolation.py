"""The engine stands on NumPy and the standard library alone."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys

class Wall:
    allowed = {"numpy", "sanggar", *sys.stdlib_module_names}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed:
            raise ImportError(f"{name} is behind the wall")

sys.meta_path.insert(0, Wall())
for module in [name for name in sys.modules if name.partition(".")[0] not in Wall.allowed]:
    sys.modules[module] = None  # what was there at the start, of the interpreter's own, is not to be had either

import tempfile
from pathlib import Path
import numpy as np
import sanggar.scratch
from sanggar.scratch import FFNN, Adam

x = np.random.default_rng(0).normal(size=(200, 2))
y = (x[:, 0] > x[:, 1]).astype(int)
network = FFNN([2, 8, 2], normalization="batch", dropout=0.1, l2=1e-4)
network.fit(x, y, epochs=20, optimizer=Adam(0.01), validation=(x, y), verbose=False)
assert network.evaluate(x, y)[1] > 0.9
print(network.summary())
with tempfile.TemporaryDirectory() as folder:
    network.save(Path(folder, "network.npz"))
    assert (FFNN.load(Path(folder, "network.npz")).predict(x) == network.predict(x)).all()

drawing = {"sanggar.scratch.pictures", "sanggar.scratch.graph", "sanggar.scratch.canvas"}
assert not {"sanggar.scratch.estimators", *drawing} & set(sys.modules)
try:
    import torch
except ImportError:
    print("the wall stands")
"""


def test_the_engine_imports_and_trains_with_nothing_but_numpy() -> None:
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.endswith("loss categorical_cross_entropy\nthe wall stands\n")
    assert process.stderr == ""
