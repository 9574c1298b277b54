"""What objectives with a momentum encoder share: copies of networks, which slowly follow those that are trained.

Sources: He et al., "Momentum Contrast" (MoCo, CVPR 2020), eq. 2; Grill et al., "Bootstrap Your Own Latent" (BYOL,
NeurIPS 2020), section 3.1.
"""

from __future__ import annotations

from typing import ClassVar

from bench.nn.ema import follow, target_rate
from bench.objectives.small_crops import SmallCrops


class MovingCopies(SmallCrops):
    """An objective in which each network called `target_…` or `key_…` is a copy that follows the one so called."""

    keeps_copy: ClassVar[bool] = True

    tau0: float  # τ at the first step

    def kept_share(self, progress: float) -> float:
        """Return τ, the share of itself that a copy keeps at a step: as in BYOL, from τ₀ to 1 along half a cosine."""
        return target_rate(self.tau0, progress)

    def after_step(self, progress: float) -> None:
        """Move each copy towards the network that it follows."""
        tau = self.kept_share(progress)
        for name, network in self.named_children():
            prefix, _, followed = name.partition("_")
            if prefix in ("target", "key"):
                follow(network, self.get_submodule(followed), tau)
