"""MoCo v2: MoCo with SimCLR's head and augmentations, on a common batch size.

Claim:     67.5 % ImageNet linear top-1 with ResNet-50 (200 epochs), 71.1 % (800 epochs).
Paper:     Chen et al., "Improved Baselines with Momentum Contrastive Learning" (2020); He et al., "Momentum Contrast"
           (CVPR 2020), eq. 1 and 2, algorithm 1.
Equation:  as in `moco`, but g is an MLP (2048-2048-128, ReLU, no norms), τ = 0.2, and views are blurred, too.
           `symmetric` costs about what twice as many epochs do.
Reference: facebookresearch/moco at 78b69ca, with --mlp --moco-t 0.2 --aug-plus --cos.
Departs from it: as in `moco`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from bench.config.setting_types import Positive
from bench.data.views import MOCO_V2_VIEWS
from bench.nn.encoder import Encoder
from bench.objectives.moco import MoCo


class MoCoV2(MoCo):
    """MoCo v2: MoCo with SimCLR's head and augmentations, on a common batch size."""

    full_views = staticmethod(MOCO_V2_VIEWS)
    definition: ClassVar[int] = 1  # its views are jittered first, then grey, as they were when MoCo's were

    def __init__(self, encoder: Encoder, *, temperature: Positive = 0.2, mlp: bool = True, **settings: Any) -> None:
        super().__init__(encoder, temperature=temperature, mlp=mlp, **settings)
