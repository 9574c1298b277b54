"""What a discriminator minimises.

Source: Goodfellow et al., "Generative Adversarial Nets" (NeurIPS 2014), eq. 1.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bench.losses.float32 import at_least_float32


@at_least_float32
def discrimination(real: Tensor, fake: Tensor) -> Tensor:
    """Return ½·(mean −log σ(real) + mean −log(1 − σ(fake))) of logits of any shape -> scalar; ln 2 at chance.

    With the two exchanged it is what fools the discriminator, with the non-saturating sign.
    """
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
