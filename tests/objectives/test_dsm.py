from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import assert_same_gradients, load
from PIL import Image

from bench.data.clips import ClipDataset
from bench.data.images import collate
from bench.data.sets import index
from bench.data.views import View
from bench.data.views.draw import draw
from bench.errors import BadInput
from bench.nn.clip import Clip

CASES = load()


def embed(objective, clip):
    """One clip, frame by frame."""
    frames = torch.cat([objective.encoder(frame[None]) for frame in clip])  # T×F
    if objective.gate != "none":
        gated = [frames[0] * 2 if objective.gate == "consistent" else frames[0]]
        for now in range(1, len(clip)):
            f = torch.exp(-(frames[now] - frames[now - 1]).abs() / objective.gate_temperature)
            gated.append(frames[now] * ((1 + f) if objective.gate == "consistent" else (2 - f)))
        frames = torch.stack(gated)
    return F.normalize(objective.clip_head(frames.flatten()[None]), dim=1)[0]


@pytest.mark.parametrize("gate", ["none", "consistent", "inconsistent"])
def test_loss_is_both_triplets_written_as_loops(gate, monkeypatch):
    """In eval mode, where a norm treats each clip by itself: every clip is embedded alone here.

    The roles are those of src/pt.py:223-234: the anchor is warped; another clip's negative is its negative.
    """
    case = CASES["dsm shift"]
    objective, reference, data = case.make(gate=gate, margin=0.3), case.make(gate=gate, margin=0.3), case.data()
    monkeypatch.setattr("bench.objectives.dsm.spatial_warp", lambda clips, draws, strength: 0.5 * clips + strength)
    objective(data)  # moves the norms' statistics away from 0 and 1
    reference.load_state_dict(objective.state_dict())
    terms = objective.eval()(data)
    reference.eval()
    one, two, three = data.views
    a = [embed(reference, 0.5 * clip[:3] + reference.warp) for clip in one]
    p = [embed(reference, clip[:3]) for clip in two]
    n = [embed(reference, clip[2:5]) for clip in three]  # two frames later
    triplet = torch.nn.TripletMarginLoss(margin=0.3, p=2, eps=0.0)
    size = len(a)
    intra = sum(triplet(a[i][None], p[i][None], n[i][None]) for i in range(size)) / size
    pairs = [(i, j) for i in range(size) for j in range(size) if i != j]
    inter = sum(triplet(a[i][None], p[i][None], n[j][None]) for i, j in pairs) / len(pairs)
    torch.testing.assert_close(terms["loss_intra"], intra.detach())
    torch.testing.assert_close(terms["loss_inter"], inter.detach())
    nearer = sum(bool((a[i] - p[i]).norm() < (a[i] - n[i]).norm()) for i in range(size))
    assert terms["top1_percent"].item() == pytest.approx(100 * nearer / size)
    terms["loss"].backward()
    (intra + inter).backward()
    assert_same_gradients(objective, reference, rtol=1e-7, atol=1e-10)


def test_an_intra_negative_that_looks_like_the_positive_costs_the_margin(monkeypatch):
    case = CASES["dsm"]
    objective, data = case.make(), case.data()
    monkeypatch.setattr("bench.objectives.dsm.spatial_warp", lambda clips, draws, strength: clips)
    monkeypatch.setattr("bench.objectives.dsm.scaled_flow", lambda clips, flows, factors: clips[:, 1:])
    data.views[2] = data.views[1]
    assert objective(data)["loss_intra"].item() == pytest.approx(0.5, abs=1e-6)


def test_the_negative_is_the_third_view_with_its_own_flow_scaled_between_the_two_factors(monkeypatch):
    case, seen = CASES["dsm"], []

    def scaled(clips, flows, factors):
        seen.append((clips, flows, factors))
        return clips[:, 1:]

    monkeypatch.setattr("bench.objectives.dsm.scaled_flow", scaled)
    objective, data = case.make(flow_scale=(1.5, 1.75)), case.data()
    objective(data)
    ((clips, flows, factors),) = seen
    assert clips is data.views[2]
    assert flows is data.flows[0]
    assert factors.shape == (case.n, 3)
    assert 1.5 <= factors.min() < factors.max() < 1.75


