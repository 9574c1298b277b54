"""PixelCNN and PixelRNN: the likelihood of a small view, given the trunk's feature of another."""

from __future__ import annotations

import math

import pytest
import torch
from cases import images_batch
from narrow import NarrowEncoder

from bench.data.views import normalised
from bench.errors import BadInput
from bench.nn.colour import MEAN, STD
from bench.objectives import build

both = pytest.mark.parametrize("name", ["pixel_cnn", "pixel_rnn"])


def make(name, **settings):
    return build({"name": name, "image_size": 4, "depth": 2, "width": 6, **settings}, NarrowEncoder()).double()


@pytest.mark.slow
@both
def test_loss_and_gradient_are_the_chain_rule_one_value_after_another(name):
    """Each value's chance is taken from an image of which only the earlier values are known."""
    objective, data = make(name), images_batch(2, (32, 4))
    objective.eval()  # so that images can go through by themselves
    terms = objective(data)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, STD))
    total = 0.0
    for image, small in zip(*data.views, strict=True):
        h = objective.encoder(image[None])
        levels = ((small * std + mean).clamp(0, 1) * 255).round()
        known = torch.zeros_like(levels)
        for r in range(4):
            for c in range(4):
                for colour in range(3):
                    logits = objective.decoder((known / 127.5 - 1)[None], h)[0, :, colour, r, c]
                    level = int(levels[colour, r, c])
                    total = total - logits[level] + torch.log(sum(torch.exp(one) for one in logits))
                    known[colour, r, c] = levels[colour, r, c]
    expected = total / 2
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(terms["bits_per_dim"], expected.detach() / math.log(2) / 48, rtol=1e-9, atol=0)
    weights = [objective.encoder.conv1.weight, objective.decoder.first.weight]
    ours, theirs = (torch.autograd.grad(loss, weights) for loss in (terms["loss"], expected))
    assert all(grad.abs().max() > 1e-6 for grad in theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@both
def test_even_chances_cost_8_bits_per_dimension(name):
    objective = make(name)
    with torch.no_grad():
        objective.decoder.logits.weight.zero_()
        objective.decoder.logits.bias.zero_()
    terms = objective(images_batch(2, (32, 4)))
    assert terms["bits_per_dim"].item() == pytest.approx(8.0)
    assert terms["loss"].item() == pytest.approx(48 * math.log(256))  # a sum over values, in nats


@both
def test_every_8_bit_level_is_found_again_after_normalising(name):
    objective, data = make(name, image_size=16).float(), images_batch(1, (32, 16))
    levels = torch.arange(768).remainder(256).view(1, 3, 16, 16).to(torch.uint8)
    seen = []
    objective.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    data.views = [data.views[0].float().expand(2, -1, -1, -1), normalised(levels).expand(2, -1, -1, -1)]
    objective(data)
    assert torch.equal(((seen[0][:1] + 1) * 127.5).round(), levels.float())
    assert seen[0].min() == -1
    assert seen[0].max() == 1


@both
def test_the_trunk_sees_the_first_view_and_never_the_pixels_that_are_predicted(name):
    objective = make(name)
    first, second = objective.views(224)
    assert (first.size, second.size) == (224, 4)
    assert second.jitter is None
    assert first.jitter is not None
    data, seen = images_batch(2, (32, 4)), []
    objective.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    objective(data)
    assert len(seen) == 1
    assert torch.equal(seen[0], data.views[0])


@both
def test_the_condition_is_used_and_has_a_gradient(name):
    objective, data = make(name), images_batch(2, (32, 4))
    before = objective(data)["loss"]
    before.backward()
    assert objective.encoder.conv1.weight.grad.abs().max() > 0
    data.views[0] = data.views[0].flip(0)
    assert objective(data)["loss"] != before


@both
def test_without_a_condition_it_is_the_papers_model_and_no_pretraining_accepts_it(name):
    objective, data = make(name, conditional=False), images_batch(2, (32, 4))
    loss = objective(data)["loss"]
    loss.backward()
    assert all(p.grad is None for p in objective.encoder.parameters())
    assert all(p.grad is not None for p in objective.decoder.parameters())
    data.views[0] = data.views[0] + 1.0
    assert objective(data)["loss"] == loss
    with pytest.raises(BadInput, match=r"the trunk gets no gradient; set objective.conditional to True"):
        objective.check(4, 224)
    make(name).check(4, 224)


@both
def test_it_can_memorise_one_image(name):
    objective, data = make(name, width=12), images_batch(2, (32, 4))
    optimizer = torch.optim.Adam(objective.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        terms = objective(data)
        terms["loss"].backward()
        optimizer.step()
    assert terms["bits_per_dim"] < 3


@both
def test_settings_that_cannot_work_are_refused(name):
    for key, value, least in (("image_size", 1, 2), ("depth", 0, 1), ("width", 2, 3)):
        with pytest.raises(BadInput, match=rf"objective.{key} is {value}; set it to {least} or more"):
            make(name, **{key: value})
