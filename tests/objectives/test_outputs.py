"""What diagnostics look at, of every objective: one row an image, and nothing moved by it."""

from __future__ import annotations

import pytest
import torch
from cases import Case, images_batch, load
from torch import nn

CASES = load()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_outputs_are_a_row_an_image_and_looking_moves_nothing(case: Case):
    objective = case.make().eval()
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    images = images_batch(3, (64,)).views[0]
    with torch.no_grad():
        outputs = objective.outputs(images)
        one = objective.outputs(images[:1])
    assert "backbone" in outputs
    for name, z in outputs.items():
        assert z.dim() == 2, name
        assert len(z) == 3, name
        assert z.isfinite().all(), name
        torch.testing.assert_close(one[name], z[:1], rtol=1e-8, atol=1e-10)  # no image sees another
    assert all(torch.equal(before[name], tensor) for name, tensor in objective.state_dict().items())


def test_the_projector_is_among_the_outputs_where_there_is_one():
    for case in CASES.values():
        objective = case.make().eval()
        if isinstance(getattr(objective, "projector", None), nn.Module):
            with torch.no_grad():
                assert "projector" in objective.outputs(images_batch(2, (64,)).views[0]), case.settings
