"""SimCLR, its losses and its projectors."""

from __future__ import annotations

from cases import Case

HEADS = {"hidden_dim": 12, "projection_dim": 6}
SHIFT = ("projector.4.bias",)  # of the last norm: stays 0
CROPS = frozenset({"loss", "loss_global", "loss_crops"})

CASES = {
    "simclr": Case({"name": "simclr", **HEADS}, (32, 32), frozen=SHIFT, symmetric=True),
    "simclr crops": Case(
        {"name": "simclr", "crops": 2, "crop_size": 32, **HEADS}, (64, 64, 32, 32), CROPS, frozen=SHIFT, symmetric=True
    ),
    "simclr dclw crops": Case(
        {"name": "simclr", "loss": "dclw", "crops": 2, "crop_size": 32, **HEADS},
        (64, 64, 32, 32),
        CROPS,
        frozen=SHIFT,
        symmetric=True,
        lowers=False,  # its weights take no gradient: a step changes them, too
    ),
    **{
        f"simclr {loss}": Case({"name": "simclr", "loss": loss, **HEADS}, (32, 32), frozen=SHIFT, symmetric=True)
        for loss in ("dcl", "simple", "hard", "align_uniform", "cross_view")
    },
    "simclr linear": Case({"name": "simclr", "projector": "linear", **HEADS}, (32, 32), symmetric=True),
    "simclr diagonal": Case({"name": "simclr", "projector": "diagonal"}, (32, 32), symmetric=True),
    "simclr low_rank": Case({"name": "simclr", "projector": "low_rank", "projector_rank": 8}, (32, 32), symmetric=True),
    "simclr none": Case({"name": "simclr", "projector": "none"}, (32, 32), symmetric=True),
    **{
        name: Case({"name": name, **HEADS}, (32, 32), frozen=SHIFT, symmetric=True)
        for name in ("dcl", "simple_contrastive", "hard_contrastive")
    },
    **{
        f"{name} crops": Case(
            {"name": name, "crops": 2, "crop_size": 32, **HEADS},
            (64, 64, 32, 32),
            CROPS,
            frozen=SHIFT,
            symmetric=True,
            lowers=name != "dclw",
        )
        for name in ("dcl", "dclw", "simple_contrastive", "hard_contrastive")
    },
    # The weights take no gradient, but a step changes them, too.
    "dclw": Case({"name": "dclw", **HEADS}, (32, 32), frozen=SHIFT, symmetric=True, lowers=False),
    "align_uniform": Case(
        {"name": "align_uniform", **HEADS},
        (32, 32),
        frozenset({"loss", "alignment", "uniformity"}),
        frozen=SHIFT,
        symmetric=True,
    ),
    "align_uniform crops": Case(
        {"name": "align_uniform", "crops": 2, "crop_size": 32, **HEADS},
        (64, 64, 32, 32),
        frozenset({"loss", "alignment", "uniformity"}),
        frozen=SHIFT,
        symmetric=True,
    ),
    "direct_clr crops": Case(
        {"name": "direct_clr", "d0": 10, "crops": 2, "crop_size": 32}, (64, 64, 32, 32), CROPS, symmetric=True
    ),
    # bf16: the temperature multiplies what rounding does to a cosine.
    "direct_clr": Case({"name": "direct_clr", "d0": 10}, (32, 32), symmetric=True, bf16=0.1),
    **{
        f"direct_clr {projector}": Case(
            {"name": "direct_clr", "projector": projector, **HEADS}, (32, 32), symmetric=True, bf16=0.1
        )
        for projector in ("none", "linear", "mlp")
    },
    "simclr sum": Case({"name": "simclr", "reduction": "sum", **HEADS}, (32, 32), frozen=SHIFT, symmetric=True),
}
