"""Feed-forward networks from scratch: automatic differentiation and everything above it, on NumPy alone.

Read in this order: `tensor` (the tape), `ops`, `activations` and `losses` (each operation beside its derivative),
`layers`, `initializers` and `optimizers`, and `network`, where they become an `FFNN`. `estimators` fits it into
scikit-learn, `pictures` draws it; both import what they stand on, the rest imports NumPy alone.
"""

from sanggar.scratch.layers import Activation, BatchNorm, Dense, Dropout, Layer, LayerNorm, RMSNorm, Sequential
from sanggar.scratch.network import FFNN, Epoch
from sanggar.scratch.optimizers import SGD, Adam, AdamW, RMSProp
from sanggar.scratch.tensor import Tensor, no_grad

__all__ = [
    "FFNN",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Epoch",
    "Layer",
    "LayerNorm",
    "RMSNorm",
    "RMSProp",
    "Sequential",
    "Tensor",
    "no_grad",
]
