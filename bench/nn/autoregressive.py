"""Networks whose output at a value depends on earlier values alone, in the order rows, pixels of a row, R, G, B.

Source: van den Oord et al., "Pixel Recurrent Neural Networks" (ICML 2016), sections 3 and 4, table 1; conditions as
biases, van den Oord et al., "Conditional Image Generation with PixelCNN Decoders" (NeurIPS 2016), eq. 3.
There is no batch norm: its statistics would carry later pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 256


def colour_of(channels: int) -> Tensor:
    """Return which colour each channel belongs to: the first third 0 (R), then 1 (G), 2 (B)."""
    return torch.arange(channels) * 3 // channels


class MaskedConv2d(nn.Conv2d):
    """A convolution that reads earlier values only.

    That is the rows above, the pixels to the left, and of the same pixel the earlier colours under mask A (the first
    layer, which reads values), and the same colour as well under mask B.

    Args:
        before, after: channels, thirds of which belong to R, G, B; `gates` such sets one after another.
        size: (height, width) of the kernel, odd.
        mask: `A` or `B`.
        gates: in how many sets the channels `after` come.
    """

    mask: Tensor

    def __init__(self, before: int, after: int, size: tuple[int, int], mask: Literal["A", "B"], gates: int = 1) -> None:
        super().__init__(before, after, size, padding=(size[0] // 2, size[1] // 2))
        written, read = colour_of(after // gates).repeat(gates)[:, None], colour_of(before)[None]
        row, column = size[0] // 2, size[1] // 2
        allowed = torch.zeros(after, before, *size)
        allowed[:, :, :row] = 1.0
        allowed[:, :, row, :column] = 1.0
        allowed[:, :, row, column] = (read < written if mask == "A" else read <= written).float()
        self.register_buffer("mask", allowed, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve N×before×H×W to N×after×H×W."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class ResidualBlock(nn.Module):
    """PixelCNN's block: ReLU 1×1 to half the channels, ReLU 3×3, ReLU 1×1 back, all under mask B, plus its input."""

    def __init__(self, width: int, condition_dim: int) -> None:
        super().__init__()
        self.reduce = MaskedConv2d(2 * width, width, (1, 1), "B")
        self.convolve = MaskedConv2d(width, width, (3, 3), "B")
        self.expand = MaskedConv2d(width, 2 * width, (1, 1), "B")
        self.condition = nn.Linear(condition_dim, width, bias=False) if condition_dim else None

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        """Return N×2·width×H×W of such a map and conditions N×condition_dim."""
        y = self.convolve(self.reduce(x.relu()).relu())
        if self.condition is not None:
            y = y + self.condition(h)[:, :, None, None]
        return x + self.expand(y.relu())


class RowLSTM(nn.Module):
    """PixelRNN's row LSTM, from the top row down, each pixel reading three states of the row above, plus its input.

    The input-to-state convolution, 1×3, is masked (B); the state-to-state one, of size 3 along the row, need not be, as
    all of the row above came before.
    """

    def __init__(self, width: int, condition_dim: int) -> None:
        super().__init__()
        self.input_to_state = MaskedConv2d(2 * width, 4 * width, (1, 3), "B", gates=4)
        self.state_to_state = nn.Conv1d(width, 4 * width, 3, padding=1, bias=False)
        self.expand = MaskedConv2d(width, 2 * width, (1, 1), "B")
        self.condition = nn.Linear(condition_dim, 4 * width, bias=False) if condition_dim else None

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        """Return N×2·width×H×W of such a map and conditions N×condition_dim."""
        gates = self.input_to_state(x)  # N×4w×H×W
        if self.condition is not None:
            gates = gates + self.condition(h)[:, :, None, None]
        hidden = cell = torch.zeros_like(gates[:, : gates.shape[1] // 4, 0])  # N×w×W
        rows = []
        for row in gates.unbind(2):
            o, f, i, g = (row + self.state_to_state(hidden)).chunk(4, dim=1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            rows.append(hidden)
        return x + self.expand(torch.stack(rows, dim=2))


class PixelNetwork(nn.Module):
    """Logits of every value given the earlier ones and, if there are any, conditions.

    A 7×7 convolution under mask A, `depth` layers of the kind `cnn` or `row_lstm` on 2·width channels, two of 1×1 with
    ReLUs before them, and 256 logits for each colour.

    Args:
        kind: of the layers.
        depth: how many.
        width: half of their channels, 3 or more.
        condition_dim: of the conditions, 0 for none.
    """

    def __init__(self, kind: Literal["cnn", "row_lstm"], depth: int, width: int, condition_dim: int = 0) -> None:
        super().__init__()
        layer = ResidualBlock if kind == "cnn" else RowLSTM
        self.first = MaskedConv2d(3, 2 * width, (7, 7), "A")
        self.layers = nn.ModuleList(layer(width, condition_dim) for _ in range(depth))
        self.mix = MaskedConv2d(2 * width, 2 * width, (1, 1), "B")
        self.logits = MaskedConv2d(2 * width, 3 * LEVELS, (1, 1), "B")

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Return logits N×256×3×H×W of values N×3×H×W in [−1, 1] and conditions N×condition_dim."""
        n, _, height, width = x.shape
        y = self.first(x)
        for layer in self.layers:
            y = layer(y, h)
        y = self.logits(self.mix(y.relu()).relu())
        return y.reshape(n, 3, LEVELS, height, width).transpose(1, 2)
