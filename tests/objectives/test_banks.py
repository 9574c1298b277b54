"""Objectives with memory banks: the order of draws, scores and updates, constants, what each bank holds."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import assert_same_gradients, images_batch
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.nn.colour import lab, unnormalised
from bench.nn.memory_bank import MemoryBank
from bench.objectives import build
from bench.objectives.cmc import split

SIZES = {"instance_discrimination": (32,), "cmc": (32,), "pirl": (32,) * 10}
ALL = pytest.mark.parametrize("name", SIZES)
M, K, TAU = 12, 5, 0.07


def make(name, **settings):
    puzzle = {"puzzle_size": 99, "patch_size": 32} if name == "pirl" else {}
    all_settings = {"name": name, "negatives": K, "dim": 6, "bank_momentum": 0.7, **puzzle, **settings}
    return build(all_settings, NarrowEncoder(), num_images=M).double()


def data(name, n=4, seed=0):
    batch = images_batch(n, SIZES[name], seed)
    batch.indices = torch.tensor([7, 2, 9, 4])[:n]
    return batch


def run(objective, batch):
    torch.manual_seed(0)
    return objective(batch)


def negatives(n=4):
    torch.manual_seed(0)
    return torch.randint(M, (n, K))


def term(z, bank, indices, drawn, constant=None):
    """−log h − Σ log(1 − h) with the bank's rows, image by image; Z from these very scores unless it is given."""
    scores = []
    for i, image in enumerate(indices):
        unit = z[i] / z[i].norm()
        scores.append(torch.stack([torch.exp(unit @ bank[row] / TAU) for row in [image, *drawn[i]]]))
    constant = (M * torch.stack(scores).mean()).detach() if constant is None else constant
    total = 0.0
    for row in scores:
        p = row / constant
        total = total - torch.log(p[0] / (p[0] + K / M)) - torch.log((K / M) / (p[1:] + K / M)).sum()
    return total / len(indices), constant


def test_instance_discrimination_is_its_formula_and_z_stays_that_of_the_first_batch():
    objective, batch = make("instance_discrimination"), data("instance_discrimination")
    reference = copy.deepcopy(objective)
    constant = None
    for number in range(2):
        batch = data("instance_discrimination", seed=number)
        bank = F.normalize(objective.bank.vectors.clone(), dim=1)
        z = reference.projector(reference.encoder(batch.views[0]))
        expected, constant = term(z, bank, batch.indices, negatives(), constant)
        loss = run(objective, batch)["loss"]
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
        assert objective.log_z.value.exp().item() == pytest.approx(constant.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("loss", ["nce", "softmax"])
def test_small_crops_of_instance_discrimination_are_queries_of_the_same_rows_and_never_enter_the_bank(loss):
    objective = make("instance_discrimination", loss=loss, crops=2, crop_size=32)
    without, batch = make("instance_discrimination", loss=loss), data("instance_discrimination")
    batch.views = images_batch(4, (64, 32, 32)).views
    reference = copy.deepcopy(objective)
    bank = objective.bank.vectors.clone()
    v = reference.projector(reference.encoder(batch.views[0]))
    small = reference.projector(reference.encoder(torch.cat(batch.views[1:]))).chunk(2)
    if loss == "nce":
        first, constant = term(v, bank, batch.indices, negatives())  # Z is of the full view
        terms = [first, *(term(z, bank, batch.indices, negatives(), constant)[0] for z in small)]
    else:
        terms = []
        for z in (v, *small):
            rows = [[image, *drawn] for image, drawn in zip(batch.indices, negatives(), strict=True)]
            scores = [torch.stack([z[i] / z[i].norm() @ bank[j] / TAU for j in row]) for i, row in enumerate(rows)]
            terms.append(sum(torch.logsumexp(row, 0) - row[0] for row in scores) / 4)
    expected, value = sum(terms) / 3, run(objective, batch)["loss"]
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
    value.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=1e-4, atol=1e-7)
    batch.views = batch.views[:1]
    run(without, batch)
    assert torch.equal(objective.bank.vectors, without.bank.vectors)


def test_instance_discriminations_small_crops_are_drawn_like_its_view():
    view, crops = make("instance_discrimination", crops=4).views(224)
    assert (crops.size, crops.scale, crops.count) == (96, (0.05, 0.14), 4)
    assert crops == replace(view, size=96, scale=(0.05, 0.14), count=4)
    with pytest.raises(BadInput, match="crops is -1; set it to 0"):
        make("instance_discrimination", crops=-1)


