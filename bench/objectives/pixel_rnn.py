"""PixelRNN: pixel values predicted one after another by an LSTM over rows, given the trunk's feature.

Claim:     none for ResNet-50; about 3.00 bits per dimension on CIFAR-10, with the diagonal BiLSTM (from memory).
Paper:     van den Oord et al., "Pixel Recurrent Neural Networks" (ICML 2016), eq. 1 and 2, section 3. With a condition:
           van den Oord et al., "Conditional Image Generation with PixelCNN Decoders" (NeurIPS 2016), eq. 3.
Equation:  as in `pixel_cnn`.
Reference: none.
Departs from it: as in `pixel_cnn`, but h is added to the gates of each layer as a bias. Of the paper's recurrent layers
           this is the row LSTM, not the diagonal BiLSTM.
"""

from __future__ import annotations

from typing import Any

from bench.config.setting_types import Count
from bench.nn.encoder import Encoder
from bench.objectives.pixel_cnn import PixelCNN


class PixelRNN(PixelCNN):
    """PixelRNN: pixel values predicted one after another by an LSTM over rows, given the trunk's feature."""

    layers = "row_lstm"

    def __init__(self, encoder: Encoder, *, depth: Count = 12, **settings: Any) -> None:
        super().__init__(encoder, depth=depth, **settings)
