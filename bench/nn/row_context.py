"""What a grid of features says from its first row down to each: convolutions that see no row below.

Source: Hénaff et al., "Data-Efficient Image Recognition with Contrastive Predictive Coding" (ICML 2020), appendix: a
PixelCNN whose rows are whole; van den Oord et al., "Pixel Recurrent Neural Networks" (ICML 2016), for the mask.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class RowContext(nn.Module):
    """Residual blocks N×C×h×w -> N×C×h×w; row r of the result depends on rows 0 … r, on all of their columns.

    In a block: layer norm over the channels of each position (a norm over positions would see below), ReLU, 1×1, 1×3,
    the row itself and the one above (2×1, padded above), ReLU, 1×1.
    """

    def __init__(self, dim: int, hidden_dim: int, blocks: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(blocks))
        self.before = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, hidden_dim, 1), nn.Conv2d(hidden_dim, hidden_dim, (1, 3), padding=(0, 1)))
            for _ in range(blocks)
        )
        self.down = nn.ModuleList(nn.Conv2d(hidden_dim, hidden_dim, (2, 1)) for _ in range(blocks))
        self.after = nn.ModuleList(nn.Conv2d(hidden_dim, dim, 1) for _ in range(blocks))

    def forward(self, z: Tensor) -> Tensor:
        """Return the context of every position: N×C×h×w -> N×C×h×w."""
        c = z
        for norm, before, down, after in zip(self.norms, self.before, self.down, self.after, strict=True):
            x = F.relu(norm(c.movedim(1, -1)).movedim(-1, 1))
            x = down(F.pad(before(x), (0, 0, 1, 0)))  # a row of zeros above
            c = c + after(F.relu(x))
        return c
