from __future__ import annotations

import pytest
import torch
from cases import images_batch
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.objectives import build


def objective(**more):
    """With hidden layers that do something: they start at 0."""
    model = build({"name": "amdim", "rkhs_dim": 6, **more}, NarrowEncoder()).double()
    torch.manual_seed(5)
    for head in (model.head1, model.head5, model.head7):
        torch.nn.init.normal_(head.out.weight)
    return model


def at(head, maps):
    """The embeddings of all locations: N×C×h×w -> N×hw×D."""
    n, c, h, w = maps.shape
    return head(maps.permute(0, 2, 3, 1).reshape(-1, c)).view(n, h * w, -1)


def naive(model, batch, clip, places):
    """Loss and penalty, pair by pair."""
    views = []
    for v in batch.views:
        *_, c4, c5 = model.encoder.maps(v)
        views.append((model.head1(c5.mean((2, 3))), at(model.head5, c5), at(model.head7, c4)))
    n, total, penalty = len(batch), 0.0, 0.0
    for a, b in ((0, 1), (1, 0)):
        one, five, _ = views[a]
        local = torch.stack([five[i, places[a][i]] for i in range(n)])
        for source, target in ((one, views[b][1]), (one, views[b][2]), (local, views[b][1])):
            raw = torch.stack([torch.stack([target[j] @ source[i] for j in range(n)]) for i in range(n)]) / 6**0.5
            penalty = penalty + 0.05 * raw.square().mean() / 2
            s = clip * torch.tanh(raw / clip)
            for i in range(n):
                others = torch.cat([s[i, j] for j in range(n) if j != i]).exp().sum()
                for positive in s[i, i]:
                    total = total - torch.log(positive.exp() / (positive.exp() + others)) / (n * s.shape[2]) / 2
    return total, penalty


def test_the_loss_and_its_gradient_are_the_papers_over_every_pair_of_images_and_locations(monkeypatch):
    places = [torch.tensor([0, 3, 1]), torch.tensor([2, 2, 0])]
    drawn = iter(places)
    monkeypatch.setattr("bench.nn.draws.integers", lambda n, *, high, device: next(drawn))
    ours, theirs, batch = objective(clip=2.0), objective(clip=2.0), images_batch(3, (64, 64))
    terms = ours(batch)
    terms["loss"].backward()
    total, penalty = naive(theirs, batch, 2.0, places)
    (total + penalty).backward()
    torch.testing.assert_close(terms["loss"], total + penalty, rtol=1e-10, atol=0)
    torch.testing.assert_close(terms["penalty"], penalty.detach(), rtol=1e-10, atol=0)
    parts = sum(terms[f"loss_{name}"] for name in ("1to5", "1to7", "5to5"))
    torch.testing.assert_close(parts, total.detach(), rtol=1e-10, atol=0)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-9)


def test_exchanging_views_changes_nothing_but_which_locations_are_drawn(monkeypatch):
    monkeypatch.setattr(
        "bench.nn.draws.integers", lambda n, *, high, device: torch.zeros(n, dtype=torch.int64, device=device)
    )
    one, other, batch = objective(), objective(), images_batch(3, (64, 64))
    expected = one(batch)["loss"]
    batch.views.reverse()
    torch.testing.assert_close(other(batch)["loss"], expected)


def test_the_source_of_5_to_5_is_drawn_over_all_locations_for_each_image_and_view(monkeypatch):
    asked = []

    def integers(n, *, high, device):
        asked.append((n, high))
        return torch.zeros(n, dtype=torch.int64)

    monkeypatch.setattr("bench.nn.draws.integers", integers)
    objective()(images_batch(3, (64, 64)))
    assert asked == [(3, 4), (3, 4)]  # C5 of 64 pixels has 2×2


def test_the_papers_width_and_clip_are_the_defaults():
    model = build({"name": "amdim"}, NarrowEncoder())
    assert (model.clip, model.head1.out.out_features) == (20.0, 2560)
    heads = (model.head1, model.head5, model.head7)
    assert not any(head.out.weight.any() for head in heads)
    assert all((head.straight.weight.diagonal() == 1).all() for head in heads)  # 2560 is more than what comes in


def test_views_are_those_of_the_authors_for_imagenet():
    """datasets.py:162-196: one flip for both views, then a crop, jitter and grey of each; INTERP = 3 is bicubic."""
    one, other = build({"name": "amdim"}, NarrowEncoder()).views(128)
    assert (one.flip_as_first, other.flip_as_first) == (False, True)
    for view in (one, other):
        assert (view.size, view.scale, view.ratio, view.interpolation) == (128, (0.3, 1.0), (0.7, 1.4), "bicubic")
        assert (view.jitter, view.jitter_p, view.grey) == ((0.4, 0.4, 0.4, 0.1), 0.8, 0.25)
        assert (view.flip, view.blur, view.solarize, view.count) == (0.5, 0.0, 0.0, 1)


def test_views_whose_last_map_is_a_single_location_are_refused():
    with pytest.raises(BadInput, match="view_size is 32; set view_size to 64 or more"):
        objective().check(8, 32)
    objective().check(8, 64)
