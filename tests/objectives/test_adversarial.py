"""Context encoder and BiGAN: who learns from what, and what the discriminator is shown."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from cases import images_batch
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.nn.colour import unnormalised
from bench.nn.discriminator import frozen_call
from bench.objectives import build

SMALL = {
    "context_encoder": {"image_size": 16, "overlap": 2, "width": 6},
    "bigan": {"image_size": 16, "latent_dim": 5, "width": 6, "hidden_dim": 12},
}
SIZE = {"context_encoder": 64, "bigan": 32}
both = pytest.mark.parametrize("name", SMALL)


def make(name, seed=0, **settings):
    return build({"name": name, **SMALL[name], **settings}, NarrowEncoder(seed)).double()


def run(objective, data):
    torch.manual_seed(0)
    return objective(data)


def sides(objective):
    """The parameters of the discriminator, and all others."""
    judge = list(objective.discriminator.parameters())
    ids = {id(p) for p in judge}
    return judge, [p for p in objective.parameters() if id(p) not in ids]


def code_of(objective, images):
    """jeffdonahue/bigan, dist.py:121-125: a sigmoid of what the last layer gives, stretched to the range of z."""
    return 2 / (1 + torch.exp(-objective.projector(objective.encoder(images)))) - 1


def written_out(name, objective, data):
    """The discriminator's and the other side's loss, each as a graph of its own, by binary cross entropy."""
    (v,) = data.views
    d = objective.discriminator
    rgb = unnormalised(v)
    if name == "bigan":
        x = 2 * F.avg_pool2d(rgb, 2) - 1
        code = code_of(objective, v)
        torch.manual_seed(0)
        z = 2 * torch.rand(len(v), 5, dtype=v.dtype) - 1
        made = objective.generator(z)
        real, fake = d(x, code), d(made, z)
        ones = torch.ones_like(real)
        of_d = 0.5 * F.binary_cross_entropy(real.sigmoid(), ones) + 0.5 * F.binary_cross_entropy(
            fake.sigmoid(), 0 * ones
        )
        other = 0.5 * (-(1 - real.sigmoid()).log().mean() - fake.sigmoid().log().mean())
        return of_d, other
    centre = 2 * F.avg_pool2d(rgb[..., 16:48, 16:48], 2) - 1  # 16×16
    hidden = v.clone()
    hidden[..., 20:44, 20:44] = 0  # two pixels of the prediction, four of the view, stay seen all round
    made = objective.decoder(objective.encoder.last_map(hidden))
    total = 0.0
    for r in range(16):
        for c in range(16):
            w = 1 if 2 <= r < 14 and 2 <= c < 14 else 10
            total = total + w * ((centre[:, :, r, c] - made[:, :, r, c]) ** 2).sum()
    rec = total / centre.numel()
    real, fake = d(centre), d(made)
    ones = torch.ones_like(real)
    of_d = 0.5 * F.binary_cross_entropy(real.sigmoid(), ones) + 0.5 * F.binary_cross_entropy(fake.sigmoid(), 0 * ones)
    return of_d, 0.999 * rec + 0.001 * -fake.sigmoid().log().mean()


@both
def test_each_side_has_exactly_the_gradient_of_its_own_loss(name):
    objective, data = make(name), images_batch(3, (SIZE[name],))
    judge, other = sides(objective)
    terms = run(objective, data)
    of_d, of_other = written_out(name, objective, data)
    torch.testing.assert_close(terms["loss"], of_d + of_other, rtol=1e-9, atol=0)
    torch.testing.assert_close(terms["loss_discriminator"], of_d.detach(), rtol=1e-9, atol=0)
    terms["loss"].backward()
    for parameters, loss, opposed in ((judge, of_d, of_other), (other, of_other, of_d)):
        expected = torch.autograd.grad(loss, parameters, retain_graph=True)
        leaked = torch.autograd.grad(opposed, parameters, retain_graph=True, allow_unused=True)
        # Norms make some biases' gradients 0; that the other side's loss would add something shows the check can fail.
        assert any(g is not None and g.abs().max() > 1e-6 for g in leaked)
        assert any(g.abs().max() > 1e-6 for g in expected)
        torch.testing.assert_close([p.grad for p in parameters], list(expected), rtol=1e-7, atol=1e-10)


@both
def test_the_discriminator_starts_at_chance_which_is_ln_2(name):
    for seed in range(3):
        objective = make(name, seed)
        terms = run(objective, images_batch(8, (SIZE[name],), seed=seed))
        assert terms["loss_discriminator"].item() == pytest.approx(math.log(2), abs=0.15)


@both
def test_the_discriminators_running_statistics_move_once_for_real_and_once_for_fake(name):
    objective, data = make(name), images_batch(3, (SIZE[name],))
    run(objective, data)
    tracked = [b.item() for n, b in objective.discriminator.named_buffers() if n.endswith("num_batches_tracked")]
    assert tracked
    assert set(tracked) == {2}


@both
def test_with_its_own_gradient_alone_the_discriminator_gets_better(name):
    objective, data = make(name), images_batch(4, (SIZE[name],))
    judge, other = sides(objective)
    optimizer = torch.optim.Adam(judge, 2e-3)
    first = run(objective, data)
    for _ in range(5):
        optimizer.zero_grad()
        run(objective, data)["loss"].backward()
        optimizer.step()
    last = run(objective, data)
    assert last["loss_discriminator"] < first["loss_discriminator"]
    assert last["loss_generator"] > first["loss_generator"]
    optimizer = torch.optim.Adam(other, 2e-3)
    for _ in range(5):
        optimizer.zero_grad()
        run(objective, data)["loss"].backward()
        optimizer.step()
    assert run(objective, data)["loss_generator"] < last["loss_generator"]


def test_a_frozen_call_has_the_value_and_the_inputs_gradient_of_a_plain_one_and_leaves_no_trace():
    d = make("context_encoder").discriminator
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    before = {name: buffer.clone() for name, buffer in d.named_buffers()}
    one = x.clone().requires_grad_()
    frozen = frozen_call(d, one)
    frozen.square().sum().backward()
    assert all(p.grad is None for p in d.parameters())
    assert all(torch.equal(buffer, before[name]) for name, buffer in d.named_buffers())
    assert all(p.requires_grad for p in d.parameters())
    other = x.clone().requires_grad_()
    plain = d(other)
    plain.square().sum().backward()
    assert torch.equal(frozen, plain)
    torch.testing.assert_close(one.grad, other.grad)


# ------------------------------------------------------------------------------------------- what it sees


def seen_by(objective, data):
    """The arguments of the discriminator's calls, in order."""
    calls = []
    hook = objective.discriminator.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
    run(objective, data)
    hook.remove()
    return calls


