"""Noise-contrastive estimation against a memory bank: is this row the image, or one that was drawn at random?

Source: Gutmann and Hyvärinen, "Noise-contrastive estimation" (2010); Wu et al., "Unsupervised Feature Learning via
Non-Parametric Instance Discrimination" (CVPR 2018), eq. 4 to 8, with a normalising constant Z that is fixed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.contrastive import first_column_nce
from bench.losses.float32 import at_least_float32
from bench.nn.memory_bank import BankLoss, LogConstant


@at_least_float32
def nce(logits: Tensor, log_z: Tensor, images: int) -> Tensor:
    """Return the mean over rows of −log h(positive) − Σ over negatives of log(1 − h).

    h = P/(P + K·Pₙ) is the chance that a row comes from the data, not from noise, with P = exp(logit)/Z, Pₙ = 1/images.

    Args:
        logits: n×(1+K) scores divided by the temperature, the positive's first.
        log_z: log Z, a scalar; a constant.
        images: rows of the bank, M.

    Its value is no cross-entropy over K + 1 candidates: it is not comparable with InfoNCE's. Computed from logarithms,
    so that nothing under- or overflows.
    """
    noise = math.log((logits.shape[1] - 1) / images)  # log K·Pₙ
    odds = logits - log_z - noise  # log P/(K·Pₙ); h is its sigmoid
    return -(F.logsigmoid(odds[:, 0]) + F.logsigmoid(-odds[:, 1:]).sum(1)).mean()


def bank_loss(
    queries: Sequence[Tensor], rows: Tensor, temperature: float, kind: BankLoss, images: int, log_constant: LogConstant
) -> Tensor:
    """Return the loss of recognising an image's vector among its candidates, a mean over queries, a scalar.

    Args:
        queries: embeddings of the same n images, n×D each; the constant Z is estimated from the first.
        rows: candidates n×(1+K)×D, unit vectors, the image's first.
        temperature: τ.
        kind: `nce`, or `softmax`: −log softmax over the 1 + K rows.
        images: rows of the bank, M.
        log_constant: keeps log Z.
    """
    logits = [scores(z, rows, temperature) for z in queries]  # n×(1+K) each
    if kind == "softmax":
        return torch.stack([first_column_nce(each) for each in logits]).mean()
    log_z = log_constant(estimated_log_z(logits[0], images))
    return torch.stack([nce(each, log_z, images) for each in logits]).mean()


@at_least_float32
def scores(z: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Return n(z)·row/τ of each row and its candidates: z n×D, rows n×C×D of unit vectors -> n×C."""
    return torch.einsum("nd,ncd->nc", F.normalize(z, dim=1), rows) / temperature


@at_least_float32
def estimated_log_z(logits: Tensor, images: int) -> Tensor:
    """Return log Z of logits n×C, estimated as M times the mean of exp(logit), without gradient. M = images."""
    flat = logits.detach().flatten()
    return torch.logsumexp(flat, dim=0) - math.log(len(flat)) + math.log(images)
