from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from cases import images_batch
from narrow import NarrowEncoder

from bench.data.views import View
from bench.objectives import build
from bench.objectives.rotation import rotations


def objective():
    return build({"name": "rotation"}, NarrowEncoder()).double()


def test_the_loss_and_its_gradient_are_those_of_the_papers_double_sum():
    ours, theirs, batch = objective(), objective(), images_batch(3, (32,))
    (images,) = batch.views
    ours(batch)["loss"].backward()
    turned = [[torch.rot90(image, r, (1, 2)) for r in range(4)] for image in images]
    features = theirs.encoder(torch.stack([turned[i][r] for i in range(3) for r in range(4)]))
    loss = 0.0
    for i in range(3):
        for r in range(4):
            scores = theirs.classifier.weight @ features[4 * i + r] + theirs.classifier.bias
            loss = loss - (scores[r] - torch.log(scores.exp().sum())) / 12
    loss.backward()
    torch.testing.assert_close(ours(batch)["loss"], loss, rtol=1e-10, atol=0)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-7, atol=1e-10)


def test_rotations_are_counter_clockwise_and_keep_every_pixel():
    images = torch.arange(2 * 3 * 16.0).view(2, 3, 4, 4)
    for r, turned in enumerate(rotations(images)):
        assert torch.equal(turned, torch.rot90(images, r, (2, 3)))
        assert torch.equal(turned.flatten(1).sort().values, images.flatten(1).sort().values)


def test_all_four_rotations_of_an_image_pass_the_encoder_together(monkeypatch):
    """A batch of one rotation would tell it by its statistics alone."""
    model, batch, seen = objective(), images_batch(2, (32,)), []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(batch)
    (together,) = seen
    assert len(together) == 8
    (images,) = batch.views
    for r in range(4):
        assert torch.equal(together[2 * r : 2 * r + 2], torch.rot90(images, r, (2, 3)))


def test_each_image_is_cropped_once_to_a_square_without_any_colour_change():
    assert objective().views(48) == (
        View(size=48, interpolation="bilinear", jitter=None, grey=0.0, blur=0.0, solarize=0.0),
    )


def test_a_classifier_that_knows_nothing_has_ln_4_and_one_that_knows_all_has_0():
    model, batch = objective(), images_batch(2, (32,))
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.zero_()
    torch.testing.assert_close(model(batch)["loss"].item(), math.log(4))
    model.classifier = torch.nn.Identity()
    model.encoder.forward = lambda x: 1e3 * F.one_hot(torch.arange(4).repeat_interleave(len(x) // 4), 4).double()
    terms = model(batch)
    assert terms["loss"].item() == 0.0
    assert terms["top1_percent"].item() == 100.0