def test_bigans_discriminator_sees_images_with_their_inferred_codes_and_codes_with_what_they_make():
    objective, data = make("bigan"), images_batch(3, (32,))
    x, z = 2 * F.avg_pool2d(unnormalised(data.views[0]), 2) - 1, None
    code = code_of(objective, data.views[0])
    calls = seen_by(objective, data)
    assert len(calls) == 4
    pairs = {"real": [], "fake": []}
    for image, latent in calls:
        real = image.shape == x.shape and torch.allclose(image, x)
        pairs["real" if real else "fake"].append((image, latent))
    assert {kind: len(calls) for kind, calls in pairs.items()} == {"real": 2, "fake": 2}
    for _, latent in pairs["real"]:
        torch.testing.assert_close(latent, code)
    for image, z in pairs["fake"]:
        assert z.abs().max() <= 1
        assert z.min() < 0
        torch.testing.assert_close(image, objective.generator(z))


def test_bigans_codes_of_images_lie_in_the_range_of_those_that_are_drawn():
    """Or the discriminator would tell pairs by that, and the images would not matter."""
    objective, data = make("bigan"), images_batch(3, (32,))
    with torch.no_grad():
        objective.projector.weight.mul_(1e3)  # a last layer that has grown
    latents = [latent for _, latent in seen_by(objective, data)]
    assert all(latent.abs().max() <= 1 for latent in latents)
    code = objective.eval().outputs(data.views[0])["projector"]
    torch.testing.assert_close(code, code_of(objective, data.views[0]))
    assert code.min() < -0.9 < 0.9 < code.max()


def test_under_autocast_bigans_codes_are_as_fine_as_those_that_are_drawn():
    objective, features = make("bigan").float(), 1e-2 * torch.randn(200, 24)
    with torch.autocast("cpu", torch.bfloat16):
        code = objective.code(features)
    assert code.dtype == torch.float32
    assert (code * 256).frac().ne(0).any(0).all()  # not on the grid of a sigmoid in bf16
    torch.testing.assert_close(code, objective.code(features), atol=5e-3, rtol=0)


