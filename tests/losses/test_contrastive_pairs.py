"""NT-Xent, its relatives and their forms with a queue, against the papers' formulas written as loops."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import DCLLoss, DCLWLoss, NTXentLoss
from lightly.loss.directclr_loss import DirectCLRLoss
from lightly.loss.hypersphere_loss import HypersphereLoss

from bench.errors import BadInput
from bench.losses.contrast_by_name import QUEUE, VIEWS, Contrast
from bench.losses.contrastive import cross_view_nce, info_nce
from bench.losses.pairs import (
    decoupled,
    hard,
    mises_fisher_weights,
    queue_pairs,
    simple,
    softmax_loss,
    two_view_pairs,
    view_pairs,
)


def nt_xent(z1, z2, tau):
    return softmax_loss(two_view_pairs(z1, z2), tau)


def cos(a, b):
    return (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt())


def anchors(z1, z2):
    """Of each of the 2N rows: the image, the positive cosine, and the list of its 2N − 2 negative cosines."""
    n = len(z1)
    for x, y in ((z1, z2), (z2, z1)):
        for i in range(n):
            yield i, cos(x[i], y[i]), [cos(x[i], view[j]) for view in (z1, z2) for j in range(n) if j != i]


def queries(q, k, negatives):
    """The same of queries with a queue."""
    for i in range(len(q)):
        yield i, cos(q[i], k[i]), [cos(q[i], row) for row in negatives]


def crossed(z1, z2):
    """The same with negatives of the other view alone."""
    n = len(z1)
    for x, y in ((z1, z2), (z2, z1)):
        for i in range(n):
            yield i, cos(x[i], y[i]), [cos(x[i], y[j]) for j in range(n) if j != i]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def naive_softmax(rows, tau):
    return mean(-torch.log((p / tau).exp() / ((p / tau).exp() + sum((s / tau).exp() for s in ns))) for _, p, ns in rows)


def naive_decoupled(rows, tau, w=None):
    return mean(
        -(1.0 if w is None else w[i]) * p / tau + torch.log(sum((s / tau).exp() for s in ns)) for i, p, ns in rows
    )


def naive_weights(z1, z2, sigma, detach=True):
    e = [(cos(a, b) / sigma).exp() for a, b in zip(z1, z2, strict=True)]
    w = [2 - x / mean(e) for x in e]
    return [x.detach() for x in w] if detach else w


def naive_simple(rows, weight, share=1.0):
    return mean(-p + weight * mean(hardest(ns, share)) for _, p, ns in rows)


def naive_hard(rows, tau, share):
    return naive_softmax([(i, p, hardest(ns, share)) for i, p, ns in rows], tau)


def hardest(negatives, share):
    kept = max(1, math.ceil(share * len(negatives)))
    return sorted(negatives, key=lambda s: s.item(), reverse=True)[:kept]


# ------------------------------------------------------------------------------------- value and gradient


def test_nt_xent_is_the_formula_with_the_negatives_of_both_views_and_half_of_the_reference(draw, same):
    z1, z2 = draw(5, 4), draw(5, 4, seed=1)
    same(lambda x, y: nt_xent(x, y, 0.3), lambda x, y: naive_softmax(anchors(x, y), 0.3), z1, z2)
    same(lambda x, y: nt_xent(x, y, 0.3), NTXentLoss(0.3), z1, z2)

    def reference(x, y):  # two cross entropies of N rows each, added up; each row has N + N candidates, itself at −1e9
        x, y = torch.nn.functional.normalize(x, dim=1), torch.nn.functional.normalize(y, dim=1)
        itself, labels = 1e9 * torch.eye(len(x), dtype=x.dtype), torch.arange(len(x))
        a = torch.cat([x @ y.T / 0.3, x @ x.T / 0.3 - itself], 1)
        b = torch.cat([y @ x.T / 0.3, y @ y.T / 0.3 - itself], 1)
        return torch.nn.functional.cross_entropy(a, labels) + torch.nn.functional.cross_entropy(b, labels)

    same(lambda x, y: 2 * nt_xent(x, y, 0.3), reference, z1, z2)


def test_dcl_and_dclw_are_the_formula_and_lightlys(draw, same):
    z1, z2 = draw(5, 4), draw(5, 4, seed=1)

    def dcl(x, y):
        return decoupled(two_view_pairs(x, y), 0.3)

    def dclw(x, y):
        return decoupled(two_view_pairs(x, y), 0.3, mises_fisher_weights(x, y, 0.5).repeat(2))

    same(dcl, lambda x, y: naive_decoupled(anchors(x, y), 0.3), z1, z2)
    same(dcl, DCLLoss(0.3), z1, z2)
    same(dclw, lambda x, y: naive_decoupled(anchors(x, y), 0.3, naive_weights(x, y, 0.5)), z1, z2)
    unit = [torch.nn.functional.normalize(z, dim=1) for z in (z1, z2)]
    with pytest.warns(UserWarning, match="torch.tensor"):
        same(dclw, DCLWLoss(0.3, 0.5), *unit)


def test_weights_that_let_gradient_through_have_the_same_value_and_other_gradients(draw):
    z1, z2 = draw(5, 4).requires_grad_(), draw(5, 4, seed=1)
    ours = decoupled(two_view_pairs(z1, z2), 0.3, mises_fisher_weights(z1, z2).repeat(2))
    theirs = naive_decoupled(anchors(z1, z2), 0.3, naive_weights(z1, z2, 0.5, detach=False))
    torch.testing.assert_close(ours, theirs)
    (a,), (b,) = torch.autograd.grad(ours, z1), torch.autograd.grad(theirs, z1)
    assert (a - b).abs().max() > 0.01


def test_weights_have_a_mean_of_one_and_are_larger_for_hard_positives(draw):
    z1, z2 = draw(6, 4), draw(6, 4, seed=1)
    weights = mises_fisher_weights(z1, z2, 0.5)
    assert weights.mean().item() == pytest.approx(1.0)
    positives = torch.stack([cos(a, b) for a, b in zip(z1, z2, strict=True)])
    assert torch.equal(weights.argsort(), positives.argsort(descending=True))
    torch.testing.assert_close(mises_fisher_weights(z1, z1), torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 1.0])
def test_simple_and_hard_are_the_formula_with_a_quantile_of_each_row(draw, same, share):
    z1, z2 = draw(5, 4), draw(5, 4, seed=1)
    same(lambda x, y: simple(two_view_pairs(x, y), 0.7), lambda x, y: naive_simple(anchors(x, y), 0.7), z1, z2)
    same(
        lambda x, y: simple(two_view_pairs(x, y), 0.7, share),
        lambda x, y: naive_simple(anchors(x, y), 0.7, share),
        z1,
        z2,
    )
    same(
        lambda x, y: hard(two_view_pairs(x, y), 0.3, share),
        lambda x, y: naive_hard(list(anchors(x, y)), 0.3, share),
        z1,
        z2,
    )


def test_a_quantile_is_of_each_row_by_itself():
    """One anchor's negatives all harder than the other's: each still keeps one."""
    z1 = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]], dtype=torch.float64)
    kept = view_pairs(z1, z1, (z1,)).keep_hardest(0.5)
    assert (~kept.excluded).sum(1).tolist() == [1, 1, 1]


def test_negatives_below_the_quantile_get_no_gradient(draw):
    q, k, negatives = draw(1, 4), draw(1, 4, seed=1), draw(10, 4, seed=2).requires_grad_()
    hard(queue_pairs(q, k, negatives), 0.3, 0.2).backward()
    kept = torch.stack([cos(q[0], row) for row in negatives]).topk(2).indices
    assert set(negatives.grad.abs().sum(1).nonzero().flatten().tolist()) == set(kept.tolist())


def test_the_forms_with_a_queue_are_the_formulas(draw, same):
    q, k, negatives = draw(3, 4), draw(3, 4, seed=1), draw(7, 4, seed=2)
    tau, weight, share = 0.3, 0.7, 0.3
    expected = {
        "nt_xent": lambda *x: naive_softmax(queries(*x), tau),
        "dcl": lambda *x: naive_decoupled(queries(*x), tau),
        "simple": lambda *x: naive_simple(queries(*x), weight),
        "hard": lambda *x: naive_hard(list(queries(*x)), tau, share),
    }
    assert set(expected) == set(QUEUE)
    for name, naive in expected.items():
        contrast = Contrast(name, tau, negative_weight=weight, hard_share=share)
        same(contrast.queue, naive, q, k, negatives)
    same(Contrast("nt_xent", tau).queue, lambda *x: info_nce(*x, tau), q, k, negatives)


def test_the_slot_has_the_loss_of_every_name_over_two_views(draw, same):
    z1, z2 = draw(5, 4), draw(5, 4, seed=1)
    tau, weight, share = 0.3, 0.7, 0.3
    expected = {
        "nt_xent": lambda x, y: naive_softmax(anchors(x, y), tau),
        "cross_view": lambda x, y: naive_softmax(crossed(x, y), tau),
        "dcl": lambda x, y: naive_decoupled(anchors(x, y), tau),
        "dclw": lambda x, y: naive_decoupled(anchors(x, y), tau, naive_weights(x, y, 0.5)),
        "simple": lambda x, y: naive_simple(anchors(x, y), weight),
        "hard": lambda x, y: naive_hard(list(anchors(x, y)), tau, share),
        "align_uniform": HypersphereLoss(t=2),
    }
    assert set(expected) == set(VIEWS)
    for name, naive in expected.items():
        same(Contrast(name, tau, negative_weight=weight, hard_share=share).views, naive, z1, z2)


@pytest.mark.parametrize("loss", sorted(set(VIEWS) - {"align_uniform"}))
def test_a_small_crop_is_an_anchor_with_each_global_view_as_its_positive(draw, same, loss):
    c, z1, z2 = draw(4, 4, seed=2), draw(4, 4), draw(4, 4, seed=1)
    contrast = Contrast(loss, 0.3, negative_weight=0.7, hard_share=0.3)

    def naive(c, z1, z2):
        total = 0.0
        for z in (z1, z2):
            among = (z,) if loss == "cross_view" else (z1, z2)
            rows = [
                (i, cos(c[i], z[i]), [cos(c[i], view[j]) for view in among for j in range(4) if j != i])
                for i in range(4)
            ]
            if loss in ("dcl", "dclw"):
                total = total + naive_decoupled(rows, 0.3, naive_weights(c, z, 0.5) if loss == "dclw" else None)
            elif loss == "simple":
                total = total + naive_simple(rows, 0.7)
            else:
                total = total + naive_hard(rows, 0.3, 0.3 if loss == "hard" else 1.0)
        return total / 2

    same(contrast.crops, naive, c, z1, z2)


@pytest.mark.parametrize("loss", sorted(set(VIEWS) - {"align_uniform"}))
def test_the_mean_over_ranks_of_their_own_rows_is_the_loss_of_the_batch(draw, loss):
    c, z1, z2 = draw(6, 4, seed=2), draw(6, 4), draw(6, 4, seed=1)
    contrast = Contrast(loss, 0.3)
    halves = (slice(0, 3), slice(3, 6))
    parts = [contrast.views(z1, z2, itself) for itself in halves]
    torch.testing.assert_close(torch.stack(parts).mean(), contrast.views(z1, z2))
    parts = [contrast.crops(c, z1, z2, itself) for itself in halves]
    torch.testing.assert_close(torch.stack(parts).mean(), contrast.crops(c, z1, z2))


def test_the_loss_between_views_has_no_negatives_of_the_same_view(draw, same):
    z1, z2 = draw(5, 4), draw(5, 4, seed=1)

    def direct(x, y):
        return 0.5 * (cross_view_nce(x, y, 0.3) + cross_view_nce(y, x, 0.3))

    same(direct, lambda x, y: naive_softmax(crossed(x, y), 0.3), z1, z2)
    same(direct, Contrast("cross_view", 0.3).views, z1, z2)
    assert abs(direct(z1, z2) - nt_xent(z1, z2, 0.3)) > 0.1
    # lightly's class of that name has them (and other defaults): it is no oracle for this loss.
    theirs = DirectCLRLoss(loss_dim=4, temperature=0.3)(z1, z2)
    torch.testing.assert_close(theirs, nt_xent(z1, z2, 0.3))


# ---------------------------------------------------------------------------------------------- with a queue


@pytest.fixture
def queue():
    """128×64: the third draw after the two of `oracle_pair`, as D×K."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        torch.randn(32, 64, dtype=torch.float64, generator=generator)
    return torch.randn(64, 128, dtype=torch.float64, generator=generator).T


