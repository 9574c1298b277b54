"""Small crops in the losses of pairs, positions and regions, each against sums that are written out."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from cases import apart, assert_same_gradients, images_batch
from narrow import NarrowEncoder

from bench.data.views import BYOL_VIEWS, LOCAL_CROPS, MOCO_V2_VIEWS, View
from bench.errors import BadInput
from bench.losses.contrastive import cross_view_nce
from bench.losses.uniformity import alignment, uniformity
from bench.losses.variance_covariance import view_terms
from bench.nn.heads import per_position
from bench.objectives import build
from bench.objectives.contrastive_2006 import dissimilar, similar
from bench.objectives.detcon import detcon, regions_at
from bench.objectives.pixpro import dense_contrast, dense_similarity, propagate

N, HEADS = 4, {"hidden_dim": 12, "projection_dim": 6}
SMALL = {
    "align_uniform": HEADS,
    "direct_clr": {"d0": 10},
    "contrastive_2006": {"dim": 6, "margin": 3.0},
    "pixpro": HEADS,
    "detcon": {"regions": 3, **HEADS},
    "vicregl": {"projection_dim": 10, "local_dim": 6, "matches": (3, 2)},
}
SMALLER = sorted(set(SMALL) - {"contrastive_2006", "direct_clr", "vicregl"})  # these refuse crops as large as the views


def make(name, **settings):
    """In float64, with the target away from the online network."""
    return apart(build({"name": name, **SMALL[name], **settings}, NarrowEncoder()).double())


def data_of(crops, full=96, small=64):
    """Views and crops with boxes that overlap, and maps of blocks of 16 pixels."""
    sizes = (full, full, *[small] * crops)
    generator = torch.Generator().manual_seed(5)
    maps = [torch.randint(3, (N, s // 16, s // 16), generator=generator, dtype=torch.uint8) for s in sizes]
    masks = [each.repeat_interleave(16, 1).repeat_interleave(16, 2) for each in maps]
    return replace(images_batch(N, sizes), masks=masks)


def unit(x):
    return x / x.norm()


def together(network, views):
    """The network on full views in one forward, then on small crops in another."""
    outputs = list(network(torch.cat(views[:2])).chunk(2))
    return outputs + (list(network(torch.cat(views[2:])).chunk(len(views) - 2)) if len(views) > 2 else [])


def one_by_one(network, views):
    """The network on each full view by itself, then on small crops in one forward."""
    outputs = [network(view) for view in views[:2]]
    return outputs + (list(network(torch.cat(views[2:])).chunk(len(views) - 2)) if len(views) > 2 else [])


def pairs_of(views):
    """(anchor, full view) for every anchor but a full view with itself."""
    return [(a, b) for a in range(views) for b in (0, 1) if a != b]


def naive_align_uniform(o, data):
    z = [[unit(row) for row in each] for each in together(lambda v: o.projector(o.encoder(v)), data.views)]
    pairs = pairs_of(len(z))
    align = sum(((z[a][i] - z[b][i]) ** 2).sum() for a, b in pairs for i in range(N)) / (N * len(pairs))
    spread = 0.0
    for rows in z:
        values = [torch.exp(-2 * ((rows[i] - rows[j]) ** 2).sum()) for i in range(N) for j in range(i)]
        spread = spread + torch.log(sum(values) / len(values)) / len(z)
    return align + spread


def naive_direct_clr(o, data):
    z = [[unit(row[:10]) for row in each] for each in one_by_one(o.encoder, data.views)]
    pairs, total = pairs_of(len(z)), 0.0
    for a, b in pairs:
        for i in range(N):
            logits = torch.stack([z[a][i] @ row / 0.1 for row in z[b]])
            total = total - torch.log_softmax(logits, 0)[i] / (N * len(pairs))
    return total


def naive_contrastive_2006(o, data):
    g = one_by_one(lambda v: o.projector(o.encoder(v)), data.views)
    pairs, near, far = pairs_of(len(g)), 0.0, 0.0
    for a, b in pairs:
        for i in range(N):
            near = near + 0.5 * (g[a][i] - g[b][i]).norm() ** 2 / (N * len(pairs))
            for j in range(N):
                if i != j:
                    short = torch.relu(3.0 - (g[a][i] - g[b][j]).norm())
                    far = far + 0.5 * short**2 / (N * (N - 1) * len(pairs))
    return near + far


def spots(box, side):
    """Centres of side×side bins, row by row, and the bins' diagonal."""
    x0, y0, x1, y1, flipped = box.tolist()
    across = [(c + 0.5) / side for c in range(side)]
    xs = [x1 - (x1 - x0) * a if flipped else x0 + (x1 - x0) * a for a in across]
    ys = [y0 + (y1 - y0) * a for a in across]
    return [(x, y) for y in ys for x in xs], math.hypot((x1 - x0) / side, (y1 - y0) / side)


