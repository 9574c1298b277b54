from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import apart, assert_same_gradients

from bench.errors import BadInput
from bench.objectives.cast import grad_cam


@pytest.fixture
def build(make):
    return lambda **settings: apart(make("cast", queue_size=8, **settings))


@pytest.fixture
def data(batch):
    made = batch(64, 64)
    blocks = torch.randint(2, (2, 4, 4, 4), generator=torch.Generator().manual_seed(4)) * 255
    blocks = blocks.to(torch.uint8)
    return replace(made, masks=[b.repeat_interleave(16, 1).repeat_interleave(16, 2) for b in blocks])


def naive(objective, data, alpha=3.0, beta=1.0, per_image=False, cam="signed", second=True, masked=True):
    """The reference's order of things: gradient to C5 itself, its mean over positions, image by image."""
    (v_q, v_k), (m_q, m_k) = data.views, (mask >= 128 for mask in data.masks)
    c5 = objective.encoder.last_map(v_q)
    q = F.normalize(objective.projector(c5.mean((2, 3))), dim=1)
    k = F.normalize(objective.key_projector(objective.key_encoder(v_k)), dim=1).detach()
    hidden = v_k * m_k[:, None] if masked else v_k
    k_masked = F.normalize(objective.key_projector(objective.key_encoder(hidden)), dim=1).detach()
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ F.normalize(objective.queue.keys, dim=1).T], 1) / 0.07
    contrast = -torch.log_softmax(logits, 1)[:, 0].mean()
    gradient = torch.autograd.grad((q * k_masked).sum() / 0.07, c5, create_graph=second, retain_graph=True)[0]
    cams, targets = [], []
    for i in range(4):
        of_image = sum(gradient[i, c].mean() * c5[i, c] for c in range(24))
        if cam == "positive":  # the paper: ReLU, then to [0, 1]
            of_image = torch.relu(of_image)
        else:  # the code: to [0, 1] in place, a ReLU that finds nothing below 0, to [0, 1] once more
            of_image = of_image - of_image.min()
            of_image = torch.relu(of_image / (of_image.max() + 1e-7))
        of_image = of_image - of_image.min()
        cams.append((of_image / (of_image.max() + 1e-7)).flatten())
        targets.append(torch.stack([m_q[i, r : r + 32, c : c + 32].double().mean() for r in (0, 32) for c in (0, 32)]))

    def cosine(a, b):
        return sum(a * b) / (sum(a * a) * sum(b * b)).sqrt()

    if per_image:
        attention = 1 - sum(map(cosine, cams, targets)) / 4
    else:
        attention = 1 - cosine(torch.cat(cams), torch.cat(targets))
    return (beta * contrast + alpha * attention) / (alpha + beta)