def test_the_known_value_with_a_queue(oracle_pair, queue):
    assert info_nce(*oracle_pair, queue, 0.2).item() == pytest.approx(2.83750280, abs=1e-8)


def test_info_nce_agrees_with_lightly_in_value_and_gradient(oracle_pair, queue, same):
    def theirs(q, k):
        loss = NTXentLoss(temperature=0.2, memory_bank_size=(128, 64)).double()
        loss.memory_bank.bank = torch.nn.functional.normalize(queue, dim=1).clone()
        loss.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.int64)
        return loss(q, k)

    q, k = oracle_pair
    same(lambda x: info_nce(x, k, queue, 0.2), lambda x: theirs(x, k), q)


# ----------------------------------------------------------------------------------- values, limits, symmetries


def test_reference_values(oracle_pair):
    x, y = oracle_pair
    assert nt_xent(x, y, 0.1).item() == pytest.approx(1.01335223, abs=5e-9)
    assert nt_xent(x, y, 0.5).item() == pytest.approx(3.29767194, abs=5e-9)
    assert Contrast("dcl", 0.1).views(x, y).item() == pytest.approx(0.34264458, abs=5e-9)
    assert Contrast("dclw", 0.1).views(x, y).item() == pytest.approx(0.57214344, abs=5e-9)
    assert Contrast("align_uniform").views(x, y).item() == pytest.approx(-2.76409651, abs=5e-9)


