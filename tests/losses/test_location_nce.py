from __future__ import annotations

import math

import pytest
import torch

from bench.objectives.amdim import location_nce, location_scores
from bench.objectives.cpc import position_nce


@pytest.mark.parametrize(("n", "first"), [(4, 0), (2, 1)])
def test_value_and_gradient_are_the_papers_with_each_positive_alone_against_all_locations_of_other_images(
    n, first, draw, same
):
    clip, locations, dim = 3.0, 3, 5

    def naive(source, target):
        total = 0.0
        for i in range(n):
            positive_row = first + i

            def s(j, m, i=i):
                raw = (source[i] * target[j, m]).sum() / math.sqrt(dim)
                return clip * torch.tanh(raw / clip)

            negatives = sum(s(j, m).exp() for j in range(4) if j != positive_row for m in range(locations))
            for m in range(locations):
                positive = s(positive_row, m).exp()
                total = total - torch.log(positive / (positive + negatives))
        return total / (n * locations)

    same(
        lambda source, target: location_nce(location_scores(source, target), clip, first),
        naive,
        draw(n, dim),
        2 * draw(4, locations, dim, seed=1),
    )


def test_other_locations_of_the_same_image_are_no_negatives(draw):
    scores = draw(3, 3, 4)
    changed = scores.clone()
    changed[0, 0, 1:] += 1.0  # location 0 of image 0 keeps its own term
    one, other = location_nce(scores[:1], 20.0), location_nce(changed[:1], 20.0)
    logits = 20.0 * torch.tanh(scores[0] / 20.0)
    term = -(logits[0, 0] - torch.logsumexp(torch.cat([logits[0, :1], logits[1:].flatten()]), 0))
    rest = [
        -(row[0, k] - torch.logsumexp(torch.cat([row[0, k : k + 1], row[1:].flatten()]), 0))
        for row in (20.0 * torch.tanh(changed[0] / 20.0),)
        for k in range(1, 4)
    ]
    torch.testing.assert_close(other, (term + sum(rest)) / 4)
    assert other < one


def test_the_clip_bounds_scores_and_lets_gradient_through():
    """Its gradient is that of tanh, 1 − tanh², not that of a clip that is cut out of the graph."""
    scores = torch.tensor([[[40.0], [-3.0]]], dtype=torch.float64, requires_grad=True)
    value = location_nce(scores, 10.0)
    expected = torch.log1p(torch.tensor(10 * math.tanh(-0.3) - 10 * math.tanh(4.0), dtype=torch.float64).exp())
    torch.testing.assert_close(value.detach(), expected)
    (gradient,) = torch.autograd.grad(value, scores)
    pull = 1 - (-value.detach()).exp()
    wanted = torch.stack([-pull * (1 - math.tanh(4.0) ** 2), pull * (1 - math.tanh(-0.3) ** 2)]).view(1, 2, 1)
    torch.testing.assert_close(gradient, wanted)
    assert location_nce(torch.full((2, 2, 3), 1e30), 10.0).isfinite()


def test_nothing_known_gives_ln_of_one_and_all_negatives():
    torch.testing.assert_close(location_nce(torch.zeros(4, 4, 9), 20.0).item(), math.log(1 + 3 * 9))


def test_position_nce_is_a_softmax_over_all_positions_of_all_images(draw, same):
    positives = torch.tensor([4, 0, 2])

    def naive(predictions, targets):
        total = 0.0
        for p, positive_row in zip(predictions, positives.tolist(), strict=True):
            scores = [(p * t).sum() for t in targets]
            total = total - torch.log(scores[positive_row].exp() / sum(score.exp() for score in scores))
        return total / 3

    same(lambda p, t: position_nce(p, t, positives), naive, draw(3, 5), draw(6, 5, seed=1))
