"""SimCLR and its relatives: what each takes from its networks, its heads, its views, and what it refuses."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from cases import assert_same_gradients, images_batch, load
from narrow import NarrowEncoder
from torch import nn

from bench.config.load import load_recipe
from bench.data.views import BYOL_VIEWS, View
from bench.errors import BadInput
from bench.losses.contrast_by_name import VIEWS, Contrast
from bench.losses.pairs import softmax_loss, two_view_pairs
from bench.losses.uniformity import align_uniform
from bench.nn.encoder import build_encoder
from bench.nn.heads import Diagonal, FixedLowRank
from bench.objectives import build

CASES = load()
HEADS = {"hidden_dim": 12, "projection_dim": 6}
RELATIVES = ("dcl", "dclw", "simple_contrastive", "hard_contrastive", "align_uniform", "direct_clr")


def make(name="simclr", **settings):
    heads = {} if name == "direct_clr" else HEADS
    return build({"name": name, **heads, **settings}, NarrowEncoder()).double()


def embedded(objective, data):
    """g(f(v)) of both views in one forward, on a copy: statistics stay."""
    network = copy.deepcopy(objective)
    return network.projector(network.encoder(torch.cat(data.views[:2]))).chunk(2)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("simclr", {}, lambda x, y: softmax_loss(two_view_pairs(x, y), 0.1)),
        ("simclr", {"temperature": 0.5}, lambda x, y: softmax_loss(two_view_pairs(x, y), 0.5)),
        *[("simclr", {"loss": loss}, Contrast(loss).views) for loss in VIEWS],
        ("dcl", {"temperature": 0.2}, Contrast("dcl", 0.2).views),
        ("dclw", {"sigma": 0.3}, Contrast("dclw", 0.1, 0.3).views),
        ("simple_contrastive", {"negative_weight": 0.7}, Contrast("simple", negative_weight=0.7).views),
        ("hard_contrastive", {"hard_share": 0.5}, Contrast("hard", 0.3, hard_share=0.5).views),
        ("align_uniform", {"t": 1.0, "uniform_weight": 0.5}, lambda x, y: align_uniform(x, y, 1.0, 1.0, 0.5)),
    ],
)
def test_the_loss_is_that_of_the_projections_of_both_views(name, settings, expected):
    objective, data = make(name, **settings), images_batch(4, (32, 32))
    theirs = expected(*embedded(objective, data))
    torch.testing.assert_close(objective(data)["loss"], theirs)


def cross_view(x, y, temperature=0.1):
    """infoNCE(x, y)/2 + infoNCE(y, x)/2 of directclr/main.py:206-216, in loops."""
    total = 0.0
    for anchors, others in ((x, y), (y, x)):
        for i in range(len(x)):
            a = anchors[i] / anchors[i].norm()
            logits = torch.stack([a @ (row / row.norm()) for row in others]) / temperature
            total = total - torch.log_softmax(logits, 0)[i] / len(x)
    return total / 2


def test_direct_clr_normalises_after_the_cut_and_has_negatives_of_the_other_view_alone():
    objective, data = make("direct_clr", d0=10), images_batch(4, (32, 32))
    r1, r2 = (copy.deepcopy(objective.encoder)(v) for v in data.views)  # a forward for each view (main.py:171-172)
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, cross_view(r1[:, :10], r2[:, :10]))
    # to normalise before the cut leaves vectors shorter than 1
    early = [torch.nn.functional.normalize(r, dim=1)[:, :10] for r in (r1, r2)]
    wrong = torch.nn.functional.cross_entropy(early[0] @ early[1].T / 0.1, torch.arange(4))
    assert abs(wrong - loss) > 1e-3
    assert set(dict(objective.named_parameters())) == {f"encoder.{n}" for n, _ in objective.encoder.named_parameters()}
    assert objective.outputs(data.views[0])["projector"].shape == (4, 10)


def test_the_sum_of_both_views_losses_is_twice_their_mean():
    """simclr/objective.py:82-86 adds them up."""
    data = images_batch(4, (64, 64, 32))
    one, other = (make(crops=1, crop_size=32, reduction=how)(data) for how in ("mean", "sum"))
    for term in ("loss", "loss_global", "loss_crops"):
        torch.testing.assert_close(other[term], 2 * one[term])


def test_direct_clrs_part_is_360_of_2048_features():
    objective = build({"name": "direct_clr"}, build_encoder("resnet50", 0))
    assert (objective.projector.dim, objective.temperature, objective.encoder.feature_dim) == (360, 0.1, 2048)


@pytest.mark.parametrize("projector", ["none", "linear", "mlp", "diagonal", "low_rank"])
def test_direct_clrs_other_projectors_have_its_views_and_its_loss(projector):
    objective = make("direct_clr", projector=projector, projector_rank=7, **HEADS)
    data = images_batch(4, (32, 32))
    reference = copy.deepcopy(objective)
    z1, z2 = (reference.projector(reference.encoder(v)) for v in data.views)
    assert z1.shape == (4, {"linear": 6, "mlp": 6, "low_rank": 7}.get(projector, 24))
    expected = cross_view(z1, z2)
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference)
    assert objective.views(224) == BYOL_VIEWS(224)


def test_direct_clrs_mlp_and_matrix_are_those_of_its_code():
    """main.py:155-166: no biases but those of both norms."""
    shapes = [
        {name: tuple(p.shape) for name, p in build(settings, build_encoder("resnet50", 0)).projector.named_parameters()}
        for settings in ({"name": "direct_clr", "projector": kind} for kind in ("mlp", "linear"))
    ]
    norms = {"1.weight": (2048,), "1.bias": (2048,), "4.weight": (128,), "4.bias": (128,)}
    assert shapes == [{"0.weight": (2048, 2048), "3.weight": (128, 2048)} | norms, {"weight": (128, 2048)}]
    trained = {id(p) for group in make("direct_clr", projector="mlp", **HEADS).param_groups() for p in group["params"]}
    assert len(trained) == len(list(make("direct_clr", projector="mlp", **HEADS).parameters()))


def test_direct_clrs_small_crops_are_blurred_every_other_time():
    *pair, crops = make("direct_clr", d0=10, crops=4).views(224)
    assert tuple(pair) == BYOL_VIEWS(224)
    assert (crops.blur, crops.solarize, crops.count, crops.jitter) == (0.5, 0.0, 4, (0.4, 0.4, 0.2, 0.1))


def test_the_features_beyond_the_part_get_no_gradient_of_direct_clr():
    objective, data = make("direct_clr", d0=10), images_batch(4, (32, 32))
    objective(data)["loss"].backward()
    last = objective.encoder.layer4[0].bn2.weight.grad
    assert last[:10].abs().min() > 0
    assert not last[10:].any()


def test_alignment_and_uniformity_are_logged_before_their_weights():
    one, other = make("align_uniform"), make("align_uniform", align_weight=3.0, uniform_weight=0.5)
    a, b = (objective(images_batch(4, (32, 32))) for objective in (one, other))
    for term in ("alignment", "uniformity"):
        torch.testing.assert_close(a[term], b[term])
    torch.testing.assert_close(b["loss"].detach(), 3.0 * b["alignment"] + 0.5 * b["uniformity"])


# --------------------------------------------------------------------------------------------- heads


def test_simclrs_head_has_a_norm_after_both_layers_the_last_without_a_shift():
    head = build({"name": "simclr"}, build_encoder("resnet50", 0)).projector
    assert [type(layer) for layer in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]
    assert {name: tuple(p.shape) for name, p in head.named_parameters() if p.requires_grad} == {
        "0.weight": (2048, 2048),
        "1.weight": (2048,),
        "1.bias": (2048,),
        "3.weight": (128, 2048),
        "4.weight": (128,),
    }
    assert not head[4].bias.any()
    deeper = build({"name": "simclr", "projector_layers": 3, **HEADS}, NarrowEncoder()).projector
    assert [m.out_features for m in deeper if isinstance(m, nn.Linear)] == [12, 12, 6]
    assert len([m for m in deeper if isinstance(m, nn.ReLU)]) == 2


def test_no_optimizer_group_has_the_shift_that_stays_0():
    objective = make()
    trained = {id(p) for group in objective.param_groups() for p in group["params"]}
    assert id(objective.projector[4].bias) not in trained
    assert id(objective.projector[4].weight) in trained


def test_no_projector_is_the_identity():
    objective = make(projector="none")
    x = torch.randn(3, 24, dtype=torch.float64)
    assert torch.equal(objective.projector(x), x)
    assert not list(objective.projector.parameters())


def test_a_linear_projector_is_one_matrix():
    projector = make(projector="linear").projector
    assert {name: tuple(p.shape) for name, p in projector.named_parameters()} == {"weight": (6, 24)}


def test_a_diagonal_projector_has_one_trainable_weight_a_dimension():
    projector = make(projector="diagonal").projector
    assert isinstance(projector, Diagonal)
    assert {name: tuple(p.shape) for name, p in projector.named_parameters()} == {"weight": (24,)}
    x = torch.randn(3, 24, dtype=torch.float64)
    assert torch.equal(projector(x), x)  # at the start
    with torch.no_grad():
        projector.weight.copy_(torch.arange(24))
    torch.testing.assert_close(projector(x), x @ torch.diag(torch.arange(24, dtype=torch.float64)))


def test_a_low_rank_projector_is_fixed_and_of_its_rank():
    projector = make(projector="low_rank", projector_rank=8).projector
    assert isinstance(projector, FixedLowRank)
    assert not list(projector.parameters())
    weight = projector.state_dict()["weight"]  # it is a part of the checkpoint
    torch.testing.assert_close(weight.T @ weight, torch.eye(8, dtype=torch.float64), atol=1e-6, rtol=0)
    x = torch.randn(30, 24, dtype=torch.float64)
    assert torch.linalg.matrix_rank(projector(x)) == 8
    # cosines are those of the square map U·diag(1…1, 0…0)·Vᵀ of that rank, whatever U
    u = torch.linalg.qr(torch.randn(24, 24, dtype=torch.float64))[0][:, :8]
    torch.testing.assert_close(projector(x) @ projector(x).T, (projector(x) @ u.T) @ (projector(x) @ u.T).T)


# --------------------------------------------------------------------------------------- views and crops


def test_views_are_simclrs_and_small_crops_are_drawn_alike():
    view = View(size=224, scale=(0.08, 1.0), jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.8, grey=0.2, blur=0.5)
    assert make().views(224) == (view, view)
    half = make(jitter_strength=0.5).views(224)[0]
    assert half.jitter == (0.4, 0.4, 0.4, 0.1)
    *pair, small = make(crops=4).views(224)
    assert tuple(pair) == (view, view)
    assert (small.size, small.scale, small.count, small.jitter) == (96, (0.05, 0.14), 4, view.jitter)
    first = make("align_uniform").views(224)[0]
    assert (first.scale, first.jitter, first.jitter_p, first.blur) == ((0.08, 1.0), (0.4, 0.4, 0.4, 0.4), 1.0, 0.0)
    assert not first.grey_first  # examples/stl10/main.py:61-62 of ssnl/align_uniform


def test_with_small_crops_every_anchor_counts_alike():
    """3 crops: a view has 4 anchors, the other view among them."""
    objective, data = make(crops=3, crop_size=32), images_batch(4, (64, 64, 32, 32, 32))
    network = copy.deepcopy(objective)
    z1, z2 = network.projector(network.encoder(torch.cat(data.views[:2]))).chunk(2)
    crops = network.projector(network.encoder(torch.cat(data.views[2:]))).chunk(3)
    contrast = Contrast()
    expected = (contrast.views(z1, z2) + sum(contrast.crops(c, z1, z2) for c in crops)) / 4
    terms = objective(data)
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["loss_global"], contrast.views(z1, z2).detach())
    torch.testing.assert_close((terms["loss_global"] + 3 * terms["loss_crops"]) / 4, terms["loss"].detach())


def cosine(x, y):
    return x @ y / (x.norm() * y.norm())


def of_anchor(name, positive, negatives, weight=1.0):
    """An anchor's loss: of DCL and DCLW at τ = 0.1, of the hardest fifth at τ = 0.3, or of their plain mean."""
    if name in ("dcl", "dclw"):
        return -weight * positive / 0.1 + torch.log(sum(torch.exp(s / 0.1) for s in negatives))
    hardest = sorted(negatives, reverse=True)[: max(1, math.ceil(0.4 * len(negatives)))]
    if name == "simple_contrastive":
        return -positive + 0.7 * sum(hardest) / len(hardest)
    below = torch.exp(positive / 0.3) + sum(torch.exp(s / 0.3) for s in hardest)
    return -positive / 0.3 + torch.log(below)