@ALL
def test_z_is_part_of_the_state_and_never_recomputed(name):
    objective = make(name)
    run(objective, data(name))
    constants = {key: value.clone() for key, value in objective.state_dict().items() if key.startswith("log_z")}
    assert len(constants) == (4 if name == "cmc" else 2)  # CMC has one for each view
    resumed = make(name)
    resumed.load_state_dict(objective.state_dict())
    run(resumed, data(name, seed=1))
    assert all(torch.equal(resumed.state_dict()[key], value) for key, value in constants.items())
    fresh = make(name)
    run(fresh, data(name, seed=1))
    assert any(not torch.equal(fresh.state_dict()[key], value) for key, value in constants.items())


@ALL
def test_the_loss_sees_the_bank_as_it_was(name):
    """Updated before scoring, an image would be compared with itself: the loss would be another one."""
    objective, other = make(name), make(name)
    before = run(objective, data(name))["loss"]
    for key, bank in objective.named_buffers():
        if key.endswith("vectors"):
            other.get_buffer(key).copy_(bank)
    assert abs(run(other, data(name))["loss"] - before) > 1e-3


@ALL
def test_only_the_rows_of_the_batch_move_and_keep_the_share_that_is_set_of_themselves(name):
    objective, batch = make(name), data(name)
    reference = copy.deepcopy(objective)
    run(objective, batch)
    if name == "cmc":
        grey, ab = split(batch.views[0])
        embeddings = {
            "l_bank.vectors": reference.projector(reference.encoder(grey)),
            "ab_bank.vectors": reference.ab_projector(reference.ab_encoder(ab)),
        }
    else:  # of PIRL, the image's embedding alone: patches never enter
        embeddings = {"bank.vectors": reference.projector(reference.encoder(batch.views[0]))}
    for key, z in embeddings.items():
        before, after = reference.get_buffer(key), objective.get_buffer(key)
        expected = F.normalize(0.7 * before[batch.indices] + 0.3 * F.normalize(z, dim=1), dim=1)
        torch.testing.assert_close(after[batch.indices], expected.detach())
        still = [row for row in range(M) if row not in batch.indices.tolist()]
        assert torch.equal(after[still], before[still])
        assert not after.requires_grad


@ALL
def test_softmax_is_infonce_over_the_images_row_and_the_drawn_ones_without_z(name):
    objective, batch = make(name, loss="softmax"), data(name)
    terms = run(objective, batch)
    assert not any(value.item() for key, value in objective.state_dict().items() if key.startswith("log_z"))
    if name == "instance_discrimination":
        reference = make(name)
        z, drawn = reference.projector(reference.encoder(batch.views[0])), negatives()
        expected = 0.0
        for i, image in enumerate(batch.indices):
            unit = z[i] / z[i].norm()
            row = torch.stack([unit @ reference.bank.vectors[j] / TAU for j in [image, *drawn[i]]])
            expected = expected + (torch.logsumexp(row, 0) - row[0]) / 4
        torch.testing.assert_close(terms["loss"], expected)


