"""Norm statistics from images: exact, layer by layer, whatever the batches; and what they do to frozen features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.nn.encoder import build_encoder
from bench.nn.norm_statistics import Moments, set_statistics


def images(count: int = 24, size: int = 32) -> Tensor:
    """Smooth random images, normalised: neighbouring pixels are alike, as in photographs."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 3, size // 8, size // 8, generator=generator)
    return nn.functional.interpolate(coarse, size=size, mode="bilinear")


def outputs_of_norms(encoder: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What each norm gives in the encoder's present mode, copied before a ReLU changes it in place."""
    found: dict[str, Tensor] = {}
    hooks = [
        norm.register_forward_hook(lambda _norm, _given, out, name=name: found.update({name: out.clone()}))
        for name, norm in encoder.named_modules()
        if isinstance(norm, _BatchNorm)
    ]
    with torch.no_grad():
        encoder(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_afterwards_every_norm_gives_mean_0_and_variance_1_in_eval_mode(arch: str) -> None:
    encoder, x = build_encoder(arch, 0).double().eval(), images(8, 64).double()
    before = outputs_of_norms(encoder, x)
    assert max(abs(out.var().item() - 1) for out in before.values()) > 0.5  # norms that change nothing
    assert set_statistics(encoder, x.split(3)) == 8
    after = outputs_of_norms(encoder, x)
    assert len(after) == {"resnet18": 20, "resnet50": 53}[arch]
    for name, out in after.items():
        norm = encoder.get_submodule(name)
        count = out.numel() // out.shape[1]
        variance = norm.running_var * (count - 1) / count  # of its inputs, biased
        torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(out.shape[1]).double(), rtol=0, atol=1e-9)
        wanted = variance / (norm.running_var + norm.eps)
        torch.testing.assert_close(out.var((0, 2, 3), correction=0), wanted, rtol=1e-9, atol=1e-9)


def test_they_are_those_of_train_mode_with_all_images_in_one_batch() -> None:
    encoder, other, x = (*(build_encoder("resnet18", 3, "stl").double() for _ in range(2)), images().double())
    set_statistics(encoder, [x])
    for norm in other.modules():
        if isinstance(norm, _BatchNorm):
            norm.momentum = 1.0
    other.train()(x)
    wanted = other.state_dict()
    for name, tensor in encoder.state_dict().items():
        # What reaches a norm was normalised by the biased variance there, and by the unbiased one here: of 24 images
        # the last maps have 96 positions.
        tolerance = 0.02 if "running" in name else 0
        torch.testing.assert_close(
            tensor, wanted[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n} {m}"
        )


def test_neither_the_batches_nor_their_order_matter() -> None:
    x = images()
    states = []
    for batches in ([x], x.split(5), x.flip(0).split(7), [x[:1], x[:0], x[1:]]):
        encoder = build_encoder("resnet18", 0, "stl")
        assert set_statistics(encoder, batches) == 24
        states.append(encoder.state_dict())
    for state in states[1:]:
        for name, tensor in state.items():
            torch.testing.assert_close(tensor, states[0][name], rtol=1e-4, atol=1e-5)


def test_weights_and_mode_stay_and_without_images_everything_does() -> None:
    for training in (True, False):
        encoder = build_encoder("resnet18", 0, "stl").train(training)
        before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        assert set_statistics(encoder, []) == 0
        assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
        set_statistics(encoder, [images(4)])
        changed = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        assert changed == {name for name in before if name.endswith(statistics)}
        assert all(module.training == training for module in encoder.modules())


def test_moments_do_not_cancel() -> None:
    x = 1e4 + torch.randn(64, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    moments = Moments()
    for part in x.split(10):
        moments.add(part)
    norm = nn.BatchNorm2d(3)
    moments.put_into(norm)
    torch.testing.assert_close(norm.running_mean, x.double().mean((0, 2, 3)).float())
    torch.testing.assert_close(norm.running_var, x.double().var((0, 2, 3)).float(), rtol=1e-3, atol=0)


def test_frozen_features_get_a_scale_that_a_classifier_can_use() -> None:
    """Random weights without statistics: features are all but one vector, whatever the image."""

    def contrast(encoder: nn.Module, x: Tensor) -> float:
        """Spread of features over images, as a share of their length."""
        with torch.no_grad():
            features = encoder.eval()(x)
        return (features.std(0).norm() / features.mean(0).norm()).item()

    x = images(32, 64)
    without, measured = build_encoder("resnet18", 0), build_encoder("resnet18", 0)
    set_statistics(measured, x.split(8))
    assert contrast(measured, x) > 2 * contrast(without, x)
    features = measured.eval()(x).detach()
    assert 0.1 < features.mean() < 10  # the mean over positions of a ReLU of a sum of two normalised maps, or more
