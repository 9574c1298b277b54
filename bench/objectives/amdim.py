"""AMDIM: the summary of one view against the locations of another, at several scales.

Claim:     68.1 % ImageNet linear top-1 with its own wide network (ndf 320, rkhs 2560) and Fast AutoAugment; none with
           ResNet-50.
Paper:     Bachman, Hjelm and Buchwalter, "Learning Representations by Maximizing Mutual Information Across Views"
           (NeurIPS 2019), section 3.
Equation:  loss = L(1→5) + L(1→7) + L(5→5), each a mean of both directions between the views and over images i and
           locations l of −log [e^{s_iil}/(e^{s_iil} + Σ_{j≠i,m} e^{s_ijm})], s = c·tanh(r/c), r = φ(x)ᵀφ(y)/√D, c = 20;
           plus 0.05·mean r² of each. The source of 5→5 is one location of each image, drawn at random.
Reference: Philip-Bachman/amdim-public: costs.py; model.py:379-414 (embeddings); datasets.py:162-196 (ImageNet's views).
Departs from it: the trunk is a ResNet-50, so that it converts as any other: 1 is its pooled feature, 5 the locations of
           C5, 7 those of C4 (there: a network without padding, maps of 5×5 and 7×7; here 4×4 and 8×8 at 128 pixels, and
           padding lets a location see beyond its patch). Its trunk has no norms before the last layer; a ResNet has. 1
           has an embedding, too (there: the trunk's last block). The embeddings' shortcuts have no bias, which the norm
           after them would take away (there: one that has no effect). Norms are over the whole batch (there: of each of
           4 GPUs). No classifier is trained alongside. It has no small crops: its losses are between maps of fixed
           sizes, which a small crop has not.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.config.setting_types import Count, Positive
from bench.data.views import Batch, View
from bench.errors import BadInput
from bench.losses.float32 import at_least_float32
from bench.losses.pairwise import same_image
from bench.nn import draws
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.heads import per_position
from bench.nn.seeding import seeded
from bench.objectives.base import Objective

PENALTY = 0.05  # of the mean squared score


@at_least_float32
def location_scores(source: Tensor, target: Tensor) -> Tensor:
    """Return the scores r_srcᵀ·r_trg/√D: n×D, N×L×D -> n×N×L."""
    return torch.einsum("nd,mld->nml", source, target) / math.sqrt(source.shape[1])


@at_least_float32
def location_nce(scores: Tensor, clip: float, first: int = 0) -> Tensor:
    """Return the mean over images i and locations l of −log [e^{s_iil} / (e^{s_iil} + Σ_{j≠i,m} e^{s_ijm})].

    s = c·tanh(score/c). Other locations of the same image are neither positives of the term nor negatives.

    Args:
        scores: n×N×L, this rank's images against the locations of all ranks' images.
        clip: c.
        first: the image of the N that is the first of the n.
    """
    s = clip * torch.tanh(scores / clip)
    same = same_image(s, s[0], first)  # n×N
    positive = s[same]  # n×L
    negatives = s.masked_fill(same[..., None], -math.inf).flatten(1).logsumexp(1, keepdim=True)  # n×1
    return F.softplus(negatives - positive).mean()


class ResidualHead(nn.Module):
    """N×in_dim -> N×out_dim: BN(W₂·ReLU(W₁x) + Wₛx), a hidden layer beside a linear one, no other norm.

    W₂ starts at 0, so that at first the embedding is linear; Wₛ starts as the identity, with noise of ±0.01 elsewhere,
    if out_dim ≥ in_dim.

    Source: Bachman et al. 2019, the reference implementation's embedding into its RKHS (model.py, FakeRKHSConvNet).
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_dim, out_dim, bias=False)
        self.out = nn.Linear(out_dim, out_dim, bias=False)
        self.straight = nn.Linear(in_dim, out_dim, bias=False)
        self.out_norm = nn.BatchNorm1d(out_dim)
        nn.init.zeros_(self.out.weight)
        if out_dim >= in_dim:
            nn.init.uniform_(self.straight.weight, -0.01, 0.01)
            with torch.no_grad():
                self.straight.weight.fill_diagonal_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings of features N×in_dim."""
        return self.out_norm(self.out(F.relu(self.hidden(x))) + self.straight(x))


class AMDIM(Objective):
    """AMDIM on ResNet-50: the pooled feature and positions of C5 against positions of C5 and C4 of the other view."""

    needs_several_for = "negatives, which are other images"
    definition: ClassVar[int] = 2  # the authors' colours and common flip; embeddings that start linear

    def __init__(self, encoder: Encoder, *, rkhs_dim: Count = 2560, clip: Positive = 20.0) -> None:
        super().__init__(encoder)
        self.clip = clip
        c4 = [m for m in encoder.layer3[-1].children() if isinstance(m, _BatchNorm)][-1].num_features
        with seeded(encoder.seed, "amdim heads"):
            self.head1 = ResidualHead(encoder.feature_dim, rkhs_dim)
            self.head5 = ResidualHead(encoder.feature_dim, rkhs_dim)
            self.head7 = ResidualHead(c4, rkhs_dim)

    def views(self, size: int) -> tuple[View, ...]:
        """Two views, from three tenths of the area on, with jitter and grey but no blur; both are flipped or neither.

        Those of ImageNet; for CIFAR and STL-10 the reference has a hue of 0.2.
        """
        view = View(size=size, scale=(0.3, 1.0), ratio=(0.7, 1.4), jitter=(0.4, 0.4, 0.4, 0.1), grey=0.25, blur=0.0)
        return view, replace(view, flip_as_first=True)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a single image, which has no negatives, and views whose C5 is a single location."""
        super().check(batch_size, view_size)
        if view_size <= (stride := self.encoder.stride):
            raise BadInput(
                f"AMDIM needs locations of C5, but view_size is {view_size}; set view_size to {2 * stride} or more."
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_1to5, loss_1to7, loss_5to5 (without the penalty), penalty."""
        r1, r5, r7 = zip(*(self._embed(v) for v in batch.views), strict=True)  # of both views: N×D, N×L5×D, N×L7×D
        n = len(r1[0])
        # One location of each image, drawn at random, is the source of 5→5.
        places = [draws.integers(n, high=r5[0].shape[1], device=r5[0].device) for _ in r5]
        s5 = [r[torch.arange(n, device=r.device), at] for r, at in zip(r5, places, strict=True)]  # N×D
        all5, all7 = [gather(r) for r in r5], [gather(r) for r in r7]  # N_all×L×D
        terms, penalties = {}, []
        for name, sources, targets in (("1to5", r1, all5), ("1to7", r1, all7), ("5to5", s5, all5)):
            raw = [location_scores(sources[a], targets[b]) for a, b in permutations((0, 1))]  # n×N_all×L
            terms[name] = torch.stack([location_nce(r, self.clip, rank() * n) for r in raw]).mean()
            penalties.append(PENALTY * torch.stack([r.square().mean() for r in raw]).mean())
        penalty = torch.stack(penalties).sum()
        loss = torch.stack(list(terms.values())).sum() + penalty
        return {"loss": loss, "penalty": penalty.detach()} | {f"loss_{k}": term.detach() for k, term in terms.items()}

    def _embed(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return φ of a view's pooled feature, of C5's and of C4's locations: N×D, N×L5×D, N×L7×D."""
        *_, c4, c5 = self.encoder.maps(v)
        r5, r7 = per_position(self.head5, c5), per_position(self.head7, c4)
        return self.head1(self.encoder.pool(c5)), r5.flatten(1, 2), r7.flatten(1, 2)
