"""The supervised control and the one without training."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision

from bench.data.views import SUPERVISED_VIEW
from bench.errors import BadInput
from bench.nn.encoder import build_encoder
from bench.objectives import build


def test_supervised_equals_torchvisions_network_and_cross_entropy(batch):
    objective, data = build({"name": "supervised"}, build_encoder("resnet18", 0), 3).double(), batch(32)
    reference = torchvision.models.resnet18(num_classes=3).double()
    state = {name.removeprefix("encoder."): tensor for name, tensor in objective.state_dict().items()}
    reference.load_state_dict(state, strict=True)
    terms = objective(data)
    logits = reference(data.views[0])
    torch.testing.assert_close(terms["loss"], F.cross_entropy(logits, data.labels))
    assert terms["top1_percent"].item() == pytest.approx(100 * (logits.argmax(1) == data.labels).double().mean().item())


def test_classifier_starts_as_torchvisions(make):
    fc = make("supervised", num_classes=100).fc
    bound = 24**-0.5
    for tensor in (fc.weight, fc.bias):
        assert tensor.abs().max() <= bound
        assert tensor.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)


def test_supervised_views_and_guards(make, batch):
    objective = make("supervised", num_classes=3)
    assert objective.views(128) == (SUPERVISED_VIEW(128),)
    data = batch(32)
    data.labels = None
    with pytest.raises(BadInput, match="needs labels, and this data set has none"):
        objective(data)
    with pytest.raises(BadInput, match="needs a data set with classes; use imagenet or imagenet100"):
        make("supervised")


def test_random_init_is_the_encoder_of_its_seed_and_has_no_loss(make, batch, encoder):
    objective = make("random_init")
    assert objective.views(224) == ()
    expected = encoder(seed=0).double().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in objective.encoder.state_dict().items())
    assert list(objective.state_dict()) == [f"encoder.{name}" for name in expected]
    with pytest.raises(BadInput, match="no loss to train on; set epochs=0 and dataset='none'"):
        objective(batch(32))
