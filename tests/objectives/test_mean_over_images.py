"""Objectives whose loss is a mean over images: a batch in two parts has the loss and the gradient of the whole one."""

from __future__ import annotations

import pytest
import torch
from cases import Case, apart, load, rows

from bench.config.objective_source import class_says
from bench.objectives import OBJECTIVES
from bench.objectives.base import Objective

CASES = {name: case for name, case in load().items() if class_says(case.settings["name"], "mean_over_images")}
# Those that say so, and those that do not and could be taken for it: their loss compares images, or keeps something.
NAMED = {"byol", "simsiam", "patch_byol", "supervised", "rotation", "pixpro", "denoising_autoencoder"}
NAMED |= {"context_encoder", "split_brain", "pixel_cnn", "pixel_rnn"}


def of_parts(case: Case, parts: int) -> tuple[float, torch.Tensor, Objective]:
    """The loss and the gradient of a batch in parts, norms in eval mode, and the same random numbers for each part."""
    objective, n = apart(case.make()).eval(), case.n + case.n % 2
    data, total = case.data(n), 0.0
    for part in range(parts):
        torch.manual_seed(0)
        loss = objective(rows(data, slice(part * n // parts, (part + 1) * n // parts)))["loss"] / parts
        loss.backward()
        total += loss.item()
    gradients = [p.grad.flatten() for p in objective.parameters() if p.grad is not None]
    return total, torch.cat(gradients), objective


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_parts_add_up_to_the_batch(case: Case) -> None:
    whole, gradient, objective = of_parts(case, 1)
    parts, sum_of_parts, other = of_parts(case, 2)
    assert parts == pytest.approx(whole, rel=1e-9)
    torch.testing.assert_close(sum_of_parts, gradient, rtol=1e-7, atol=1e-12)
    for (name, buffer), same in zip(objective.named_buffers(), other.buffers(), strict=True):
        assert torch.equal(buffer, same), name


def test_which_objectives_say_so() -> None:
    assert {name for name in OBJECTIVES if class_says(name, "mean_over_images")} == NAMED
