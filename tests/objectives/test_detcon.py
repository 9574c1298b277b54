from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cases import apart
from lightly.loss import DetConBLoss

from bench.config.load import load_recipe
from bench.data.views import LOCAL_CROPS, SIMCLR_VIEWS, View
from bench.errors import BadInput
from bench.objectives.detcon import regions_at, sample_regions


@pytest.fixture
def data(batch):
    made = batch(64, 64)
    generator = torch.Generator().manual_seed(4)
    blocks = torch.randint(4, (2, 4, 4, 4), generator=generator, dtype=torch.uint8)
    return replace(made, masks=[b.repeat_interleave(16, 1).repeat_interleave(16, 2) for b in blocks])


def test_the_loss_is_lightlys_on_mask_pooled_vectors(make, data):
    objective = make("detcon", regions=3)
    apart(objective)
    reference = make("detcon", regions=3)
    apart(reference)
    torch.manual_seed(0)
    u1, u2 = torch.rand(4, 3), torch.rand(4, 3)
    ids, predictions, targets = [], [], []
    for view, mask, u in zip(data.views, data.masks, (u1, u2), strict=True):
        at = torch.stack([mask[:, r * 32 : r * 32 + 32, c * 32 : c * 32 + 32].flatten(1).mode(1).values for r in (0, 1)
                          for c in (0, 1)], 1)  # fmt: skip
        sampled = torch.zeros(4, 3, dtype=torch.int64)
        for i in range(4):
            seen = list(dict.fromkeys(at[i].tolist()))
            # The regions in the order of their positions: one draw falls to each with the same probability.
            shares = torch.tensor([1 / at[i].tolist().count(a) for a in at[i].tolist()], dtype=torch.float64).cumsum(0)
            for r in range(3):
                sampled[i, r] = at[i, int((shares <= u[i, r] * len(seen)).sum())]
        ids.append(sampled)
        for network, head, results in (
            (reference.encoder, reference.projector, predictions),
            (reference.target_encoder, reference.target_projector, targets),
        ):
            maps = network.last_map(view).flatten(2)
            pooled = torch.stack([maps[i][:, at[i] == sampled[i, r]].mean(1) for i in range(4) for r in range(3)])
            results.append(head(pooled).view(4, 3, -1))
    p = [reference.predictor(z.flatten(0, 1)).view_as(z) for z in predictions]
    expected = DetConBLoss(0.1)(*p, *(t.detach() for t in targets), *ids)
    torch.manual_seed(0)
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for (name, ours), theirs in zip(objective.named_parameters(), reference.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None) == name.startswith("target_"), name
        if ours.grad is not None:
            # lightly's weights are float32.
            assert (ours.grad - theirs.grad).norm() < 1e-6 * theirs.grad.norm() + 1e-9, name


def test_a_position_belongs_to_the_region_of_most_of_its_pixels():
    mask = torch.zeros(1, 4, 6, dtype=torch.uint8)
    mask[0, :2, :2] = 7  # 4 of 6 pixels of the first cell
    mask[0, 0, 3] = 9  # 1 of 6 of the second
    mask[0, 2:, 3:] = 200
    assert regions_at(mask, 2, 2).tolist() == [[7, 0, 0, 200]]


def test_each_region_that_is_seen_is_as_likely_whatever_its_size():
    at = torch.tensor([[5, 5, 5, 5, 5, 5, 2, 5, 8]])
    uniform = (torch.arange(3000, dtype=torch.float64)[None] + 0.5) / 3000
    sampled_regions = sample_regions(at, uniform)
    assert sorted(sampled_regions[0].tolist()) == [2] * 1000 + [5] * 1000 + [8] * 1000
    ends = torch.tensor([[0.0, 1.0 - 1e-16]], dtype=torch.float64)
    assert set(sample_regions(at, ends)[0].tolist()) <= {2, 5, 8}


def test_features_beyond_a_region_do_not_reach_it(make, data):
    """Mask pooling: a region's vector is the mean of its own positions."""
    objective = make("detcon", regions=3)
    c5 = torch.randn(4, 24, 2, 2, dtype=torch.float64)
    ids, weights = objective._sample(data.masks[0], c5)
    at = regions_at(data.masks[0], 2, 2)
    torch.testing.assert_close(weights.sum(2), torch.ones(4, 3, dtype=torch.float64))
    assert not weights[(ids[:, :, None] != at[:, None, :])].any()


def test_variant_s_has_no_target_and_no_predictor(make):
    names = {name.partition(".")[0] for name, _ in make("detcon", variant="s").named_parameters()}
    assert names == {"encoder", "projector"}


def test_views_maps_and_defaults(make):
    objective = make("detcon", hidden_dim=4096, projection_dim=256)
    # utils/augmentations.py:30-69: BYOL's, written out.
    colours = {"scale": (0.08, 1.0), "jitter": (0.4, 0.4, 0.2, 0.1), "jitter_p": 0.8, "grey": 0.2, "flip": 0.5}
    assert objective.views(224) == (
        View(224, blur=1.0, solarize=0.0, **colours),
        View(224, blur=0.1, solarize=0.2, **colours),
    )
    assert make("detcon", variant="s").views(224) == SIMCLR_VIEWS(224)
    crops = LOCAL_CROPS(View(224, blur=0.5, **colours), 3, 96, (0.05, 0.14))
    assert make("detcon", crops=3).views(224)[2:] == crops
    assert (objective.regions, objective.temperature, objective.tau0, objective.variant) == (16, 0.1, 0.996, "b")
    assert objective.map == "segments"
    assert make("detcon", masks="objects").map == "objects"
    assert make("byol").map is None


def test_the_recipe_is_the_codes():
    """detcon_b_config.py:31, 62-69 and 73-76."""
    recipe = load_recipe("imagenet_detcon")
    assert (recipe.epochs, recipe.schedule.warmup_epochs) == (300, 300 // 100)
    assert (recipe.optimizer.lr, recipe.optimizer.lr_batch, recipe.batch_size) == (0.2, 256, 4096)
    assert (recipe.optimizer.weight_decay, recipe.objective["tau0"]) == (1.5e-6, 0.996)


@pytest.mark.slow
def test_guards(make):
    with pytest.raises(BadInput, match="view_size 32 leaves a map of one position; set view_size"):
        make("detcon").check(4, 32)
    with pytest.raises(BadInput, match=r"Unknown objective.masks 'object'; did you mean objects"):
        make("detcon", masks="object")
    with pytest.raises(BadInput, match=r"Unknown objective.variant 'x'; known: b, s"):
        make("detcon", variant="x")
