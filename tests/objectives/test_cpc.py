from __future__ import annotations

import pytest
import torch
from cases import images_batch
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.objectives import build

SMALL = {
    "name": "cpc",
    "patch_size": 32,
    "last_offset": 3,
    "target_dim": 6,
    "context_dim": 5,
    "context_blocks": 2,
    "drop_colours": False,
}
VIEW, SIDE = 96, 5


def objective(**more):
    return build({**SMALL, **more}, NarrowEncoder()).double()


def turned(r, c, turn):
    """Where the position (r, c) of a grid turned that often by 90° lies in the grid itself."""
    for _ in range(turn):
        r, c = c, SIDE - 1 - r
    return r, c


@pytest.mark.parametrize("directions", [1, 4])
def test_the_loss_and_its_gradient_are_the_papers_over_every_pair_of_positions(directions):
    ours, theirs = objective(directions=directions), objective(directions=directions)
    batch = images_batch(2, (VIEW,))
    loss_of_ours = ours(batch)["loss"]
    loss_of_ours.backward()
    f = {}
    for r in range(SIDE):
        for c in range(SIDE):
            patch = batch.views[0][:, :, 16 * r : 16 * r + 32, 16 * c : 16 * c + 32]
            f[r, c] = theirs.encoder(patch)  # by position: normalised over images
    z = {(i, r, c): theirs.target(f[r, c][i]) for i in range(2) for r, c in f}
    everything = torch.stack(list(z.values()))
    terms = []
    for turn in range(directions):
        grid = torch.stack([torch.stack([f[turned(r, c, turn)] for c in range(SIDE)]) for r in range(SIDE)])
        context = theirs.contexts[turn](grid.permute(2, 3, 0, 1))  # N×F×5×5
        for number, k in enumerate((2, 3)):
            terms_of_offset = []
            for i in range(2):
                for r in range(SIDE - k):
                    for c in range(SIDE):
                        prediction = 0.1 * theirs.w[turn][number].weight @ context[i, :, r, c]
                        scores = everything @ prediction
                        positive = (z[(i, *turned(r + k, c, turn))] * prediction).sum()
                        terms_of_offset.append(torch.log(scores.exp().sum()) - positive)
            terms.append(torch.stack(terms_of_offset).mean())
    loss = torch.stack(terms).mean()
    loss.backward()
    torch.testing.assert_close(loss_of_ours, loss, rtol=1e-10, atol=0)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-9)


def test_a_patch_does_not_reach_the_features_of_other_positions():
    """Batch norm over all patches would carry the answer from one position to another."""
    model, batch = objective(), images_batch(3, (VIEW,))
    grid = model.grid(VIEW)
    v = batch.views[0]
    before = model._features(v, grid)
    changed = v.clone()
    changed[0, :, 64:, 64:] += 1.0  # the last patch; it overlaps its neighbours by half
    moved = (model._features(changed, grid) != before).any(2).view(3, SIDE, SIDE)
    assert moved[:, 3:, 3:].all()
    assert not moved[:, :3].any()
    assert not moved[:, :, :3].any()


def test_no_context_sees_a_pixel_of_the_patches_that_it_predicts():
    """From the pixels on: rows 0 … r of the first direction end where the patches of row r end."""
    model, batch = objective(), images_batch(3, (VIEW,))
    v = batch.views[0].requires_grad_()
    f = model._features(v, model.grid(VIEW)).view(3, SIDE, SIDE, -1)
    c = model.contexts[0](f.movedim(-1, 1))  # N×F×5×5
    for row in range(SIDE - 2):
        (gradient,) = torch.autograd.grad(c[0, :, row].square().sum(), v, retain_graph=True)
        end = 16 * row + 32
        assert gradient[0, :, :end].any()
        assert not gradient[:, :, end:].any(), "of any image, as norms run over images"


def test_every_offset_and_direction_has_a_map_of_its_own():
    model = objective(directions=3)
    weights = [w.weight for maps in model.w for w in maps]
    assert len({id(w) for w in weights}) == 6
    assert len({w.sum().item() for w in weights}) == 6


def test_patches_overlap_by_half_and_the_rows_predicted_share_no_pixel_with_the_context():
    model = build({"name": "cpc"}, NarrowEncoder())
    grid = model.grid(256)
    assert (grid.side, grid.size, grid.gap, grid.extent) == (7, 64, -32, 256)
    assert model.offsets[0] * 32 >= 64
    assert list(model.offsets) == [2, 3, 4, 5]


def test_all_but_one_colour_of_a_patch_are_dropped_unless_set_otherwise():
    batch = images_batch(3, (VIEW,))
    for drop, colours in ((True, 1), (False, 3)):
        model, seen = objective(drop_colours=drop), []
        model.encoder.conv1.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(inputs[0]))
        model(batch)
        patches = torch.stack(seen[:-1])  # 25×3×3×32×32: the last are whole images
        assert patches.shape == (25, 3, 3, 32, 32)
        spread = patches.flatten(3).std(3)  # of each colour of each patch: noise of 1, and of 0.01 where it is dropped
        assert ((spread > 0.1).sum(2) == colours).all()
        assert not drop or len(set(spread.argmax(2).flatten().tolist())) == 3  # not always the same one
    assert build({"name": "cpc"}, NarrowEncoder()).drop_colours
    assert build({"name": "cpc"}, NarrowEncoder()).prediction_scale == 0.1


def test_running_statistics_are_those_of_whole_images():
    batch, plain, model = images_batch(3, (VIEW,)), NarrowEncoder().double(), objective()
    plain(batch.views[0])
    model(batch)
    for name, buffer in plain.named_buffers():
        if "running" in name:
            torch.testing.assert_close(model.encoder.get_buffer(name), buffer, msg=name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first_offset": 4}, r"objective\.first_offset is 4 and objective\.last_offset 3; set the last"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        objective(**settings)


def test_too_few_rows_are_refused():
    with pytest.raises(BadInput, match="has 3 rows of patches, too few to predict 3 rows down; set view_size to 80"):
        objective().check(4, 64)
    objective().check(4, 80)
