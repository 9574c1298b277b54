"""MoCo v2: MoCo with SimCLR's head and augmentations, on a common batch size.

Claim:     67.5 % ImageNet linear top-1 with ResNet-50 (200 epochs), 71.1 % (800 epochs).
Paper:     Chen et al., "Improved Baselines with Momentum Contrastive Learning" (2020); He et al., "Momentum Contrast"
           (CVPR 2020), eq. 1 and 2, algorithm 1.
Equation:  as `moco`: loss = −log [exp(q·k⁺/τ) / (exp(q·k⁺/τ) + Σ_i exp(q·k_i/τ))], a mean over images, but g is an MLP
           (2048-2048-128, ReLU, no norms), τ = 0.2, and views are blurred, too. After the loss k⁺ takes the place
           of the oldest keys. θ_k ← m·θ_k + (1 − m)·θ_q, m constant.
           Other losses stand in this one's place by name, with the queue as the only negatives: see
           `bench/losses/contrast_by_name.py`.
           With C small crops a direction's loss is the mean over its 1 + C queries, the crops having the same k⁺.
           `symmetric` adds the other direction, a sum; both views' keys then enter the queue. It costs about what
           twice as many epochs do.
Reference: facebookresearch/moco, with --mlp --moco-t 0.2 --aug-plus --cos.
Departs from it: the key's networks move after the optimizer's step, not before the next forward: the same keys at every
           step (at the first the copies are equal), also where gradients are accumulated.
           On one process, where there is nobody to shuffle with, `bn_splits` parts of the batch stand for the
           reference's 8 processes, as in the authors' notebook, each through the network by itself.
           MoCo has no small crops; they are SwAV's (Caron et al., NeurIPS 2020). They are queries and nothing else: no
           crop becomes a key or enters the queue.
"""

from __future__ import annotations

from typing import Any

from bench.config.setting_types import Positive
from bench.data.views import MOCO_V2_VIEWS
from bench.nn.encoder import Encoder
from bench.objectives.moco import MoCo


class MoCoV2(MoCo):
    """MoCo v2: MoCo with SimCLR's head and augmentations, on a common batch size."""

    full_views = staticmethod(MOCO_V2_VIEWS)

    def __init__(self, encoder: Encoder, *, temperature: Positive = 0.2, mlp: bool = True, **settings: Any) -> None:
        super().__init__(encoder, temperature=temperature, mlp=mlp, **settings)