@pytest.mark.parametrize(
    "settings", [{}, {"per_image": True}, {"alpha": 1.0, "beta": 4.0}, {"cam": "positive"}, {"mlp": True}]
)
def test_value_and_gradient_are_those_of_the_formula(build, data, settings):
    one, other = build(**settings), build(**settings)
    expected = naive(other, data, **{key: value for key, value in settings.items() if key != "mlp"})
    loss = one(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(one, other, rtol=1e-6, atol=1e-10, frozen="key_")


def test_the_gradient_goes_through_the_gradcam_weights(build, data):
    """Without create_graph the value is the same, and the gradient another."""
    one, other = build(), build()
    loss, careless = one(data)["loss"], naive(other, data, second=False)
    torch.testing.assert_close(loss, careless)
    loss.backward()
    careless.backward()
    ours, theirs = (torch.cat([p.grad.flatten() for p in o.projector.parameters()]) for o in (one, other))
    assert (ours - theirs).norm() > 1e-3 * ours.norm()


def test_the_signed_map_is_graded_where_the_positive_one_is_nothing(build, data):
    """Where the ReLU comes before the scaling, all that speaks against the match is exactly 0."""
    c5 = torch.tensor([[[[3.0, 1.0], [0.5, 2.0]], [[1.0, 4.0], [2.0, 1.0]]]], dtype=torch.float64)  # 1×2×2×2
    f = c5.mean((2, 3)).requires_grad_()
    k = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    q = f * torch.tensor([1.0, 1.0], dtype=torch.float64)
    signed, positive = (grad_cam(c5, f, q, k, 0.07, kind).detach() for kind in (True, False))
    assert ((positive == 0).sum(), (signed == 0).sum()) == (2, 1)
    assert signed.min() == positive.min() == 0.0
    assert signed.max() > 0.999
    assert abs(build()(data)["loss"] - build(cam="positive")(data)["loss"]) > 1e-4


def test_batch_and_image_cosine_differ(build, data):
    assert abs(build()(data)["loss"] - build(per_image=True)(data)["loss"]) > 1e-4


def test_the_attention_is_that_of_the_masked_key(build, data):
    assert abs(naive(build(), data) - naive(build(), data, masked=False)) > 1e-5  # or the formula could not tell


def test_masked_keys_are_not_put_into_the_queue(build, data):
    objective = build()
    k = F.normalize(objective.key_projector(objective.key_encoder(data.views[1])), dim=1)
    before = objective.queue.keys.clone()
    objective(data)
    torch.testing.assert_close(objective.queue.keys[:4], k)
    assert torch.equal(objective.queue.keys[4:], before[4:])
    assert objective.queue.position.item() == 4


def test_an_image_with_nothing_salient_gives_a_finite_loss_and_gradient(build, data):
    objective = build()
    data.masks[0].zero_()
    data.masks[1].zero_()
    terms = objective(data)
    assert terms["loss_attention"].item() == 1.0
    terms["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())


def test_what_is_differentiated_twice_is_float32_under_autocast(build, data, monkeypatch):
    seen = []

    def spy(*arguments):
        seen.extend(tensor.dtype for tensor in arguments[1:4])
        return grad_cam(*arguments)

    monkeypatch.setattr("bench.objectives.cast.grad_cam", spy)
    data.views = [view.float() for view in data.views]
    objective = build().float()
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(data)["loss"]
    loss.backward()
    assert seen == [torch.float32] * 3
    assert loss.dtype == torch.float32
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())


def test_it_trains_with_compiled_networks(build, data, monkeypatch):
    """A compiled network has no second derivative: the projector must not be called as one."""

    def refuse(*_):
        raise AssertionError("the projector was called as a whole")

    objective = build()
    monkeypatch.setattr(objective.projector, "forward", refuse)
    objective(data)["loss"].backward()


def test_views_maps_and_defaults(make):
    """The README's command: --alpha-masked 3, no --mlp, so that τ, head and views are MoCo v1's (moco/datasets.py)."""
    objective = make("cast", queue_size=8)
    query, key = objective.views(224)
    assert query == key
    assert (query.size, query.scale, query.interpolation, query.flip) == (224, (0.2, 1.0), "bilinear", 0.5)
    assert (query.jitter, query.jitter_p, query.grey) == ((0.4, 0.4, 0.4, 0.4), 0.5, 0.2)
    assert (query.blur, query.solarize, query.salient) == (0.0, 0.0, 0.2)
    assert objective.map == "saliency"
    assert (objective.alpha, objective.beta, objective.temperature, objective.momentum) == (3.0, 1.0, 0.07, 0.999)
    assert (objective.per_image, objective.cam) == (False, "signed")
    assert [tuple(p.shape) for p in objective.projector.parameters()] == [(6, 24), (6,)]
    deep = make("cast", queue_size=8, mlp=True)
    assert [tuple(p.shape) for p in deep.projector.parameters()] == [(12, 24), (12,), (6, 12), (6,)]


def test_guards(make):
    with pytest.raises(BadInput, match="view_size 32 leaves a map of one position; set view_size"):
        make("cast", queue_size=8).check(4, 32)
    with pytest.raises(BadInput, match=r"objective.queue_size is 9, no multiple of the 4 images"):
        make("cast", queue_size=9).check(4, 64)
    for settings, words in (({"alpha": 0.0, "beta": 0.0}, "objective.alpha and objective.beta are both 0; set"),):
        with pytest.raises(BadInput, match=words):
            make("cast", queue_size=8, **settings)
