"""The discriminators' convolutions, layer by layer."""

from __future__ import annotations

import torch
from torch import nn

from bench.nn.discriminator import discriminator_tower, frozen_call


def test_a_tower_is_dcgans():
    """Radford et al., "DCGAN" (2016), section 3: strided convolutions, leaky rectifiers of slope .2, no norm first."""
    tower, channels = discriminator_tower(16, width=5)
    theirs = nn.Sequential(
        nn.Conv2d(3, 5, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(5, 10, 4, 2, 1, bias=False),
        nn.BatchNorm2d(10),
        nn.LeakyReLU(0.2),
    )
    theirs.load_state_dict(tower.state_dict())
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tower(x.clone()), theirs(x.clone()))
    assert tower(x.clone()).shape == (3, 10, 4, 4)
    assert channels == 10


def test_a_frozen_call_gives_the_input_a_gradient_and_moves_nothing():
    tower, _ = discriminator_tower(16, width=5)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    frozen_call(tower, x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in tower.parameters())
    for name, value in tower.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