def naive_pixpro(o, data):
    x = one_by_one(lambda v: per_position(o.projector, o.encoder.last_map(v)), data.views)
    y = [propagate(each, o.transform(each), 2.0) for each in x] if o.loss == "pixpro" else x
    with torch.no_grad():
        z = [per_position(o.target_projector, o.target_encoder.last_map(v)) for v in data.views[:2]]
    total, pairs = 0.0, pairs_of(len(x))
    for a, b in pairs:
        for i in range(N):
            centres, diagonal = spots(data.boxes[a][i], y[a].shape[1])
            other, second = spots(data.boxes[b][i], z[b].shape[1])
            near = [[math.dist(p, q) / max(diagonal, second) < 0.7 for q in other] for p in centres]
            rows, columns = [[unit(v) for v in m[i].flatten(0, 1)] for m in (y[a], z[b])]
            cosines = [[r @ c for c in columns] for r in rows]
            some = [k for k, row in enumerate(near) if any(row)]
            if o.loss == "pixpro":
                outputs = [cosines[k][m] for k in some for m, is_near in enumerate(near[k]) if is_near]
                value = -2 * sum(outputs) / len(outputs) if outputs else 0.0
            else:
                shares = []
                for k in some:
                    values = [torch.exp(c / 0.3) for c in cosines[k]]
                    shares.append(
                        -torch.log(sum(v for v, is_near in zip(values, near[k], strict=True) if is_near) / sum(values))
                    )
                value = sum(shares) / len(shares) if shares else 0.0
            total = total + 2 * value / (N * len(pairs))
    return total


def naive_detcon(o, data):
    maps = one_by_one(o.encoder.last_map, data.views)
    torch.manual_seed(0)
    sampled = [o._sample(mask, c5) for mask, c5 in zip(data.masks, maps, strict=True)]
    m = 3

    def vectors(head, c5, mask, ids):
        at = regions_at(mask, *c5.shape[2:])
        flat = [c5[i].flatten(1)[:, at[i] == ids[i, r]].mean(1) for i in range(N) for r in range(m)]
        return head(torch.stack(flat))

    p = [vectors(o.projector, c5, k, ids) for c5, k, (ids, _) in zip(maps, data.masks, sampled, strict=True)]
    if o.variant == "b":
        p = [o.predictor(each) for each in p]
        with torch.no_grad():
            targets = [o.target_encoder.last_map(v) for v in data.views[:2]]
            t = [vectors(o.target_projector, targets[k], data.masks[k], sampled[k][0]) for k in (0, 1)]
    else:
        t = p[:2]
    p, t = ([[unit(row) for row in each] for each in of] for of in (p, t))
    ids = [each.flatten().tolist() for each, _ in sampled]
    total, pairs = 0.0, pairs_of(len(p))
    for a, b in pairs:
        for row in range(N * m):
            image = row // m
            mates = range(image * m, image * m + m)
            number = ids[a][row]
            positives = [k for k in mates if ids[b][k] == number]
            if not positives:
                continue
            same_view = 1 - b
            without = [k for k in mates if ids[same_view][k] == number]
            logits = [p[a][row] @ t[b][k] / 0.1 for k in range(N * m)]
            logits += [p[a][row] @ t[same_view][k] / 0.1 for k in range(N * m) if k not in without]
            below = torch.logsumexp(torch.stack(logits), 0)
            outputs = sum(below - p[a][row] @ t[b][k] / 0.1 for k in positives) / len(positives)
            repeated = sum(ids[a][k] == number for k in mates)
            total = total + 2 * outputs / repeated / (N * m * len(pairs))
    return total


