from __future__ import annotations

import pytest
import torch

from bench.errors import BadInput
from bench.nn.clip import Clip
from bench.objectives.dsm import motion_gate, sampled, scaled_flow, spatial_warp


def draw(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_whole_shift_moves_pixels_and_repeats_the_edge():
    images = draw(2, 3, 5, 6)
    shift = torch.zeros(2, 2, 5, 6, dtype=torch.float64)
    shift[:, 0] = 2.0  # each pixel looks two to the right
    expected = torch.cat([images[..., 2:], images[..., -1:].expand(-1, -1, -1, 2)], dim=-1)
    torch.testing.assert_close(sampled(images, shift), expected)
    shift = shift.flip(1)  # now down
    expected = torch.cat([images[:, :, 2:], images[:, :, -1:].expand(-1, -1, 2, -1)], dim=2)
    torch.testing.assert_close(sampled(images, shift), expected)


def test_a_warp_in_the_middle_of_its_range_does_nothing_and_is_the_same_for_all_frames():
    clips = draw(2, 3, 3, 16, 16)
    torch.testing.assert_close(spatial_warp(clips, torch.full((2, 2, 4, 4), 0.5, dtype=torch.float64)), clips)
    still = clips[:, :1].expand(-1, 3, -1, -1, -1)
    warped = spatial_warp(still, draw(2, 2, 4, 4, seed=1))
    assert (warped - still).abs().max() > 0.01
    torch.testing.assert_close(warped[:, 1], warped[:, 0])  # a clip that stands still does so under the warp
    assert not torch.allclose(warped[0, 0] - still[0, 0], warped[1, 0] - still[1, 0])


def test_a_warp_goes_as_far_as_it_is_strong():
    """All knots at one end: everything looks that share of the side away, to the right and down."""
    clips = draw(2, 3, 3, 20, 40)
    ends = torch.ones(2, 2, 5, 5, dtype=torch.float64)
    warped = spatial_warp(clips, ends, strength=0.1)
    torch.testing.assert_close(warped[..., :-2, :-4], clips[..., 2:, 4:])
    torch.testing.assert_close(spatial_warp(clips, 0 * ends, strength=0.1)[..., 2:, 4:], clips[..., :-2, :-4])


def test_scaled_flow_moves_the_frame_before_along_phi_times_v():
    clips = draw(1, 3, 3, 8, 8)
    flows = torch.zeros(1, 2, 2, 8, 8, dtype=torch.float64)
    flows[0, 0, 0] = 1.0  # everything goes one pixel to the right between frames 0 and 1
    moved = scaled_flow(clips, flows, torch.tensor([[3.0, 3.0]], dtype=torch.float64))
    assert moved.shape == (1, 2, 3, 8, 8)  # frames 1 and 2; the first, from which nothing moved, is not among them
    torch.testing.assert_close(moved[0, 0, :, :, 3:], clips[0, 0, :, :, :-3])  # three to the right
    torch.testing.assert_close(moved[0, 1], clips[0, 1])  # no flow: the frame before


def test_the_gate_is_one_without_change_and_reversed_for_large_changes():
    x = draw(2, 4, 5)
    still = x[:, :1].expand(-1, 4, -1)
    torch.testing.assert_close(motion_gate(still, 1.0, consistent=True), 2 * still)
    torch.testing.assert_close(motion_gate(still, 1.0, consistent=False), still)
    far = x * 10.0 ** torch.arange(3, 7, dtype=torch.float64).view(1, 4, 1)  # it changes by thousands
    torch.testing.assert_close(motion_gate(far, 1.0, consistent=True)[:, 1:], far[:, 1:])
    torch.testing.assert_close(motion_gate(far, 1.0, consistent=False)[:, 1:], 2 * far[:, 1:])
    for consistent, factor in ((True, 2.0), (False, 1.0)):  # T to infinity: a constant gate
        torch.testing.assert_close(motion_gate(x, 1e12, consistent), factor * x)
    half = motion_gate(torch.tensor([[[0.0], [1.0]]]), 2.0, consistent=True)[0, 1, 0]
    assert half.item() == pytest.approx(1 + 2.718281828459045**-0.5)


def test_how_many_frames_a_clip_takes():
    assert Clip(4, 3).span == 10
    assert Clip(1, 5).span == 1
    with pytest.raises(BadInput, match=r"objective.stride is 0; set it to 1 or more"):
        Clip(4, 0)