def test_bigans_encoder_is_pushed_to_make_real_pairs_look_like_generated_ones():
    objective, data = make("bigan"), images_batch(4, (32,))
    terms = run(objective, data)
    (grad,) = torch.autograd.grad(terms["loss"], objective.projector.weight)
    d, v = objective.discriminator, data.views[0]
    x = 2 * F.avg_pool2d(unnormalised(v), 2) - 1

    def score():
        return d(x, code_of(objective, v)).mean().item()

    before = score()
    with torch.no_grad():
        objective.projector.weight -= 1e-3 * grad / grad.norm()
    assert score() < before


def test_the_context_encoders_discriminator_sees_the_centre_alone():
    objective, data = make("context_encoder"), images_batch(3, (64,))
    centre = 2 * F.avg_pool2d(unnormalised(data.views[0])[..., 16:48, 16:48], 2) - 1
    calls = seen_by(objective, data)
    assert [tuple(image.shape) for (image,) in calls] == [(3, 3, 16, 16)] * 3
    assert sum(torch.allclose(image, centre) for (image,) in calls) == 1


def test_the_hole_is_the_mean_colour_and_nothing_in_it_reaches_the_prediction():
    objective, data = make("context_encoder"), images_batch(2, (64,))
    (v,) = data.views
    seen = objective.with_hole(v)
    changed = (seen != v).any(0).any(0)
    expected = torch.zeros(64, 64, dtype=torch.bool)
    expected[20:44, 20:44] = True
    assert torch.equal(changed, expected)
    assert not seen[..., expected].any()  # 0 is the mean of normalised images
    v = v.clone().requires_grad_()
    made = objective.decoder(objective.encoder.last_map(objective.with_hole(v)))
    (grad,) = torch.autograd.grad(made.square().sum(), v)
    assert not grad[..., expected].any()
    assert grad[..., ~expected].any()


def test_pixels_outside_the_centre_are_no_target():
    objective, data = make("context_encoder"), images_batch(2, (64,))
    objective.with_hole = lambda images: torch.zeros_like(images)  # the prediction sees nothing
    before = run(objective, data)["loss_reconstruction"]
    data.views[0][..., :16, :] += 1.0
    assert run(objective, data)["loss_reconstruction"] == before
    data.views[0][..., 16, 20] -= 0.5
    assert run(objective, data)["loss_reconstruction"] != before


def test_the_generator_learns_at_ten_times_the_discriminators_rate():
    objective = make("context_encoder")
    rates = {id(p): group["rate"] for group in objective.param_groups() for p in group["params"]}
    judge, other = sides(objective)
    assert {rates[id(p)] for p in judge} == {1.0}
    assert {rates[id(p)] for p in other} == {10.0}


def test_the_channelwise_layer_mixes_positions_and_not_channels():
    layer = make("context_encoder").decoder[1]
    x = torch.randn(1, 24, 4, 4, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    (grad,) = torch.autograd.grad(y[0, 3, 1, 2], x)
    assert (grad[0, 3] != 0).all()
    assert not grad[0, torch.arange(24) != 3].any()
    by_hand = sum(x[0, 3].flatten()[p] * layer.weight[3, p, 6] for p in range(16)) + layer.bias[3]
    torch.testing.assert_close(y[0, 3, 1, 2], by_hand)


def test_settings_that_cannot_work_are_refused():
    for name, settings, message in (
        ("context_encoder", {"overlap": 8}, r"overlap 8 leaves no hole in objective.image_size 16; set overlap below"),
        ("context_encoder", {"image_size": 24}, "side 24 cannot be reached by doubling 4; set it to"),
        ("context_encoder", {"adversarial_weight": 0.0}, r"objective\.adversarial_weight is 0\.0; set it above 0"),
        ("bigan", {"latent_dim": 0}, r"objective.latent_dim is 0; set it to 1 or more"),
    ):
        with pytest.raises(BadInput, match=message):
            make(name, **settings)
    with pytest.raises(
        BadInput, match=r"Half of view_size 48 is no multiple of objective.image_size 16; set view_size to"
    ):
        make("context_encoder").check(4, 48)
    with pytest.raises(BadInput, match=r"view_size 8 is below objective.image_size 16; lower the latter"):
        make("bigan").check(4, 8)