@pytest.mark.parametrize("loss", VIEWS)
def test_scale_order_rotation_and_exchange_of_views_change_nothing(draw, loss):
    z1, z2 = draw(6, 4), draw(6, 4, seed=1)
    contrast, order = Contrast(loss, 0.2), torch.tensor([3, 0, 5, 1, 2, 4])
    rotation = torch.linalg.qr(draw(4, 4, seed=2))[0]
    expected = contrast.views(z1, z2)
    torch.testing.assert_close(contrast.views(z2, z1), expected)
    torch.testing.assert_close(contrast.views(7.0 * z1[order] @ rotation, 0.1 * z2[order] @ rotation), expected)


def test_a_temperature_towards_0_gives_a_triplet_loss_without_a_margin(draw):
    z1, z2 = draw(8, 4), draw(8, 4, seed=1)
    pairs = two_view_pairs(z1, z2)
    for tau in (1e-3, 1e-4):
        hardest_one = pairs.logits(1.0).max(1).values
        triplet = (hardest_one - pairs.positive).clamp(min=0).mean() / tau
        assert softmax_loss(pairs, tau).item() == pytest.approx(triplet.item(), rel=2 * tau)
    # the hardest negative alone has the same limit
    assert hard(pairs, 1e-4, 1e-9).item() == pytest.approx(triplet.item(), rel=1e-3)