def naive_vicregl(o, data):
    pooled = one_by_one(lambda v: o.projector(o.encoder.last_map(v).mean((2, 3))), data.views)
    full = replace(data, views=data.views[:2], boxes=data.boxes[:2])
    local = copy.deepcopy(o)(full)
    pairs, d = pairs_of(len(pooled)), pooled[0].shape[1]
    invariance = sum(((pooled[a] - pooled[b]) ** 2).sum() for a, b in pairs) / (N * d * len(pairs))
    spread, together_ = 0.0, 0.0
    for z in pooled:
        centred = z - z.mean(0)
        matrix = centred.T @ centred / (N - 1)
        spread = spread + torch.relu(1 - (matrix.diagonal() + 1e-4).sqrt()).mean() / len(pooled)
        off = matrix - torch.diag(matrix.diagonal())
        together_ = together_ + (off**2).sum() / d / len(pooled)
    return 25 * invariance + 25 * spread + together_, local


NAIVE = {
    ("align_uniform", ""): naive_align_uniform,
    ("direct_clr", ""): naive_direct_clr,
    ("contrastive_2006", ""): naive_contrastive_2006,
    ("pixpro", "pixpro"): naive_pixpro,
    ("pixpro", "pixcontrast"): naive_pixpro,
    ("detcon", "b"): naive_detcon,
    ("detcon", "s"): naive_detcon,
}
VARIANTS = {"pixpro": "loss", "detcon": "variant"}


@pytest.mark.slow
@pytest.mark.parametrize("crops", [0, 1, 3])
@pytest.mark.parametrize(("name", "variant"), NAIVE)
def test_every_anchor_and_full_view_count_alike_in_value_and_gradient(name, variant, crops):
    chosen = {VARIANTS[name]: variant} if variant else {}
    objective, data = make(name, crops=crops, crop_size=64, **chosen), data_of(crops)
    reference = copy.deepcopy(objective)
    expected = NAIVE[name, variant](reference, data)
    torch.manual_seed(0)
    terms = objective(data)
    torch.testing.assert_close(terms["loss"], expected)
    terms["loss"].backward()
    expected.backward()
    assert_same_gradients(objective, reference)
    if "loss_crops" in terms:
        torch.testing.assert_close(
            (terms["loss_global"] + crops * terms["loss_crops"]) / (1 + crops), terms["loss"].detach()
        )


@pytest.mark.parametrize("crops", [0, 2])
@pytest.mark.parametrize("flip_places", [False, True])
def test_vicregls_global_term_has_the_crops_and_its_local_terms_have_not(crops, flip_places):
    objective = make("vicregl", crops=crops, crop_size=64, alpha=1.0, flip_places=flip_places)
    data = data_of(crops)
    reference = copy.deepcopy(objective)
    expected, local = naive_vicregl(reference, data)
    terms = objective(data)
    torch.testing.assert_close(terms["loss"], expected)
    for term in ("loss_feature", "loss_location"):
        torch.testing.assert_close(terms[term], local[term])
    terms["loss"].backward()
    expected.backward()
    assert_same_gradients(objective.encoder, reference.encoder)


# --------------------------------------------------------------------- without crops, bit for bit as it was


def plain(name, o, data):
    """The loss of two views as it was before there were crops."""
    v1, v2 = data.views
    (b1, b2), n = data.boxes, len(v1)
    if name == "align_uniform":
        z1, z2 = o.projector(o.encoder(torch.cat(data.views))).split(n)
        return 1.0 * alignment(z1, z2, 2.0) + 1.0 * (0.5 * (uniformity(z1, 2.0) + uniformity(z2, 2.0)))
    if name == "direct_clr":
        z1, z2 = (o.encoder(v)[:, :10] for v in data.views)
        return 0.5 * (cross_view_nce(z1[:n], z2, 0.1) + cross_view_nce(z2[:n], z1, 0.1))
    if name == "contrastive_2006":
        g1, g2 = (o.projector(o.encoder(v)) for v in data.views)
        return similar(g1, g2) + dissimilar(g1, g2, 3.0)
    if name == "vicregl":
        z = [o.projector(o.encoder.pool(o.encoder.last_map(v))) for v in data.views]
        return o._weighted(view_terms(z))
    if name == "pixpro":
        x1, x2 = (per_position(o.projector, o.encoder.last_map(v)) for v in data.views)
        with torch.no_grad():
            z1, z2 = (per_position(o.target_projector, o.target_encoder.last_map(v)) for v in data.views)
        if o.loss == "pixcontrast":
            return dense_contrast(x1, z2, b1, b2, 0.3, 0.7) + dense_contrast(x2, z1, b2, b1, 0.3, 0.7)
        y1, y2 = (propagate(x, o.transform(x), 2.0) for x in (x1, x2))
        return -2.0 * (dense_similarity(y1, z2, b1, b2, 0.7) + dense_similarity(y2, z1, b2, b1, 0.7))
    c1, c2 = o.encoder.last_map(v1), o.encoder.last_map(v2)
    torch.manual_seed(0)
    (ids1, w1), (ids2, w2) = o._sample(data.masks[0], c1), o._sample(data.masks[1], c2)
    z1, z2 = o._project(o.projector, c1, w1), o._project(o.projector, c2, w2)
    if o.variant == "s":
        return detcon(z1, z2, z1, z2, ids1, ids2, 0.1)
    p1, p2 = (o.predictor(z.flatten(0, 1)).view_as(z) for z in (z1, z2))
    with torch.no_grad():
        t1, t2 = (o._project(o.target_projector, o.target_encoder.last_map(v), w) for v, w in ((v1, w1), (v2, w2)))
    return detcon(p1, p2, t1, t2, ids1, ids2, 0.1)


