from __future__ import annotations

import math

import pytest
import torch
from cases import images_batch
from narrow import NarrowEncoder

from bench.data.views import View
from bench.errors import BadInput
from bench.nn.patches import Grid, evened, sometimes_reduced, with_one_colour
from bench.objectives import build

SMALL = {"name": "relative_patch", "patch_size": 32, "gap": 8, "jitter": 3, "hidden_dim": 12}
PLAIN = {"downsample": 0.0, "drop_colours": False, "standardise": False}
VIEW = 118


def objective(**more):
    return build({**SMALL, **more}, NarrowEncoder()).double()


@pytest.mark.parametrize("image_statistics", [True, False])
def test_the_loss_and_its_gradient_are_those_of_eight_classified_pairs_for_each_image(image_statistics):
    ours, theirs = (objective(**PLAIN, image_statistics=image_statistics) for _ in range(2))
    batch = images_batch(3, (VIEW,))
    torch.manual_seed(1)
    loss_of_ours = ours(batch)["loss"]
    loss_of_ours.backward()
    torch.manual_seed(1)
    patches = Grid(3, 32, 8, 3).cut(batch.views[0])
    features = theirs.encoder(torch.stack([patches[i, j] for i in range(3) for j in range(9)]))
    pairs, labels = [], []
    for i in range(3):
        label = 0
        for row in (-1, 0, 1):
            for column in (-1, 0, 1):
                if (row, column) != (0, 0):
                    neighbour = 9 * i + 3 * (row + 1) + column + 1
                    pairs.append(torch.cat([features[9 * i + 4], features[neighbour]]))
                    labels.append(label)
                    label += 1
    scores = theirs.classifier(torch.stack(pairs))
    loss = sum(torch.log(row.exp().sum()) - row[label] for row, label in zip(scores, labels, strict=True)) / 24
    loss.backward()
    torch.testing.assert_close(loss_of_ours, loss, rtol=1e-10, atol=0)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-7, atol=1e-10)


def test_the_papers_geometry_and_dropped_colours_are_the_defaults():
    model = build({"name": "relative_patch"}, NarrowEncoder())
    assert (model.grid, model.drop_colours) == (Grid(3, 96, 48, 7), True)
    assert (model.downsample, model.standardise, model.grey, model.dropout) == (0.33, True, 0.0, 0.0)
    assert model.classifier[0].out_features == 4096


def seen_by(model, batch):
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    torch.manual_seed(2)
    model(batch)
    return seen[0].unflatten(0, (9, len(batch))).transpose(0, 1)


def test_patches_lose_pixels_then_colours_then_mean_and_contrast():
    batch = images_batch(2, (VIEW,))
    model = objective()
    returned = seen_by(model, batch)
    torch.manual_seed(2)
    cut = Grid(3, 32, 8, 3).cut(batch.views[0])
    expected = evened(with_one_colour(sometimes_reduced(cut, model.reductions, 0.33)))
    assert torch.equal(returned, expected)
    assert (returned.mean((3, 4)).abs().max(), returned.square().mean()) == (
        pytest.approx(0, abs=1e-12),
        pytest.approx(1),
    )


def test_without_defences_patches_are_the_images_own_pixels():
    batch = images_batch(2, (VIEW,))
    returned = seen_by(objective(**PLAIN), batch)
    torch.manual_seed(2)
    assert torch.equal(returned, Grid(3, 32, 8, 3).cut(batch.views[0]))


def test_dropout_is_before_the_last_layer_in_training_alone():
    model, batch, last = objective(**PLAIN, dropout=0.3), images_batch(8, (VIEW,)), []
    model.classifier[-1].register_forward_pre_hook(lambda _, inputs: last.append(inputs[0]))
    model.classifier[-2].register_forward_hook(lambda *event: last.append(event[2]))
    model(batch)
    before, after = (one.unflatten(0, (8, 8)) if one.dim() == 2 else one for one in last)  # 8 images, 8 pairs
    before = before.transpose(0, 1)
    kept = after != 0
    torch.testing.assert_close(after[kept], before[kept] / 0.7)
    alive = before != 0
    assert (kept & alive).sum().item() / alive.sum().item() == pytest.approx(0.7, abs=0.07)
    last.clear()
    model.eval()(batch)
    assert torch.equal(last[0].unflatten(0, (8, 8)).transpose(0, 1), last[1])


def test_the_encoder_sees_patches_with_one_colour_each_unless_that_is_off():
    for drop in (True, False):
        model, batch, seen = objective(drop_colours=drop), images_batch(2, (VIEW,)), []
        model.encoder.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        model(batch)
        spread = seen[0].std((2, 3))  # 18×3
        assert seen[0].shape == (18, 3, 32, 32)
        assert ((spread > 0.5).sum(1) == (1 if drop else 3)).all()


def test_running_statistics_are_those_of_whole_images():
    """Those of patches, with their zero padding all around, would serve a frozen trunk badly."""
    batch = images_batch(4, (VIEW,))
    plain, model, patchwise = NarrowEncoder().double(), objective(), objective(image_statistics=False)
    plain(batch.views[0])
    model(batch)
    patchwise(batch)
    for name, buffer in plain.named_buffers():
        if "running" in name:
            torch.testing.assert_close(model.encoder.get_buffer(name), buffer, msg=name)
            assert not torch.allclose(patchwise.encoder.get_buffer(name), buffer), name


def test_a_classifier_that_knows_nothing_has_ln_8():
    model = objective()
    with torch.no_grad():
        model.classifier[-1].weight.zero_()
        model.classifier[-1].bias.zero_()
    torch.testing.assert_close(model(images_batch(2, (VIEW,)))["loss"].item(), math.log(8))


def test_patches_are_cut_from_an_unstretched_square_that_is_never_mirrored():
    view = objective(grey=0.66, crop=0.9).views(255)[0]
    assert view == View(
        size=255, square=0.9, interpolation="bilinear", flip=0.0, jitter=None, grey=0.66, blur=0.0, solarize=0.0
    )
    assert objective().views(255)[0].square == pytest.approx(255 / 292, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jitter": 5}, "objective.jitter is 5 and objective.gap 8: patches could touch"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        objective(**settings)


def test_views_that_the_patches_do_not_fit_into_are_refused():
    with pytest.raises(BadInput, match="need views of 118 pixels, but view_size is 117; set view_size to 118"):
        objective().check(4, 117)
    objective().check(4, 118)
