"""How much better a posterior fitted to one picture does than the encoder's: what likelihood regret is made of.

An encoder is good at pictures like those it was trained on. What its bound loses on a picture that is given a
posterior of its own, the decoder as it is, tells odd pictures from normal ones, where the bound itself is misled by
how simple a picture is (Xiao et al. 2020, arXiv:2003.02977).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from sanggar.models.base import Latents
from sanggar.models.vae.kl import kl_divergence
from sanggar.models.vae.likelihoods import Nats

RATE = 0.05
"""Adam's, for means and logarithms of variances alike."""

LogLikelihood = Callable[[Latents, Latents, Latents], Nats]
"""log p(x | z) of each picture, by the posterior's mean, the logarithm of its variance, and one draw of noise"""


def refitted(
    mean: Latents, log_variance: Latents, log_likelihood: LogLikelihood, known: Float[Tensor, "batch weighed"],
    noise: Float[Tensor, "batch draws latent"],
) -> Float[Tensor, "batch 2"]:  # fmt: skip
    """The bound with the posterior given, and with the one that Adam makes of it; the second is never lower.

    The first draws of noise measure both: as many as are `known`, the log-likelihoods by the posterior. Each of the
    other draws is one step. Pictures do not touch one another: Adam goes by element. Where fitting did not help, a
    picture keeps its posterior.
    """
    weighed = known.shape[1]
    weighing, steps = noise[:, :weighed].unbind(dim=1), noise[:, weighed:].unbind(dim=1)

    def bound(mean: Latents, log_variance: Latents, given: Nats) -> Nats:
        return given - kl_divergence(mean, log_variance).sum(dim=1)

    before = torch.stack([bound(mean, log_variance, given) for given in known.unbind(dim=1)]).mean(dim=0)
    fitted = [part.clone().requires_grad_() for part in (mean, log_variance)]
    optimizer = torch.optim.Adam(fitted, lr=RATE)
    for draw in steps:
        loss = -bound(fitted[0], fitted[1], log_likelihood(fitted[0], fitted[1], draw)).sum()
        # for these alone: the network's own gradients are neither computed nor touched
        fitted[0].grad, fitted[1].grad = torch.autograd.grad(loss, fitted)
        optimizer.step()
    with torch.no_grad():
        likelihoods = (log_likelihood(fitted[0], fitted[1], draw) for draw in weighing)
        after = torch.stack([bound(fitted[0], fitted[1], given) for given in likelihoods]).mean(dim=0)
    return torch.stack([before, torch.maximum(before, after)], dim=1)
