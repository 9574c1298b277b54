from __future__ import annotations

import torch

from bench.losses.soft_bins import soft_cross_entropy


def labels():
    torch.manual_seed(0)
    classes = torch.stack([torch.randperm(9)[:5] for _ in range(12)]).T.reshape(1, 5, 3, 4).repeat(2, 1, 1, 1)
    return classes, torch.rand(2, 5, 3, 4, dtype=torch.float64).softmax(1)


def test_value_and_gradient_are_those_of_the_papers_sum_over_all_bins(draw, same):
    classes, shares = labels()
    weights = torch.rand(9, dtype=torch.float64)

    def naive(logits):
        total = 0.0
        for i in range(2):
            for h in range(3):
                for w in range(4):
                    dense = [0.0] * 9
                    for k in range(5):
                        dense[classes[i, k, h, w]] = shares[i, k, h, w]
                    log_p = logits[i, :, h, w] - torch.log(logits[i, :, h, w].exp().sum())
                    v = weights[classes[i, 0, h, w]]
                    total = total - v * sum(z * log_p[q] for q, z in enumerate(dense))
        return total / 24

    same(lambda logits: soft_cross_entropy(logits, classes, shares, weights), naive, draw(2, 9, 3, 4))
    same(
        lambda logits: soft_cross_entropy(logits, classes, shares),
        lambda logits: soft_cross_entropy(logits, classes, shares, torch.ones(9, dtype=torch.float64)),
        draw(2, 9, 3, 4),
    )


def test_the_floor_is_the_entropy_of_the_labels_and_uniform_is_ln_q(draw):
    classes, shares = labels()
    perfect = torch.full((2, 9, 3, 4), -1e3, dtype=torch.float64).scatter(1, classes, shares.log())
    entropy = -(shares * shares.log()).sum(1).mean()
    torch.testing.assert_close(soft_cross_entropy(perfect, classes, shares), entropy)
    flat = soft_cross_entropy(torch.zeros(2, 9, 3, 4), classes, shares.float())
    torch.testing.assert_close(flat, torch.tensor(9.0).log())


def test_half_precision_logits_are_widened_first(draw):
    classes, shares = labels()
    logits = draw(2, 9, 3, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = soft_cross_entropy(logits, classes, shares.float())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, soft_cross_entropy(logits.float(), classes, shares.float()))


def test_images_that_do_not_count_weigh_nothing_and_stay_in_the_mean(draw):
    classes, shares = labels()
    logits, weights = draw(2, 9, 3, 4), torch.rand(9, dtype=torch.float64)
    loss = soft_cross_entropy(logits, classes, shares, weights, torch.tensor([True, False]))
    of_the_first = soft_cross_entropy(logits[:1], classes[:1], shares[:1], weights)
    torch.testing.assert_close(loss, of_the_first / 2)
    assert soft_cross_entropy(logits, classes, shares, None, torch.tensor([False, False])) == 0
