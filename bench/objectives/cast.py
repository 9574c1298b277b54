"""CAST: MoCo on crops that show salient regions, and a Grad-CAM of each match that should cover the same regions.

Claim:     better grounded features from scene images than MoCo's; the abstract has no single number for ResNet-50.
Paper:     Selvaraju et al., "CASTing Your Model: Learning to Localize Improves Self-Supervised Representations"
           (CVPR 2021), sections 3.2 and 3.3.
Equation:  loss = β/(α + β)·L_moco + α/(α + β)·(1 − cos(G, M)), α = 3, β = 1.
           L_moco = InfoNCE of the query q and its key k against a queue of past keys. Both crops cover at least
           min_cover of the salient region.
           G = Grad-CAM of the logit n(q)·n(k_masked)/τ: Σ_c w_c·C5_c, w the mean over positions of that logit's
           gradient to C5 of the query, brought to [0, 1] for each image by its least and largest value; k_masked is the
           key of an image whose pixels outside the salient region are 0. M is the salient region of the query at C5's
           resolution. Both are flattened over the whole batch, as in the reference, unless `per_image` says so.
           After each optimizer step the key networks move: θ′ ← m·θ′ + (1 − m)·θ, m constant.
           Paper and code differ in G. In the paper negative values are 0 before it is brought to [0, 1]:
           `cam="positive"`. In the code (grad_cam.py:62-74) the scaling happens in place, before the ReLU, which then
           finds nothing below 0: `cam="signed"`, the default.
           Head, τ and views are those of its README's command: MoCo v1's, with colour jitter half of the time.
Reference: salesforce/CAST, main_cast.py, grad_cam.py and moco/datasets.py.
Departs from it: saliency is Achanta's, computed here, in the place of DeepUSPS's maps; crops are drawn uniformly (there
           around the salient region's centre, by a Gaussian as wide as the image), and where none of ten covers enough,
           the best is taken (there: one around the whole region). An image with nothing salient stays (there: another
           one takes its place). Colour jitter is torchvision's (there: one of its own on OpenCV's hue and saturation,
           which adds 153 to 357 of 255 to the saturation and up to 102 of 180 to the hue). The query goes through the
           network once (there: twice, so that its running statistics move twice). The batch of the cosine is that of
           all ranks (there: of a process); norms are over groups as in `moco`, and keys shuffled as there
           (moco/builder.py:140). M is an average over cells (there: bilinear). The key networks move once a step, after
           it (there: before each of two forwards). It has no small crops: each crop has to cover a share of what is
           salient, which a small one rarely can.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config.setting_types import Count, Positive, Share, Weight
from bench.data.maps import SALIENT
from bench.data.views import MOCO_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.contrastive import info_nce
from bench.nn.collectives import sum_over_ranks
from bench.nn.encoder import Encoder, check_positions
from bench.nn.shuffle import shuffled
from bench.objectives.momentum_contrast import MomentumContrast


class CAST(MomentumContrast):
    """CAST: MoCo on crops guided by saliency maps, which also supervise the Grad-CAM of its match."""

    view_backends: ClassVar[tuple[str, ...]] = ("reference", "fast")
    definition: ClassVar[int] = 2  # the signed Grad-CAM of its code; head, τ and views of its command

    def __init__(
        self,
        encoder: Encoder,
        *,
        alpha: Weight = 3.0,
        beta: Weight = 1.0,
        min_cover: Share = 0.2,
        per_image: bool = False,
        cam: Literal["signed", "positive"] = "signed",
        mlp: bool = False,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
        queue_size: Count = 65536,
        temperature: Positive = 0.07,
        momentum: Share = 0.999,
    ) -> None:
        dims = (hidden_dim, projection_dim) if mlp else (projection_dim,)
        super().__init__(encoder, dims, queue_size, temperature, momentum)
        if alpha + beta == 0:
            raise BadInput("objective.alpha and objective.beta are both 0; set one of them above 0.")
        self.map = "saliency"
        self.alpha, self.beta, self.min_cover = alpha, beta, min_cover
        self.per_image, self.cam = per_image, cam

    def views(self, size: int) -> tuple[View, ...]:
        """The query's and the key's view, each covering a share of the salient region."""
        view = replace(MOCO_VIEWS(size)[0], jitter_p=0.5, salient=self.min_cover)
        return view, view

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch that the queue is no multiple of, and views whose map is a single position."""
        super().check(batch_size, view_size)
        check_positions(self.encoder, view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_contrast and loss_attention before their weights."""
        assert batch.masks is not None
        (v_q, v_k), (m_q, m_k) = batch.views, ((mask >= SALIENT)[:, None] for mask in batch.masks)  # N×3×H×W, N×1×H×W
        c5 = self.encoder.last_map(v_q)  # N×C×h×w
        with torch.no_grad():
            k, k_masked = (
                self.key_projector(shuffled(self.key_encoder, v)) for v in (v_k, v_k * m_k)
            )  # N×D; each in an order of its own, as there
        # In full precision, since its gradient is differentiated, and layer by layer, since a compiled network has no
        # second derivative.
        with torch.autocast(v_q.device.type, enabled=False):
            f = self.encoder.pool(c5)
            f = q = f if f.dtype == torch.float64 else f.float()  # N×C
            for layer in self.projector:
                q = layer(q)  # at last N×D
            cam = grad_cam(c5, f, q, k_masked.to(q.dtype), self.temperature, self.cam == "signed")  # N×h×w
        loss_contrast = info_nce(q, k, self.queue.keys.clone(), self.temperature)
        self.queue.push(F.normalize(k.to(q.dtype), dim=1))  # and never the masked keys
        target = F.adaptive_avg_pool2d(m_q.to(cam.dtype), (cam.shape[1], cam.shape[2])).squeeze(1)  # N×h×w
        loss_attention = 1.0 - self._cosine(cam.flatten(1), target.flatten(1))
        loss = (self.beta * loss_contrast + self.alpha * loss_attention) / (self.alpha + self.beta)
        return {
            "loss": loss,
            "loss_contrast": loss_contrast.detach(),
            "loss_attention": loss_attention.detach(),
        }

    def _cosine(self, cam: Tensor, target: Tensor) -> Tensor:
        """The cosine of attention and target, N×S each, over the whole batch of all ranks or as a mean over images."""
        products = torch.stack([(cam * target).sum(1), cam.square().sum(1), target.square().sum(1)])  # 3×N
        if not self.per_image:
            products = sum_over_ranks(products.sum(1, keepdim=True))  # 3×1
        inner, one, other = products
        return (inner / (one * other).clamp(min=1e-12).sqrt()).mean()


def grad_cam(c5: Tensor, f: Tensor, q: Tensor, k: Tensor, temperature: float, signed: bool) -> Tensor:
    """Return where the logit n(q)·n(k)/τ comes from, in [0, 1] for each image, with a graph for its own gradient.

    C5 reaches the logit through its mean f alone, so that the gradient to C5 is at each of S positions that to f, by S.

    Args:
        c5: N×C×h×w.
        f: its mean over positions, N×C, part of the graph.
        q: queries N×D, a function of f, image by image.
        k: keys N×D.
        temperature: τ.
        signed: whether what speaks against the match counts as less than nothing; if not, it is 0 (Grad-CAM's ReLU).

    Source: Selvaraju et al., "Grad-CAM" (ICCV 2017), eq. 1 and 2.
    """
    logits = (F.normalize(q, dim=1) * F.normalize(k.detach(), dim=1)).sum(1) / temperature  # N
    (to_f,) = torch.autograd.grad(logits.sum(), f, create_graph=True)  # N×C
    weights = to_f / c5[0, 0].numel()  # N×C, the mean over positions of the gradient to C5
    cam = torch.einsum("nc,nchw->nhw", weights, c5.to(weights.dtype))
    # The code scales what is signed a second time, which brings the largest value of a very weak map to 1, too.
    return _scaled(_scaled(cam)) if signed else _scaled(cam.relu())


def _scaled(cam: Tensor) -> Tensor:
    """Maps N×h×w with 0 as the least and (nearly) 1 as the largest value of each."""
    cam = cam - cam.amin((1, 2), keepdim=True)
    return cam / (cam.amax((1, 2), keepdim=True) + 1e-7)
