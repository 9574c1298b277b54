from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.errors import BadInput
from bench.nn.image_statistics import unmoved_statistics
from bench.nn.patches import Grid, evened, reductions, sometimes_reduced, with_one_colour
from bench.objectives.jigsaw import in_order, standardised


def places(n, size):
    """Images whose channels say where a pixel lies (row, column) and of which image it is: N×3×size×size."""
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([torch.stack([row, column, torch.full_like(row, i)]) for i in range(n)]).double()


def corners(patches):
    """The (top, left) of patches that were cut from `places`, N×P×2, after a look at every pixel of them."""
    size = patches.shape[-1]
    top, left = patches[:, :, 0, 0, 0], patches[:, :, 1, 0, 0]
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    assert torch.equal(patches[:, :, 0], top[..., None, None] + row)
    assert torch.equal(patches[:, :, 1], left[..., None, None] + column)
    assert all(patches[i, :, 2].eq(i).all() for i in range(len(patches)))
    return torch.stack([top, left], dim=-1).long()


def test_patches_are_the_images_own_pixels_row_by_row_and_nothing_is_interpolated():
    corner = corners(Grid(3, 4, 2).cut(places(2, 16)))
    expected = [[top, left] for top in (0, 6, 12) for left in (0, 6, 12)]
    assert corner.tolist() == [expected, expected]


def test_the_grid_lies_in_the_centre_of_a_larger_image():
    assert corners(Grid(2, 3, 1).cut(places(1, 12))).tolist() == [[[2, 2], [2, 6], [6, 2], [6, 6]]]


def test_jitter_moves_each_patch_by_itself_within_its_bounds_and_reaches_them():
    torch.manual_seed(0)
    grid = Grid(3, 4, 6, jitter=3)
    corner = corners(grid.cut(places(40, grid.extent + 6)))  # 40×9×2
    still = torch.tensor([[3 + 10 * i, 3 + 10 * j] for i in range(3) for j in range(3)])
    moved = corner - still
    assert (moved.min(), moved.max()) == (-3, 3)
    assert len(set(map(tuple, moved.flatten(0, 1).tolist()))) == 49  # all of 7×7
    assert not torch.equal(moved[:, 0], moved[:, 1])
    assert not torch.equal(moved[0], moved[1])


def test_neighbours_never_touch_when_the_gap_outweighs_the_jitter():
    torch.manual_seed(0)
    grid = Grid(3, 4, 4, jitter=2)
    left = corners(grid.cut(places(200, grid.extent + 4))).unflatten(1, (3, 3))[..., 1]  # N×3×3
    between = left[:, :, 1:] - left[:, :, :-1] - 4
    assert between.min() == 0  # the gap is what is left: never below nothing


def test_the_geometries_of_the_papers_fit_their_images():
    context = Grid(3, 96, 48, 7)  # Doersch et al.
    context.check(398)
    with pytest.raises(BadInput, match="need views of 398 pixels, but view_size is 397; set view_size to 398"):
        context.check(397)
    jigsaw = Grid(3, 64, 21, 10)  # cells of 85 pixels in 255
    jigsaw.check(255)
    cpc = Grid(7, 64, -32)
    assert cpc.extent == 256
    corner = corners(cpc.cut(places(1, 256)))
    assert corner[0, :8].tolist() == [[0, 32 * j] for j in range(7)] + [[32, 0]]


def test_patches_that_could_touch_or_are_below_a_position_of_c5_are_refused():
    with pytest.raises(BadInput, match=r"patches could touch.*set objective\.gap to 6 or more"):
        Grid(3, 32, 5, 3)
    with pytest.raises(BadInput, match=r"objective\.patch_size is 31; set it to 32 pixels or more"):
        Grid(3, 31, 5).check(255)


def test_one_colour_is_kept_as_it_is_and_the_others_become_faint_noise():
    torch.manual_seed(0)
    patches = 2.0 + 3.0 * torch.randn(30, 9, 3, 16, 16, dtype=torch.float64)
    coloured = with_one_colour(patches)
    kept = (coloured == patches).flatten(3).all(3)  # N×P×3
    assert (kept.sum(2) == 1).all()
    torch.testing.assert_close(kept.flatten(0, 1).double().mean(0), torch.full((3,), 1 / 3).double(), atol=0.1, rtol=0)
    assert not torch.equal(kept[:, 0], kept[:, 1])  # each patch by its own draw
    noise = coloured[~kept]
    assert abs(noise.mean()) < 1e-3
    assert noise.std().item() == pytest.approx(0.01 * 3.0, rel=0.02)


