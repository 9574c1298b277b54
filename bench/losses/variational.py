"""The Kullback-Leibler divergence of a diagonal Gaussian from the standard normal.

Source: Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014), appendix B.
"""

from __future__ import annotations

from torch import Tensor

from bench.losses.precision import exact


@exact
def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(μ, σ²)‖N(0, 1)) = ½(μ² + σ² − 1 − log σ²) of each image and dimension, in nats: N×D, N×D -> N×D.

    log σ² is what comes in. It should be clamped: σ² overflows float32 from 88 on.
    """
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)