def test_cmc_is_each_view_against_the_other_views_bank():
    objective, batch = make("cmc"), data("cmc")
    reference = copy.deepcopy(objective)
    grey, ab = split(batch.views[0])
    z_l, z_ab = reference.projector(reference.encoder(grey)), reference.ab_projector(reference.ab_encoder(ab))
    drawn = negatives()
    loss_l, _ = term(z_l, F.normalize(reference.ab_bank.vectors, dim=1), batch.indices, drawn)
    loss_ab, _ = term(z_ab, F.normalize(reference.l_bank.vectors, dim=1), batch.indices, drawn)
    terms = run(objective, batch)
    torch.testing.assert_close(terms["loss_l"], loss_l.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(terms["loss_ab"], loss_ab.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(terms["loss"].detach(), terms["loss_l"] + terms["loss_ab"])
    assert not torch.equal(reference.l_bank.vectors, reference.ab_bank.vectors)
    assert not torch.equal(reference.encoder.conv1.weight, reference.ab_encoder.conv1.weight)


def test_cmc_gives_one_trunk_no_colour_and_the_other_no_lightness():
    images = images_batch(2, (8,)).views[0]
    grey, ab = split(images)
    pixels = unnormalised(grey)
    torch.testing.assert_close(pixels[:, 0], pixels[:, 1])  # a grey image, normalised as any other
    torch.testing.assert_close(pixels[:, 0], pixels[:, 2])
    torch.testing.assert_close(100 * pixels[:, 0], lab(images)[:, 0], rtol=1e-6, atol=1e-6)
    assert not ab[:, 2].any()
    torch.testing.assert_close(ab[:, 0] * 92.208 + 6.025, lab(images)[:, 1])
    torch.testing.assert_close(ab[:, 1] * 101.1675 - 6.6895, lab(images)[:, 2])


def test_pirl_weighs_image_and_puzzle_whose_patches_are_in_a_random_order_with_one_constant_z():
    """The constant is measured on the puzzle's scores (VISSL's loss goes through the patches first)."""
    objective, batch = make("pirl", patch_weight=0.3), data("pirl")
    reference = copy.deepcopy(objective)
    v, *t = batch.views
    torch.manual_seed(0)
    order = torch.rand(4, 9).argsort(dim=1)
    drawn = torch.randint(M, (4, K))
    assert not torch.equal(order[0], torch.arange(9))
    f = reference.projector(reference.encoder(v))
    together = torch.stack(t, 1).flatten(0, 1)  # one forward of all patches: their norms see them together
    each = reference.patch_projector(reference.encoder(together)).view(4, 9, 6)
    g = reference.puzzle_projector(torch.stack([torch.cat([each[i, j] for j in order[i]]) for i in range(4)]))
    bank = F.normalize(reference.bank.vectors, dim=1)
    puzzled, constant = term(g, bank, batch.indices, drawn)
    image, _ = term(f, bank, batch.indices, drawn, constant)
    terms = run(objective, batch)
    torch.testing.assert_close(terms["loss_image"], image.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(terms["loss_patches"], puzzled.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(terms["loss"], 0.7 * image + 0.3 * puzzled, rtol=1e-6, atol=1e-6)
    assert abs(term(f, bank, batch.indices, drawn)[0] - image) > 1e-2  # or a constant of its own would not show


def test_defaults_and_views_are_the_papers():
    built = {name: build({"name": name}, NarrowEncoder(), num_images=M) for name in SIZES}
    assert {name: one.negatives for name, one in built.items()} == {
        "instance_discrimination": 4096,
        "cmc": 16384,
        "pirl": 32000,
    }
    assert all((one.temperature, one.loss) == (0.07, "nce") for one in built.values())
    assert {bank.momentum for one in built.values() for bank in one.modules() if isinstance(bank, MemoryBank)} == {0.5}
    (view,) = built["instance_discrimination"].views(96)  # zhirongw/lemniscate.pytorch, main.py:117-125
    assert (view.size, view.scale, view.interpolation, view.flip) == (96, (0.2, 1.0), "bilinear", 0.5)
    assert (view.jitter, view.jitter_p, view.grey) == ((0.4, 0.4, 0.4, 0.4), 1.0, 0.2)
    assert (view.blur, view.solarize, view.count) == (0.0, 0.0, 1)
    assert view.grey_first
    (crop,) = built["cmc"].views(96)
    # HobbitLong/CMC, train_CMC.py:97: crop_low is 0.08 for all but AlexNet on ImageNet.
    assert (crop.scale, crop.jitter, crop.grey, crop.blur) == ((0.08, 1.0), None, 0.0, 0.0)
    assert (crop.size, crop.flip, crop.interpolation) == (96, 0.5, "bilinear")
    image, patch = built["pirl"].views(224)  # VISSL's pirl_jigsaw_4node_resnet50.yaml
    assert (image.size, image.scale, image.count, image.cells) == (224, (0.08, 1.0), 1, None)
    assert (patch.size, patch.scale, patch.count, patch.cells) == (64, (0.6, 1.0), 9, (3, 255))
    for view in (image, patch):
        assert (view.jitter, view.jitter_p, view.photometric) == ((0.4, 0.4, 0.4, 0.2), 1.0, 0.66)
        assert (view.grey, view.flip, view.interpolation, view.blur, view.solarize) == (0.2, 0.5, "bilinear", 0.0, 0.0)
    assert built["pirl"].puzzle_projector.in_features == 1152


@ALL
def test_guards(name):
    with pytest.raises(BadInput, match=r"objective.patch_size is 34, but a cell .* has 33 pixels; set patch_size"):
        make("pirl", patch_size=34)
    with pytest.raises(BadInput, match=r"objective.patch_weight is 0.0"):
        make("pirl", patch_weight=0.0)