def test_reduced_patches_are_resampled_to_the_drawn_number_of_pixels_and_back(monkeypatch):
    """By torch's own interpolation, patch after patch; the others stay as they are, to the bit."""
    torch.manual_seed(0)
    patches = torch.randn(3, 9, 3, 32, 32, dtype=torch.float64)
    pixels, chosen = torch.rand(3, 9, dtype=torch.float64), torch.rand(3, 9, dtype=torch.float64)
    pixels[0, 0], pixels[0, 1] = 0.0, 1 - 1e-9  # the ends of the range
    chosen[0, :2] = 0.1
    numbers = iter([pixels, chosen])
    monkeypatch.setattr("bench.nn.draws.uniform", lambda *_, **__: next(numbers))
    reduced, sides = sometimes_reduced(patches, reductions(32).double(), 0.33), set()
    for i in range(3):
        for j in range(9):
            if chosen[i, j] >= 0.33:
                assert torch.equal(reduced[i, j], patches[i, j])
                continue
            side = int((100 + pixels[i, j].item() * (31 * 31 - 100)) ** 0.5)
            sides.add(side)
            fewer = F.interpolate(patches[i, j][None], size=(side, side), mode="bilinear")
            expected = F.interpolate(fewer, size=(32, 32), mode="bilinear")[0]
            torch.testing.assert_close(reduced[i, j], expected, atol=1e-5, rtol=0)
            assert not torch.equal(reduced[i, j], patches[i, j])
    assert {10, 30} <= sides
    assert len(sides) > 3


def test_about_the_share_that_is_asked_for_is_reduced_and_none_at_0():
    torch.manual_seed(0)
    patches = torch.randn(60, 9, 3, 32, 32)
    changed = (sometimes_reduced(patches, reductions(32), 0.33) != patches).flatten(2).any(2)
    assert changed.double().mean().item() == pytest.approx(0.33, abs=0.06)
    assert sometimes_reduced(patches, reductions(32), 0.0) is patches


def test_evened_patches_show_neither_their_mean_colour_nor_their_contrast():
    torch.manual_seed(0)
    patches = torch.randn(2, 9, 3, 8, 8, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    even = evened(patches)
    for patch, one in zip(even.flatten(0, 1), patches.flatten(0, 1), strict=True):
        centred = torch.stack([c - c.mean() for c in one])
        torch.testing.assert_close(patch, centred / (sum(c.square().sum() for c in centred) / (3 * 64)).sqrt())
    torch.testing.assert_close(evened(1.7 * patches + torch.randn(2, 9, 3, 1, 1)), even)
    assert even.std((3, 4))[:, :, 2].mean() > 2 * even.std((3, 4))[:, :, 0].mean()  # by patch, not by channel
    assert not evened(torch.full((1, 1, 3, 8, 8), 0.3)).any()


def test_standardised_patches_show_neither_brightness_nor_contrast_nor_colour_cast():
    torch.manual_seed(0)
    patches = torch.randn(2, 9, 3, 8, 8, dtype=torch.float64)
    standard = standardised(patches)
    torch.testing.assert_close(standard.mean((3, 4)), torch.zeros(2, 9, 3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(standard.std((3, 4), correction=0), torch.ones(2, 9, 3).double())
    changed = patches * torch.rand(2, 9, 3, 1, 1).double().add(0.5) + torch.randn(2, 9, 3, 1, 1).double()
    torch.testing.assert_close(standardised(changed), standard)
    assert not standardised(torch.full((1, 1, 3, 8, 8), 0.3)).any()  # a flat sky


def test_an_order_says_which_patch_comes_to_each_place():
    patches = torch.arange(6).view(2, 3, 1)
    assert in_order(patches, torch.tensor([[2, 0, 1], [0, 1, 2]])).flatten().tolist() == [2, 0, 1, 3, 4, 5]


def test_running_statistics_stay_inside_the_block_and_move_after_it():
    norm, x = nn.BatchNorm2d(3), 1.0 + 2.0 * torch.randn(8, 3, 4, 4)
    plain = nn.BatchNorm2d(3)
    with unmoved_statistics(nn.Sequential(norm)):
        y = norm(x)
    assert torch.equal(y, plain(x))  # by the batch, as ever
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert torch.equal(norm.running_var, torch.ones(3))
    norm(x)
    assert torch.equal(norm.running_mean, plain.running_mean)
    assert norm.momentum == plain.momentum
