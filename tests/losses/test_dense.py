from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity

from bench.losses.dense import centres, matches
from bench.objectives.two_loss import dense_regression

WHOLE = (0.0, 0.0, 1.0, 1.0, 0.0)
FLIPPED = (0.0, 0.0, 1.0, 1.0, 1.0)
LEFT_HALF = (0.0, 0.0, 0.5, 1.0, 0.0)
TOP_LEFT = (0.0, 0.0, 0.2, 0.2, 0.0)
BOTTOM_RIGHT = (0.6, 0.6, 0.9, 1.0, 1.0)


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def naive(p, z, boxes_p, boxes_z, ratio=0.7):
    """Image by image, position by position."""

    def spot(box, row, column, h, w):
        x0, y0, x1, y1, flipped = box.tolist()
        if flipped:
            x0, x1 = x1, x0
        return x0 + (column + 0.5) * (x1 - x0) / w, y0 + (row + 0.5) * (y1 - y0) / h

    def diagonal(box, h, w):
        x0, y0, x1, y1, _ = box.tolist()
        return math.hypot((x1 - x0) / w, (y1 - y0) / h)

    _, h, w, _ = p.shape
    _, h2, w2, _ = z.shape
    total = p.new_zeros(())
    for i in range(len(p)):
        distances = []
        largest = max(diagonal(boxes_p[i], h, w), diagonal(boxes_z[i], h2, w2))
        for a in range(h):
            for b in range(w):
                for c in range(h2):
                    for d in range(w2):
                        one, other = spot(boxes_p[i], a, b, h, w), spot(boxes_z[i], c, d, h2, w2)
                        if math.dist(one, other) / largest < ratio:
                            u, v = p[i, a, b], z[i, c, d].detach()
                            distances.append(2 - 2 * sum(u * v) / (sum(u * u).sqrt() * sum(v * v).sqrt()))
        if distances:
            total = total + sum(distances) / len(distances)
    return total / len(p)


def test_equals_the_formula(draw, same):
    p, z = draw(4, 3, 3, 5), draw(4, 2, 3, 5, seed=1)
    b1 = boxes(WHOLE, LEFT_HALF, (0.1, 0.2, 0.7, 0.9, 1.0), TOP_LEFT)
    b2 = boxes(FLIPPED, WHOLE, (0.3, 0.0, 0.8, 0.6, 0.0), BOTTOM_RIGHT)
    same(lambda p, z: dense_regression(p, z, b1, b2), lambda p, z: naive(p, z, b1, b2), p, z)


def test_equal_views_reduce_to_lightly_position_by_position(draw, same):
    p, z = draw(3, 4, 4, 6), draw(3, 4, 4, 6, seed=1)
    everywhere = boxes(WHOLE, TOP_LEFT, FLIPPED)  # with square bins, neighbours are .707 diagonals apart
    lightly = NegativeCosineSimilarity()
    same(
        lambda p, z: dense_regression(p, z, everywhere, everywhere),
        lambda p, z: 2 + 2 * lightly(p.reshape(-1, 6), z.detach().reshape(-1, 6)),
        p,
        z,
    )


def test_the_flip_is_followed(draw):
    p = draw(1, 3, 3, 4)
    assert dense_regression(p, p.flip(2), boxes(WHOLE), boxes(FLIPPED)).item() == pytest.approx(0.0, abs=1e-12)
    assert dense_regression(p, p, boxes(WHOLE), boxes(FLIPPED)).item() > 0.1
    torch.testing.assert_close(centres(boxes(FLIPPED), 1, 2)[0], torch.tensor([[0.75, 0.5], [0.25, 0.5]]).double())


def test_matching_by_hand():
    # 2×2 bins of the whole against 2×2 bins of its left half: the larger diagonal is √½ = .7071, so that centres up to
    # .495 apart match. All of them are farther apart than that downwards (.5) and within it in a row, but for the
    # right half's bins against the outermost ones (.625).
    matched = matches(boxes(WHOLE), boxes(LEFT_HALF), (2, 2), (2, 2), 0.7)[0].tolist()
    assert matched == [
        [True, True, False, False],
        [False, True, False, False],
        [False, False, True, True],
        [False, False, False, True],
    ]


def test_images_without_a_match_add_nothing_and_stay_in_the_mean(draw):
    p, z = draw(2, 2, 2, 3), draw(2, 2, 2, 3, seed=1)
    alone = dense_regression(p[:1], z[:1], boxes(WHOLE), boxes(WHOLE))
    both = dense_regression(p, z, boxes(WHOLE, TOP_LEFT), boxes(WHOLE, BOTTOM_RIGHT))
    torch.testing.assert_close(both, alone / 2)
    none = dense_regression(p[1:].requires_grad_(), z[1:], boxes(TOP_LEFT), boxes(BOTTOM_RIGHT))
    assert none.item() == 0.0
    none.backward()


def test_no_gradient_reaches_the_target(draw):
    p, z = draw(1, 2, 2, 3).requires_grad_(), draw(1, 2, 2, 3, seed=1).requires_grad_()
    dense_regression(p, z, boxes(WHOLE), boxes(WHOLE)).backward()
    assert z.grad is None
    assert p.grad is not None


def test_shapes_must_agree(draw):
    good = draw(2, 2, 2, 3)
    with pytest.raises(ValueError, match="dense regression wants"):
        dense_regression(good, draw(2, 2, 2, 4), boxes(WHOLE, WHOLE), boxes(WHOLE, WHOLE))
    with pytest.raises(ValueError, match="dense regression wants"):
        dense_regression(good, good, boxes(WHOLE), boxes(WHOLE, WHOLE))
