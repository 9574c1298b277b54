from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from cases import assert_same_gradients
from lightly.loss import SwaVLoss
from lightly.loss.swav_loss import sinkhorn as lightly_sinkhorn
from lightly.models.modules import SwaVPrototypes
from narrow import NarrowEncoder

from bench.config.load import load_recipe
from bench.data.views import LOCAL_CROPS, View
from bench.errors import BadInput
from bench.losses.swapped import prototype_scores, swapped_prediction
from bench.objectives import build
from bench.objectives.swav import sinkhorn
from bench.train.optim import build_optimizer


def small(**settings):
    heads = {"prototypes": 7, "hidden_dim": 12, "projection_dim": 6, "crops": 0}
    return build({"name": "swav", **heads, **settings}, NarrowEncoder()).double()


def cosines(n=8, c=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = F.normalize(torch.randn(n, 5, dtype=torch.float64, generator=generator), dim=1)
    return z @ F.normalize(torch.randn(c, 5, dtype=torch.float64, generator=generator), dim=1).T


def naive_sinkhorn(scores, epsilon, iterations=3):
    """Eq. 3 to 5 with loops: rows of Qᵀ are prototypes with 1/C each, columns are images with 1/B each."""
    b, c = scores.shape
    q = [[math.exp(scores[i, k].item() / epsilon) for i in range(b)] for k in range(c)]
    for _ in range(iterations):
        for k in range(c):
            total = sum(q[k])
            q[k] = [value / total / c for value in q[k]]
        for i in range(b):
            total = sum(q[k][i] for k in range(c))
            for k in range(c):
                q[k][i] /= total * b
    return torch.tensor([[q[k][i] * b for k in range(c)] for i in range(b)], dtype=torch.float64)


def test_sinkhorn_equals_the_loops_and_lightlys():
    s = cosines()
    q = sinkhorn(s, 0.05)
    torch.testing.assert_close(q, naive_sinkhorn(s, 0.05), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(q, lightly_sinkhorn(s.clone()), rtol=1e-10, atol=1e-14)


def test_codes_of_an_image_sum_to_one_and_prototypes_share_the_batch_equally():
    q = sinkhorn(cosines(), 0.05)
    torch.testing.assert_close(q.sum(1), torch.ones(8, dtype=torch.float64))
    many = sinkhorn(cosines(), 0.05, iterations=300)
    torch.testing.assert_close(many.sum(0), torch.full((7,), 8 / 7, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    uneven = (cosines() / 0.05).softmax(1).sum(0)
    assert (q.sum(0) - 8 / 7).abs().max() < (uneven - 8 / 7).abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sinkhorn_neither_overflows_nor_vanishes(dtype):
    """exp(1/0.05) alone is 4.9e8, above float16's largest number; exp(−200) is 0 in float32."""
    for scores, epsilon in ((cosines(), 0.05), (cosines(), 0.005), (100 * cosines(), 0.005)):
        q = sinkhorn(scores.to(dtype), epsilon)
        assert q.dtype == torch.float32
        assert q.isfinite().all()
        torch.testing.assert_close(q.sum(1), torch.ones(8))


def test_sinkhorn_does_not_see_a_shift_of_all_scores_and_follows_the_order_of_images():
    s = cosines()
    torch.testing.assert_close(sinkhorn(s + 3.0, 0.05), sinkhorn(s, 0.05))
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sinkhorn(s[order], 0.05), sinkhorn(s, 0.05)[order])


def test_codes_are_hard_for_small_epsilon_and_equal_for_large():
    hard = sinkhorn(cosines(7, 7), 0.0005, iterations=200)
    assert hard.max(1).values.min() > 0.99
    assert (sinkhorn(cosines(), 1e6) - 1 / 7).abs().max() < 1e-6


def naive(scores, codes, temperature):
    n, total = len(scores[0]), 0.0
    for i, q in enumerate(codes):
        others = [v for v in range(len(scores)) if v != i]
        for v in others:
            for row in range(n):
                logits = scores[v][row] / temperature
                for k in range(len(logits)):
                    log_p = logits[k] - torch.log(torch.exp(logits).sum())
                    total = total - q[row, k] * log_p / (n * len(others) * len(codes))
    return total


@pytest.mark.parametrize("small_crops", [0, 1, 3])
def test_swapped_prediction_equals_the_loops_and_lightlys(small_crops):
    values, grads = [], []
    for which in ("ours", "loops", "lightly"):
        scores = [cosines(4, 7, seed).requires_grad_() for seed in range(2 + small_crops)]
        codes = [sinkhorn(s, 0.05) for s in scores[:2]]
        if which == "ours":
            loss = swapped_prediction(scores, codes, 0.1)
        elif which == "loops":
            loss = naive(scores, codes, 0.1)
        else:
            (loss,) = SwaVLoss()(scores[:2], scores[2:])
        loss.backward()
        values.append(loss.detach())
        grads.append(torch.stack([s.grad for s in scores]))
    for value, grad in zip(values[1:], grads[1:], strict=True):
        torch.testing.assert_close(values[0], value, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(grads[0], grad, rtol=1e-8, atol=1e-12)
    assert grads[0].abs().max() > 1e-3


def test_no_gradient_reaches_codes():
    s = cosines().requires_grad_()
    assert not sinkhorn(s, 0.05).requires_grad
    codes = torch.full((8, 7), 1 / 7, dtype=torch.float64, requires_grad=True)
    swapped_prediction([s, s * 2], [codes, codes], 0.1).backward()
    assert codes.grad is None


def test_a_collapsed_network_has_the_loss_ln_c():
    s = torch.full((8, 3000), 0.3)
    value = swapped_prediction([s, s], [sinkhorn(s, 0.05)] * 2, 0.1)
    assert value.item() == pytest.approx(math.log(3000), abs=1e-4)
    assert value.item() == pytest.approx(8.006, abs=1e-3)


def test_loss_and_gradient_are_lightlys_of_the_networks_outputs(batch):
    objective, data = small(crops=2, crop_size=32), batch(64, 64, 32, 32)
    reference = copy.deepcopy(objective)
    c = reference.prototypes.weight
    c.data = F.normalize(c.data, dim=1)
    # One forward of the trunk for each resolution, one of the head for all (src/resnet50.py:317-323).
    features = [reference.encoder(torch.cat(same)) for same in (data.views[:2], data.views[2:])]
    z = reference.projector(torch.cat(features))
    scores = [F.normalize(each, dim=1) @ c.T for each in z.chunk(4)]
    (expected,) = SwaVLoss()(scores[:2], scores[2:])
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference)


def test_the_heads_norm_sees_all_resolutions_together_and_the_trunks_each_by_itself(batch):
    """Rows of the head's first layer over 2 + 2 views have mean 0 after the norm; those of two views alone have not."""
    objective, data = small(crops=2, crop_size=32), batch(64, 64, 32, 32)
    seen = []

    def keep(_layer, inputs, output):
        seen.append((inputs[0].clone(), output.clone()))  # the ReLU after it works in place

    objective.projector[1].register_forward_hook(keep)
    data.views[2:] = [3.0 * view for view in data.views[2:]]
    objective(data)
    ((before, after),) = seen
    assert before.shape == (16, 12)
    torch.testing.assert_close(after.mean(0), torch.zeros(12, dtype=torch.float64), rtol=0, atol=1e-10)
    assert after[:8].mean(0).abs().max() > 0.05
    assert objective.encoder.bn1.num_batches_tracked == 2
    assert objective.projector[1].num_batches_tracked == 1


def test_lars_adapts_biases_and_norms_too(batch):
    """main_swav.py:171-177: LARC around one group of all parameters. The naive step, on g + λw."""
    objective, data = small(crops=0), batch(32, 32)
    settings = load_recipe("imagenet_swav").optimizer
    optimizer = build_optimizer(objective.param_groups(), settings, 4096)
    objective(data)["loss"].backward()
    norm = objective.encoder.bn1
    with torch.no_grad():
        norm.bias.fill_(0.3)
    expected = {}
    for name, p in norm.named_parameters():
        u = p.grad + 1e-6 * p.detach()
        expected[name] = p.detach() - 4.8 * 0.001 * p.detach().norm() / u.norm() * u
    optimizer.step()
    for name, p in norm.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-9, atol=1e-12)


def test_small_crops_are_not_assigned(batch):
    """A small crop that shows something else changes no code, but for the statistics of the head's norm."""
    objective, data = small(crops=1, crop_size=32), batch(64, 64, 32)
    objective.projector[1].eval()
    seen = []
    original = objective._codes
    objective._codes = lambda z, view: seen.append(original(z, view)) or seen[-1]
    objective(data)
    data.views[2] = data.views[2].flip(0) * 5
    objective(data)
    assert len(seen) == 4
    torch.testing.assert_close(seen[:2], seen[2:])  # each step normalises the prototypes anew


def test_prototypes_have_no_bias_and_unit_length_at_every_step(batch):
    objective, data = small(), batch(32, 32)
    assert objective.prototypes.bias is None
    for _ in range(2):
        with torch.no_grad():
            objective.prototypes.weight *= 3.0
        objective(data)["loss"].backward()
        torch.testing.assert_close(objective.prototypes.weight.norm(dim=1), torch.ones(7, dtype=torch.float64))
    # No gradient through the normalisation: it would be orthogonal to each prototype.
    along = (objective.prototypes.weight * objective.prototypes.weight.grad).sum(1)
    assert along.abs().max() > 1e-4


def test_lightlys_prototypes_are_another_layer():
    """They have a bias, and unit length only after a call that a user must make."""
    theirs = SwaVPrototypes(5, 7)
    assert theirs.heads[0].bias is not None
    z = F.normalize(torch.randn(4, 5), dim=1)
    unit = F.normalize(theirs.heads[0].weight, dim=1)
    assert not torch.allclose(theirs(z), prototype_scores(z, unit))
    theirs.normalize()
    theirs.heads[0].bias.data.zero_()
    torch.testing.assert_close(theirs(z), prototype_scores(z, unit))


def test_prototypes_are_frozen_for_a_share_of_the_run(batch):
    objective, data = small(freeze_share=0.1), batch(32, 32)
    for progress, held in ((0.0, True), (0.0999, True), (0.1, False), (0.9, False)):
        objective(data)["loss"].backward()
        objective.before_step(progress)
        assert (objective.prototypes.weight.grad is None) == held
        assert objective.projector[0].weight.grad is not None


def embeddings(objective, data):
    z = objective.projector(objective.encoder(torch.cat(data.views[:2])))
    return F.normalize(z, dim=1).detach().chunk(2)


def run(objective, data, progress):
    loss = objective(data)["loss"]
    objective.after_step(progress)
    return loss


def test_the_queue_holds_embeddings_that_are_scored_by_the_prototypes_of_now(batch):
    objective, data = small(queue_size=8, queue_start=0.5), [batch(32, 32, seed=s) for s in range(3)]
    past = [embeddings(objective, each) for each in data[:2]]
    for each in data[:2]:
        run(objective, each, 0.6)
    for view in (0, 1):
        torch.testing.assert_close(objective.queues[view].keys, torch.cat([one[view] for one in past]))
    with torch.no_grad():
        objective.prototypes.weight.copy_(torch.randn(7, 6, generator=torch.Generator().manual_seed(3)))
    c = F.normalize(objective.prototypes.weight.detach(), dim=1)
    scores = [z @ c.T for z in embeddings(objective, data[2])]
    queue = [torch.cat([one[view] for one in past]) @ c.T for view in (0, 1)]
    (expected,) = SwaVLoss()(scores, [], queue)  # drops the codes of the queue's rows
    torch.testing.assert_close(objective(data[2])["loss"].detach(), expected)
    (without,) = SwaVLoss()(scores, [])
    assert abs(without - expected) > 1e-3


def test_the_queue_starts_late_and_only_when_it_is_full(batch):
    data = [batch(32, 32, seed=s) for s in range(4)]
    for start, full_at in ((0.0, 2), (0.5, 3)):  # a queue of two batches; progress 0, .25, .5 after steps 0, 1, 2
        objective, plain = small(queue_size=8, queue_start=start), small()
        differs = []
        for step, each in enumerate(data):
            ours, theirs = run(objective, each, step / 4), run(plain, each, step / 4)
            differs.append(abs(ours.item() - theirs.item()) > 1e-9)
        assert differs == [step >= full_at for step in range(4)]


def test_no_gradient_reaches_the_queue(batch):
    objective, data = small(queue_size=4, queue_start=0.0), batch(32, 32)
    for _ in range(2):
        run(objective, data, 0.5).backward()
    assert not any(buffer.requires_grad or buffer.grad_fn for buffer in objective.buffers())
    assert not any("queue" in name for name, _ in objective.named_parameters())


def test_views_and_defaults_are_the_papers():
    objective = build({"name": "swav"}, NarrowEncoder())
    full = View(
        224, (0.14, 1.0), interpolation="bilinear", jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.8, grey=0.2, blur=0.5
    )
    assert objective.views(224) == (full, full, *LOCAL_CROPS(full, 6, 96, (0.05, 0.14)))
    assert objective.prototypes.weight.shape == (3000, 128)
    assert objective.projector[0].weight.shape == (2048, 24)
    assert (objective.temperature, objective.epsilon, objective.iterations) == (0.1, 0.05, 3)
    assert objective.queue_size == 0


def test_the_recipes_rates_are_those_of_the_reference():
    large, few = load_recipe("imagenet_swav"), load_recipe("imagenet_swav_256")
    assert (large.optimizer.lr, large.optimizer.lr_batch, large.batch_size) == (4.8, 4096, 4096)
    assert large.optimizer.lr * large.schedule.warmup_ratio == pytest.approx(0.3)
    assert large.optimizer.lr * large.schedule.final_ratio == pytest.approx(0.0048)
    assert (few.optimizer.lr, few.optimizer.lr_batch, few.schedule.warmup_epochs) == (0.6, 256, 0)
    assert few.objective["queue_size"] == 3840
    assert few.objective["queue_start"] * few.epochs == pytest.approx(15)
    assert [each.objective["freeze_share"] * each.epochs for each in (large, few)] == pytest.approx([1, 1])


def test_a_batch_that_the_queue_is_no_multiple_of_is_refused():
    with pytest.raises(
        BadInput, match=r"objective\.queue_size is 8, no multiple of the 3 images of a batch; set it to 9"
    ):
        small(queue_size=8).check(3, 224)
    small(queue_size=8).check(4, 224)
