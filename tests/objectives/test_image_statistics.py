"""Objectives that learn from patches, grey, noise or holes: their trunk's running statistics are those of images."""

from __future__ import annotations

import pytest
import torch
from cases import load
from narrow import NarrowEncoder

from bench.config.objective_settings import settings_of
from bench.config.objective_source import objectives

CASES = load()
NAMES = [name for name in objectives() if "image_statistics" in settings_of(name)]


def case_of(name):
    return next(case for case in CASES.values() if case.settings["name"] == name)


def test_these_objectives_have_the_setting_and_it_is_on():
    assert set(NAMES) == {
        *("jigsaw", "relative_patch", "colorization", "split_brain"),
        *("denoising_autoencoder", "context_encoder"),
    }
    assert all(settings_of(name)["image_statistics"].default is True for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_running_statistics_are_those_of_the_images_unless_that_is_off(name):
    case, plain = case_of(name), NarrowEncoder().double()
    model, as_trained = (case.make(image_statistics=on) for on in (True, False))
    batch = case.data()
    plain(batch.views[0])
    torch.manual_seed(0)  # of noise and masks
    for one in (model, as_trained):
        one(batch)
    for key, buffer in plain.named_buffers():
        if "running" in key:
            torch.testing.assert_close(model.encoder.get_buffer(key), buffer, msg=key)
            assert not torch.allclose(as_trained.encoder.get_buffer(key), buffer, rtol=1e-5), key


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_and_its_gradient_do_not_feel_it(name):
    case, gradients = case_of(name), []
    for on in (True, False):
        model = case.make(image_statistics=on)
        torch.manual_seed(0)
        loss = model(case.data())["loss"]
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(gradients[0]) > 5
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", NAMES)
def test_in_eval_mode_statistics_stay(name):
    model, case = case_of(name).make().eval(), case_of(name)
    before = {key: buffer.clone() for key, buffer in model.encoder.named_buffers()}
    model(case.data())
    assert all(torch.equal(buffer, before[key]) for key, buffer in model.encoder.named_buffers())
