from __future__ import annotations

import math

import pytest
import torch
from cases import images_batch
from narrow import NarrowEncoder
from torch.distributions import Independent, Normal, kl_divergence

from bench.errors import BadInput
from bench.nn.decoder import small_rgb
from bench.objectives import build


def make(**settings):
    all_settings = {"name": "vae", "latent_dim": 5, "image_size": 16, "width": 6, **settings}
    return build(all_settings, NarrowEncoder()).double()


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_loss_and_gradient_are_the_evidence_bound_written_with_torch_distributions(likelihood, beta):
    objective, data = make(likelihood=likelihood, beta=beta), images_batch(3, (32,))
    (v,) = data.views
    torch.manual_seed(1)
    terms = objective(data)
    mu, logvar = objective.posterior(objective.encoder(v)).chunk(2, dim=1)
    q = Normal(mu, logvar.exp().sqrt())
    torch.manual_seed(1)
    y = objective.decoder(q.rsample())
    x = small_rgb(v, 16)
    if likelihood == "gaussian":
        nll = -Independent(Normal(y.sigmoid(), 0.1), 3).log_prob(x)
    else:
        nll = -(x * y.sigmoid().log() + (1 - x) * (1 - y.sigmoid()).log()).sum((1, 2, 3))
    kl = kl_divergence(q, Normal(torch.zeros_like(mu), torch.ones_like(mu))).sum(1)
    expected = (nll + beta * kl).mean()
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(terms["loss_kl"], kl.mean(), rtol=1e-9, atol=0)
    torch.testing.assert_close(terms["loss_reconstruction"], nll.mean(), rtol=1e-9, atol=0)
    weights = [objective.encoder.conv1.weight, objective.posterior.weight, objective.decoder[-1].weight]
    ours, theirs = (torch.autograd.grad(loss, weights) for loss in (terms["loss"], expected))
    assert all(grad.abs().max() > 1e-6 for grad in theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_both_terms_are_sums_so_that_beta_does_not_hide_in_a_mean():
    data = images_batch(2, (32,))
    outputs = {}
    for size, dims in ((8, 5), (16, 5), (8, 10)):
        objective = make(image_size=size, latent_dim=dims, likelihood="bernoulli")
        with torch.no_grad():
            for layer in (objective.posterior, objective.decoder[-1]):
                layer.weight.zero_()
                layer.bias.zero_()
            objective.posterior.bias.fill_(1.0)  # μ = 1, log σ² = 1
        outputs[size, dims] = objective(data)
    for (size, dims), terms in outputs.items():
        assert terms["loss_reconstruction"].item() == pytest.approx(math.log(2) * 3 * size**2)
        assert terms["loss_kl"].item() == pytest.approx(dims * 0.5 * (math.e - 1))


def test_active_dims_counts_dimensions_in_which_the_posterior_left_the_prior():
    objective, data = make(), images_batch(4, (32,))
    with torch.no_grad():
        objective.posterior.weight.zero_()
        objective.posterior.bias.zero_()
        objective.posterior.bias[:2] = 1.0  # two means that left 0
        objective.posterior.bias[2] = 0.1  # ½·0.01 nats: below what counts
        objective.posterior.bias[5 + 4] = -3.0  # and one deviation
    assert objective(data)["active_dims"] == 3
    with torch.no_grad():
        objective.posterior.bias.zero_()
    assert objective(data)["active_dims"] == 0


def test_active_dims_are_those_of_all_ranks_images(monkeypatch):
    objective, data = make(), images_batch(4, (32,))
    with torch.no_grad():
        objective.posterior.weight.zero_()
        objective.posterior.bias.zero_()
        objective.posterior.bias[:2] = 1.0  # ½ nat here, nothing on the other rank
    monkeypatch.setattr("bench.objectives.vae.world", lambda: 2)
    elsewhere = torch.tensor([0.0, 0.0, 0.015, 0.025, 0.0], dtype=torch.float64)
    monkeypatch.setattr("bench.objectives.vae.sum_over_ranks", lambda kl: kl + elsewhere)
    assert objective(data)["active_dims"] == 3  # means of 0.25, 0.25, 0.0075, 0.0125 and 0


def test_an_extreme_log_variance_is_clamped():
    objective, data = make().float(), images_batch(2, (32,))
    data.views = [view.float() for view in data.views]
    for value in (-1e4, 1e4):
        with torch.no_grad():
            objective.posterior.bias[5:] = value
        terms = objective(data)
        assert all(term.isfinite() for term in terms.values())
        objective.zero_grad()
        terms["loss"].backward()
        assert all(p.grad.isfinite().all() for p in objective.parameters())


def test_noise_is_drawn_anew_and_vanishes_with_the_variance():
    objective, data = make(), images_batch(2, (32,))
    first, second = objective(data), objective(data)
    assert first["loss_kl"] == second["loss_kl"]
    assert first["loss_reconstruction"] != second["loss_reconstruction"]
    with torch.no_grad():
        objective.posterior.weight[5:] = 0.0
        objective.posterior.bias[5:] = -1e4
    one, other = (objective(data)["loss_reconstruction"].item() for _ in range(2))
    assert one == pytest.approx(other, rel=1e-3)
    assert one != other  # the floor of the variance is not 0


def test_a_larger_view_is_decoded_at_image_size():
    objective = make()
    torch.testing.assert_close(
        small_rgb(torch.zeros(1, 3, 32, 32), 16)[0, :, 0, 0], torch.tensor([0.485, 0.456, 0.406])
    )
    assert objective(images_batch(2, (64,)))["loss"].isfinite()


def test_diagnostics_see_the_posteriors_mean():
    objective, images = make().eval(), images_batch(2, (32,)).views[0]
    outputs = objective.outputs(images)
    assert torch.equal(outputs["projector"], objective.infer(images)[0])
    assert torch.equal(outputs["backbone"], objective.encoder(images))


def test_settings_that_cannot_work_are_refused():
    for settings, message in (({"image_size": 48}, "side 48 cannot be reached by doubling 4; set it to 4, 8"),):
        with pytest.raises(BadInput, match=message):
            make(**settings)
    with pytest.raises(BadInput, match=r"view_size 32 is below objective.image_size 64; lower the latter"):
        make(image_size=64).check(4, 32)