def test_a_temperature_towards_infinity_gives_the_simple_loss(draw):
    z1, z2 = draw(8, 4), draw(8, 4, seed=1)
    pairs, tau = two_view_pairs(z1, z2), 1e4
    m = pairs.negatives
    expected = m / ((m + 1) * tau) * simple(pairs) + math.log(m + 1)
    assert softmax_loss(pairs, tau).item() == pytest.approx(expected.item(), abs=1e-8)
    z1.requires_grad_()
    (a,) = torch.autograd.grad(tau * (m + 1) / m * nt_xent(z1, z2, tau), z1)
    (b,) = torch.autograd.grad(simple(two_view_pairs(z1, z2)), z1)
    torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-4)


def test_a_collapsed_batch_has_the_loss_of_guessing():
    z = torch.ones(6, 4, dtype=torch.float64)
    assert nt_xent(z, z, 0.1).item() == pytest.approx(math.log(11))
    assert Contrast("cross_view").views(z, z).item() == pytest.approx(math.log(6))
    assert Contrast("dcl").views(z, z).item() == pytest.approx(math.log(10))
    assert Contrast("simple").views(z, z).item() == pytest.approx(0.0)


def test_the_decoupled_loss_can_be_negative_and_its_gradient_does_not_vanish_with_an_easy_positive():
    """One negative, orthogonal; the positive nearly equal to the anchor: InfoNCE has little to say, DCL goes on."""
    q = torch.tensor([[1.0, 0.01]], dtype=torch.float64, requires_grad=True)
    k, negative = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    pairs = queue_pairs(q, k, negative)
    assert decoupled(pairs, 0.1) < 0
    (pulled,) = torch.autograd.grad(decoupled(pairs, 0.1), q, retain_graph=True)
    (still,) = torch.autograd.grad(softmax_loss(pairs, 0.1), q)
    assert pulled.norm() > 1000 * still.norm()
    # the ratio is InfoNCE's factor, the share of the negatives in its denominator
    share = 1 / (1 + torch.exp((pairs.positive - pairs.candidates[:, 0]) / 0.1))
    torch.testing.assert_close(still, share.detach() * pulled)


@pytest.mark.parametrize("loss", VIEWS)
def test_low_temperature_and_half_precision_stay_finite(draw, loss):
    z1 = (100 * draw(4, 4)).bfloat16().requires_grad_()
    z2 = (100 * draw(4, 4, seed=1)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = Contrast(loss, 1e-4, sigma=1e-3).views(z1, z2)
    assert value.dtype == torch.float32
    assert value.isfinite()
    value.backward()
    assert z1.grad.isfinite().all()


def test_autocast_does_not_round_the_cosines(draw):
    z1, z2 = draw(4, 4).float(), draw(4, 4, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = nt_xent(z1, z2, 0.05)
    torch.testing.assert_close(rounded, nt_xent(z1, z2, 0.05), rtol=1e-6, atol=1e-6)


def test_what_a_loss_cannot_do_is_refused(draw):
    z = draw(4, 4)
    for loss in sorted(set(VIEWS) - set(QUEUE)):
        with pytest.raises(BadInput, match=r"no form with a queue; set objective\.loss to one of nt_xent, dcl"):
            Contrast(loss).check_queue()
        with pytest.raises(BadInput, match="no form with a queue"):
            Contrast(loss).queue(z, z, z)
    with pytest.raises(BadInput, match=r"set objective\.crops to 0"):
        Contrast("align_uniform").crops(z, z, z)