@pytest.mark.parametrize("crops", [0, 3])
@pytest.mark.parametrize("name", ["dcl", "dclw", "simple_contrastive", "hard_contrastive"])
def test_small_crops_are_anchors_with_both_views_as_positives_in_a_mean_that_keeps_its_scale(name, crops):
    settings = {
        "hard_contrastive": {"hard_share": 0.4},
        "simple_contrastive": {"hard_share": 0.4, "negative_weight": 0.7},
    }
    objective = make(name, crops=crops, crop_size=32, **settings.get(name, {}))
    data = images_batch(4, (64, 64, *[32] * crops))
    reference = copy.deepcopy(objective)
    z = list(reference.projector(reference.encoder(torch.cat(data.views[:2]))).chunk(2))
    if crops:
        z += reference.projector(reference.encoder(torch.cat(data.views[2:]))).chunk(crops)
    total, pairs = 0.0, [(a, b) for a in range(2 + crops) for b in (0, 1) if a != b]
    for a, b in pairs:
        positives = [cosine(z[a][i], z[b][i]) for i in range(4)]
        hardness = [torch.exp(s / 0.5) for s in positives]
        for i in range(4):
            negatives = [cosine(z[a][i], view[j]) for view in z[:2] for j in range(4) if j != i]
            w = (2 - hardness[i] / (sum(hardness) / 4)).detach() if name == "dclw" else 1.0
            total = total + of_anchor(name, positives[i], negatives, w) / (4 * len(pairs))
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, total)
    loss.backward()
    total.backward()
    assert_same_gradients(objective, reference)