@pytest.mark.parametrize("negative", ["flow", "shift"])
def test_anchor_and_positive_show_the_same_frames_and_the_anchor_alone_is_warped(negative, monkeypatch):
    """With `flow`, those that the negative is made anew of: not the first, which has none before it."""
    objective = CASES["dsm" if negative == "flow" else "dsm shift"].make(gate="none")
    data = CASES["dsm" if negative == "flow" else "dsm shift"].data()
    warped, embedded, strengths = [], [], []

    def warp(clips, draws, strength):
        warped.append(clips)
        strengths.append(strength)
        assert draws.shape == (len(clips), 2, 5, 5)
        return -clips

    monkeypatch.setattr("bench.objectives.dsm.spatial_warp", warp)
    embedding = objective._embed
    monkeypatch.setattr(objective, "_embed", lambda clips: embedded.append(clips) or embedding(clips))
    objective(data)
    start = 1 if negative == "flow" else 0
    frames = slice(start, start + 3)
    assert strengths == [0.05]
    assert torch.equal(warped[0], data.views[0][:, frames])
    anchor, positive, _ = embedded[0].chunk(3)
    assert torch.equal(anchor, -data.views[0][:, frames])
    assert torch.equal(positive, data.views[1][:, frames])


def test_the_clips_that_it_needs():
    assert CASES["dsm"].make().video() == Clip(4, 2, flow=(2,))  # one frame more, for the motion into the first
    assert CASES["dsm shift"].make().video() == Clip(5, 2)


def test_views_are_the_authors():
    """src/data/config.py:65-76: a crop of 224 of 256 pixels, jitter (.5, .5, .25, .5), no mirror image, no grey."""
    view = View(
        size=64,
        square=0.875,
        interpolation="bilinear",
        flip=0.0,
        jitter=(0.5, 0.5, 0.25, 0.5),
        jitter_p=1.0,
        grey=0.0,
        blur=0.0,
    )
    assert CASES["dsm"].make().views(64) == (view, view, view)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(320, 240), (426, 240), (240, 426)])
def test_the_three_clips_of_a_video_show_other_places_whatever_its_format(width, height):
    """A crop by its share of the area fits no wide video, and would always be the same central square."""
    (view, _, _), rng = CASES["dsm"].make().views(64), np.random.default_rng(0)
    crops = {draw(view, width, height, rng).crop for _ in range(40)}
    assert len(crops) > 30
    assert {crop[2:] for crop in crops} == {(210, 210)}  # 224 of 256 pixels


def test_colours_do_not_find_the_positive(tmp_path):
    """Mean and standard deviation of each channel, of 24 clips: were clips drawn together, they would find each."""
    generator = torch.Generator().manual_seed(0)
    for number in range(24):
        folder = tmp_path / "train" / f"{number:02}"
        folder.mkdir(parents=True)
        coarse = torch.rand(1, 3, 6, 6, generator=generator)
        pixels = 255 * F.interpolate(coarse, size=(48, 48), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
        for shown in range(4):
            Image.fromarray(pixels.byte().numpy()).save(folder / f"{shown}.png")
    objective = CASES["dsm"].make(stride=1)
    data = ClipDataset(index("clips", tmp_path, "train"), objective.views(32), 0, objective.video(), backend="fast")
    batch = collate([data[i, i] for i in range(24)]).to("cpu")

    def found(one, other):
        """In percent of the clips, by the nearest of six numbers."""
        numbers = [torch.cat([x.mean((1, 3, 4)), x.std((1, 3, 4))], dim=1) for x in (one, other)]
        return 100 * (torch.cdist(*numbers).argmin(1) == torch.arange(24)).double().mean().item()

    one, two, three = batch.views
    assert found(one, one + 0.01 * torch.randn(one.shape, generator=generator)) > 95  # as drawn together
    assert found(one, two) < 50
    assert found(one, three) < 50


def test_guards():
    make = CASES["dsm"].make
    with pytest.raises(BadInput, match=r"Unknown objective.negative 'flo'; did you mean flow"):
        make(negative="flo")
    with pytest.raises(BadInput, match=r"Unknown objective.gate 'x'; known: none"):
        make(gate="x")
    with pytest.raises(BadInput, match=r"objective.shift is 0; set it to 1"):
        make(negative="shift", shift=0)
