from __future__ import annotations

import math

import pytest
import torch
from cases import images_batch
from narrow import NarrowEncoder

from bench.data.views import View
from bench.errors import BadInput
from bench.nn.patches import Grid
from bench.objectives import build

SMALL = {"name": "relative_patch", "patch_size": 32, "gap": 8, "jitter": 3, "hidden_dim": 12}
VIEW = 118


def objective(**more):
    return build({**SMALL, **more}, NarrowEncoder()).double()


@pytest.mark.parametrize("image_statistics", [True, False])
def test_the_loss_and_its_gradient_are_those_of_eight_classified_pairs_for_each_image(image_statistics):
    ours, theirs = (objective(drop_colours=False, image_statistics=image_statistics) for _ in range(2))
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
    assert model.classifier[0].out_features == 4096


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


def test_patches_are_cut_from_an_unstretched_square():
    view = objective(grey=0.66).views(255)[0]
    assert view == View(
        size=255, scale=(0.5, 1.0), ratio=(1.0, 1.0), interpolation="bilinear", jitter=None, grey=0.66, blur=0.0
    )


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
