from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import assert_same_gradients, load

from bench.errors import BadInput
from bench.nn.clip import Clip

CASES = load()


def embed(objective, clips):
    """Frame by frame, as a loop."""
    n, t = clips.shape[:2]
    frames = objective.encoder(clips.flatten(0, 1)).view(n, t, -1)
    if objective.gate != "none":
        gated = [frames[:, 0] * 2 if objective.gate == "consistent" else frames[:, 0]]
        for now in range(1, t):
            f = torch.exp(-(frames[:, now] - frames[:, now - 1]).abs() / objective.gate_temperature)
            gated.append(frames[:, now] * ((1 + f) if objective.gate == "consistent" else (2 - f)))
        frames = torch.stack(gated, dim=1)
    return F.normalize(objective.clip_head(frames.flatten(1)), dim=1)


@pytest.mark.parametrize("gate", ["none", "consistent", "inconsistent"])
def test_loss_is_both_triplets_written_as_loops(gate, monkeypatch):
    case = CASES["dsm shift"]
    objective, reference, data = case.make(gate=gate), case.make(gate=gate), case.data()
    warped = torch.randn_like(data.views[0][:, :3])
    monkeypatch.setattr("bench.objectives.dsm.spatial_warp", lambda clips, draws, strength: warped)
    torch.manual_seed(0)
    terms = objective(data)
    z, p = embed(reference, data.views[0][:, :3]), embed(reference, warped)
    n = embed(reference, data.views[0][:, 2:5])  # two frames later
    d = lambda a, b: (a - b).square().sum().sqrt()  # noqa: E731
    size = len(z)
    intra = sum(max(d(z[i], p[i]) - d(z[i], n[i]) + 0.5, torch.zeros(())) for i in range(size)) / size
    pairs = [(i, j) for i in range(size) for j in range(size) if i != j]
    inter = sum(max(d(z[i], p[i]) - d(z[i], p[j]) + 0.5, torch.zeros(())) for i, j in pairs) / len(pairs)
    torch.testing.assert_close(terms["loss_intra"], intra.detach())
    torch.testing.assert_close(terms["loss_inter"], inter.detach())
    terms["loss"].backward()
    (intra + inter).backward()
    assert_same_gradients(objective, reference, rtol=1e-7, atol=1e-10)


def test_an_intra_negative_that_looks_like_the_positive_costs_the_margin(monkeypatch):
    case = CASES["dsm"]
    objective, data = case.make(), case.data()
    monkeypatch.setattr("bench.objectives.dsm.spatial_warp", lambda clips, draws, strength: clips)
    monkeypatch.setattr("bench.objectives.dsm.scaled_flow", lambda clips, flows, factors: clips)
    assert objective(data)["loss_intra"].item() == pytest.approx(0.5, abs=1e-6)


def test_flow_is_scaled_between_the_two_factors(monkeypatch):
    case, seen = CASES["dsm"], []
    monkeypatch.setattr(
        "bench.objectives.dsm.scaled_flow", lambda clips, flows, factors: seen.append((flows, factors)) or clips
    )
    objective, data = case.make(flow_scale=(1.5, 1.75)), case.data()
    objective(data)
    ((flows, factors),) = seen
    assert flows is data.flows[0]
    assert factors.shape == (case.n, 2)
    assert 1.5 <= factors.min() < factors.max() < 1.75


def test_the_clips_that_it_needs():
    assert CASES["dsm"].make().video() == Clip(3, 2, flow=True)
    assert CASES["dsm shift"].make().video() == Clip(5, 2, flow=False)
    assert len(CASES["dsm"].make().views(64)) == 1


def test_guards():
    make = CASES["dsm"].make
    with pytest.raises(BadInput, match=r"Unknown objective.negative 'flo'; did you mean flow"):
        make(negative="flo")
    with pytest.raises(BadInput, match=r"Unknown objective.gate 'x'; known: none"):
        make(gate="x")
    with pytest.raises(BadInput, match=r"objective.shift is 0; set it to 1"):
        make(negative="shift", shift=0)
