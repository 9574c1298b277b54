from __future__ import annotations

import math

import pytest
import torch
from cases import images_batch
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.nn.patches import Grid
from bench.objectives import build
from bench.objectives.jigsaw import far_permutations, in_order

SMALL = {"name": "jigsaw", "permutations": 7, "patch_size": 32, "gap": 8, "jitter": 3, "patch_dim": 6}
VIEW = 118


def objective(**more):
    return build({**SMALL, **more}, NarrowEncoder()).double()


def fixed(monkeypatch, k):
    """Let the permutations drawn be k, and the jitter 0 in all places."""

    def integers(n, *shape, high, device):
        return torch.tensor(k) if not shape else torch.full((n, *shape), high // 2)

    monkeypatch.setattr("bench.nn.draws.integers", integers)


@pytest.mark.parametrize("image_statistics", [True, False])
def test_the_loss_and_its_gradient_are_those_of_shuffled_patches_one_after_another(image_statistics, monkeypatch):
    fixed(monkeypatch, [3, 0, 6])
    ours, theirs = (objective(image_statistics=image_statistics) for _ in range(2))
    batch = images_batch(3, (VIEW,))
    solved = ours(batch)["loss"]
    solved.backward()
    orders, tiles = far_permutations(7), []
    for i, k in enumerate((3, 0, 6)):
        for j in orders[k].tolist():
            top, left = 3 + 40 * (j // 3), 3 + 40 * (j % 3)
            tile = batch.views[0][i, :, top : top + 32, left : left + 32]
            tiles.append(torch.stack([(c - c.mean()) / c.std(correction=0) for c in tile]))
    hidden = theirs.patch_head(theirs.encoder(torch.stack(tiles)))  # 27×6
    loss = 0.0
    for i, k in enumerate((3, 0, 6)):
        scores = theirs.classifier(torch.cat([hidden[9 * i + j] for j in range(9)]))
        loss = loss + (torch.log(scores.exp().sum()) - scores[k]) / 3
    loss.backward()
    torch.testing.assert_close(solved, loss, rtol=1e-10, atol=0)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-7, atol=1e-10)


def test_the_permutation_drawn_for_each_image_is_the_one_that_is_asked_for(monkeypatch):
    """A classifier that reads off where the tiles come from is always right, whatever is drawn."""
    model = objective(standardise=False, jitter=0)
    torch.manual_seed(0)
    batch = images_batch(40, (VIEW,))
    row, column = torch.meshgrid(torch.arange(VIEW), torch.arange(VIEW), indexing="ij")
    batch.views = [(3 * (row // 40) + column // 40).double().expand(40, 3, VIEW, VIEW)]
    asked = []

    def solve(tiles):  # the mean of a tile says which it is
        order = tiles[:, 0].mean((1, 2)).view(40, 9)
        solved = [(model.orders == one.round()).all(1).nonzero().item() for one in order]
        asked.extend(solved)
        return torch.nn.functional.one_hot(torch.tensor(solved), 7).double().repeat_interleave(9, 0)

    monkeypatch.setattr("bench.objectives.jigsaw.features_of", lambda _, p, __: solve(p.flatten(0, 1)).view(40, 9, 7))
    model.patch_head = torch.nn.Identity()
    model.classifier = torch.nn.Linear(63, 7).double()
    with torch.no_grad():
        model.classifier.weight.copy_(50 * torch.eye(7).repeat(1, 9))
    assert model(batch)["top1_percent"] == 100.0
    assert set(asked) == set(range(7))


def test_tiles_show_neither_their_brightness_nor_their_colour_cast():
    model, batch, seen = objective(), images_batch(2, (VIEW,)), []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(batch)
    torch.testing.assert_close(seen[0].mean((2, 3)), torch.zeros(18, 3).double(), atol=1e-10, rtol=0)
    torch.testing.assert_close(seen[0].std((2, 3), correction=0), torch.ones(18, 3).double())


def test_all_tiles_of_an_image_keep_its_colours():
    """Images are grey or not, in their view, as in the reference; a tile by itself never is."""
    model, batch, seen = objective(standardise=False), images_batch(4, (VIEW,)), []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    model(batch)
    torch.manual_seed(0)
    orders = model.orders[torch.randint(7, (4,))]
    tiles = in_order(Grid(3, 32, 8, 3).cut(batch.views[0]), orders).flatten(0, 1)
    assert torch.equal(seen[0].unflatten(0, (9, 4)).transpose(0, 1).flatten(0, 1), tiles)


def test_running_statistics_are_those_of_whole_images():
    batch = images_batch(4, (VIEW,))
    plain, model, patchwise = NarrowEncoder().double(), objective(), objective(image_statistics=False)
    for each in (plain.forward, lambda _: model(batch), lambda _: patchwise(batch)):
        each(batch.views[0])
    for name, buffer in plain.named_buffers():
        if "running" in name:
            torch.testing.assert_close(model.encoder.get_buffer(name), buffer, msg=name)
            assert not torch.allclose(patchwise.encoder.get_buffer(name), buffer), name


@pytest.mark.slow
def test_the_papers_puzzle_is_the_default_and_a_classifier_that_knows_nothing_has_ln_k():
    model = build({"name": "jigsaw"}, NarrowEncoder())
    assert (len(model.orders), model.grid, model.standardise) == (1000, Grid(3, 64, 11, 5), True)
    model.check(4, 225)
    small = objective()
    with torch.no_grad():
        small.classifier.weight.zero_()
        small.classifier.bias.zero_()
    torch.testing.assert_close(small(images_batch(2, (VIEW,)))["loss"].item(), math.log(7))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gap": 5}, "patches could touch"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        objective(**settings)


def test_views_that_the_patches_do_not_fit_into_are_refused():
    with pytest.raises(BadInput, match="need views of 118 pixels, but view_size is 117; set view_size to 118"):
        objective().check(4, 117)