@pytest.mark.parametrize(("name", "variant"), [*NAIVE, ("vicregl", "")])
def test_without_crops_value_and_gradient_are_bit_for_bit_those_of_two_views(name, variant):
    chosen = {VARIANTS[name]: variant} if variant else {"alpha": 1.0} if name == "vicregl" else {}
    objective, data = make(name, **chosen), data_of(0)
    reference = copy.deepcopy(objective)
    expected = plain(name, reference, data)
    torch.manual_seed(0)
    terms = objective(data)
    assert not {"loss_crops"} & set(terms)
    assert torch.equal(terms["loss"], expected)
    terms["loss"].backward()
    expected.backward()
    assert_same_gradients(objective.encoder, reference.encoder, rtol=0, atol=0)


# ------------------------------------------------------------------------------------- views and guards


@pytest.mark.parametrize("name", ["pixpro", "detcon"])
def test_crops_of_one_position_and_crops_that_share_nothing_are_no_error(name):
    objective, data = make(name, crops=1, crop_size=32), data_of(1, small=32)
    data.boxes[0][:], data.boxes[1][:] = (torch.tensor([0.0, 0.0, 0.3, 0.3, 0.0]).double() for _ in range(2))
    data.boxes[2][:] = torch.tensor([0.8, 0.8, 1.0, 1.0, 0.0]).double()
    data.masks[2][:] = 9  # a region that neither view has
    terms = objective(data)
    assert terms["loss"].isfinite()
    assert terms["loss_crops"] == 0


def test_crops_are_drawn_as_the_views_are():
    crops = {"crops": 4, "crop_size": 64, "crop_scale": (0.05, 0.2)}
    first = make("align_uniform").views(224)[0]
    pixpro = tuple(replace(view, interpolation="bilinear") for view in (*BYOL_VIEWS(224), View()))
    for name, pair, like in (
        ("align_uniform", (first, first), first),
        ("direct_clr", BYOL_VIEWS(224), View()),
        ("contrastive_2006", MOCO_V2_VIEWS(224), MOCO_V2_VIEWS(224)[0]),
        ("pixpro", pixpro[:2], pixpro[2]),
        ("detcon", BYOL_VIEWS(224), View()),
        ("vicregl", BYOL_VIEWS(224), View()),
    ):
        assert make(name).views(224) == pair
        assert make(name, **crops).views(224) == (*pair, *LOCAL_CROPS(like, 4, 64, (0.05, 0.2)))


@pytest.mark.parametrize("name", SMALL)
def test_crops_that_make_no_sense_are_refused(name):
    for settings, words in (
        ({"crops": -1}, r"objective\.crops is -1; set it to 0 or more"),
        ({"crop_size": 31}, r"objective\.crop_size is 31; set it to 32 or more"),
        ({"crop_scale": (0.0, 0.2)}, r"objective\.crop_scale is \(0\.0, 0\.2\); give two ascending shares"),
    ):
        with pytest.raises(BadInput, match=words):
            make(name, **settings)


@pytest.mark.parametrize("name", SMALLER)
def test_crops_no_smaller_than_the_views_are_refused(name):
    make(name, crops=2).check(4, 97)
    make(name).check(4, 96)
    with pytest.raises(BadInput, match="crop_size is 96, no smaller than the views; set it below view_size, 96"):
        make(name, crops=2).check(4, 96)