@pytest.mark.parametrize("name", ["dcl", "dclw", "simple_contrastive", "hard_contrastive"])
def test_relatives_have_simclrs_views_and_refuse_what_it_refuses(name):
    assert make(name, crops=4).views(224) == make(crops=4).views(224)
    assert make(name).views(224) == make().views(224)
    with pytest.raises(BadInput, match="crop_size is 96, no smaller than the views; set it below view_size, 96"):
        make(name, crops=2).check(4, 96)
    with pytest.raises(BadInput, match=r"crops is -1; set it to 0"):
        make(name, crops=-1)


def test_a_small_crop_is_no_ones_negative():
    """Another image's crop changes nothing of the loss of the global views."""
    data = images_batch(4, (64, 64, 32))
    changed = copy.deepcopy(data)
    changed.views[2] = torch.randn_like(changed.views[2])
    one, other = make(crops=1, crop_size=32)(data), make(crops=1, crop_size=32)(changed)
    torch.testing.assert_close(one["loss_global"], other["loss_global"])
    assert abs(one["loss_crops"] - other["loss_crops"]) > 1e-6


# ------------------------------------------------------------------------------------- configs and guards


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "ntxent"}, "did you mean nt_xent"),
        ({"projector": "diag"}, "did you mean diagonal"),
        ({"projector": "low_rank", "projector_rank": 25}, "projector_rank is 25; set it within 1 and the 24 features"),
        ({"projector_layers": 0}, "projector_layers is 0; set it to 1 or more"),
        ({"projection_dim": 0}, "projection_dim is 0; set it to 1 or more"),
        ({"crops": -1}, r"crops is -1; set it to 0 or more"),
        ({"crops": 1, "loss": "align_uniform"}, r"set objective\.crops to 0"),
        ({"crop_size": 16}, "crop_size is 16; set it to 32 or more"),
        ({"crop_scale": (0.2, 0.1)}, "give two ascending shares"),
        ({"jitter_strength": -1.0}, "jitter_strength is -1.0; set it to 0 or more"),
        ({"temperature": 0.0}, "temperature is 0.0; set it above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        make(**settings)


def test_other_guards():
    with pytest.raises(BadInput, match="crop_size is 96, no smaller than the views; set it below view_size, 96"):
        make(crops=2).check(4, 96)
    make(crops=2).check(4, 97)
    make().check(4, 64)
    with pytest.raises(BadInput, match="d0 is 25; set it within 1 and the 24 features"):
        make("direct_clr", d0=25)
    with pytest.raises(BadInput, match=r"alpha is 0\.0; set it above 0"):
        make("align_uniform", alpha=0.0)


def test_recipes_are_the_papers():
    # The paper's recipe, and the command of the README (64.5): epochs, weight decay, layers of the head.
    for name, differs in (("imagenet_simclr_1000", (1000, 1e-6, 2)), ("imagenet_simclr", (100, 1e-4, 3))):
        simclr = load_recipe(name)
        layers = simclr.objective["projector_layers"]
        assert (simclr.epochs, simclr.optimizer.weight_decay, layers) == differs
        assert (simclr.optimizer.name, simclr.optimizer.lr * 4096 / 256) == ("lars", pytest.approx(4.8))
        assert (simclr.batch_size, simclr.schedule.warmup_epochs, simclr.sync_bn) == (4096, 10, True)
        assert (simclr.objective["temperature"], simclr.objective["reduction"]) == (0.1, "sum")
    direct = load_recipe("imagenet_direct_clr")  # main.py:27-36 and utils.py:168-184
    assert (direct.optimizer.name, direct.optimizer.lr * 4096 / 256) == ("lars", pytest.approx(4.8))
    assert (direct.batch_size, direct.epochs, direct.optimizer.weight_decay) == (4096, 100, 1e-6)
    assert (direct.schedule.warmup_epochs, direct.schedule.final_ratio) == (10, 0.001)
    dcl = load_recipe("imagenet_dcl")
    assert (dcl.batch_size, dcl.optimizer.lr, dcl.optimizer.lr_batch, dcl.epochs) == (256, 1.2, None, 200)
    au = load_recipe("imagenet_align_uniform")
    assert (au.optimizer.name, au.optimizer.lr, au.batch_size, au.optimizer.weight_decay) == ("sgd", 0.12, 768, 1e-4)
    assert [round(m * au.epochs) for m in au.schedule.milestones] == [155, 170, 185]
