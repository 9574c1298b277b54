"""A split on the training device: views distributed as the reference's, pixels as the device's; steps repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torch import Tensor

from bench.data.sampler import DrawSampler
from bench.data.sets import Index
from bench.data.views import BYOL_VIEWS, LOCAL_CROPS, MOCO_VIEWS, SUPERVISED_VIEW, Batch, View, resident
from bench.data.views.batch_draw import Draws, box_radii, draw_batch, numbers
from bench.data.views.device import Drawing, collate_drawings, make, row
from bench.data.views.draw import HUE, Drawn, draw, draw_all, overlap
from bench.data.views.opencv import box_radius
from bench.data.views.pillow import apply
from bench.data.views.resident import Resident
from bench.errors import BadInput
from bench.randomness import generator

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SIDE = 32


def index(count: int = 24, height: int = SIDE, width: int = SIDE) -> Index:
    """Smooth colours, each image's own."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 5, 6, 3), dtype=np.uint8)
    pixels = np.stack(
        [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC)) for one in coarse]
    )
    labels = tuple(number % 3 for number in range(count))
    files = tuple(f"images:{number}" for number in range(count))
    return Index("cifar10", Path("nowhere"), "train", files, labels, ("a", "b", "c"), pixels=pixels)


def uniform(view: View, count: int, seed: int = 0) -> Tensor:
    rng = generator(seed, "uniform")
    return torch.from_numpy(rng.random((count, numbers(view)), dtype=np.float32))


def drawn_of(draws: Draws, view: View) -> list[Drawn]:
    """The same parameters as the other back ends are given them."""
    parameters = []
    for n in range(len(draws.crop)):
        steps: tuple[tuple[int, float], ...] = ()
        if view.jitter is not None and draws.jitter[n]:
            order = [int(step) for step in draws.order[n] if view.jitter[step] > 0]
            steps = tuple((step, float(draws.factors[n, step])) for step in order)
        left, top, width, height = (int(side) for side in draws.crop[n])
        blur = float(draws.blur[n])
        parameters.append(
            Drawn(
                crop=(left, top, width, height),
                flip=bool(draws.flip[n]),
                jitter=steps,
                grey=bool(draws.grey[n]),
                blur=blur or None,
                solarize=bool(draws.solarize[n]),
            )
        )
    return parameters


# -------------------------------------------------------------------------------------------------- pixels

VIEWS = {
    "byol": BYOL_VIEWS(SIDE)[0],
    "all": View(size=24, jitter=(0.4, 0.4, 0.4, 0.4), jitter_p=1.0, blur=1.0, solarize=0.5),
    "no hue": View(size=40, jitter=(0.8, 0.8, 0.8, 0.0), jitter_p=0.9, interpolation="bilinear"),
    "no contrast": View(size=SIDE, jitter=(0.4, 0.0, 0.4, 0.1), jitter_p=1.0),
    "plain": SUPERVISED_VIEW(SIDE),
    "grey first": replace(MOCO_VIEWS(SIDE)[0], grey=0.5),
}


@pytest.mark.parametrize("name", VIEWS)
def test_pixels_are_the_devices_and_near_the_references(name: str) -> None:
    view, images = VIEWS[name], index(96, 40, 48)
    split = Resident(images, [view], 0, CPU)
    numbers_ = uniform(view, 96)
    (made,), (boxes,), *_ = split.made(torch.arange(96), numbers_, [[]])
    draws = draw_batch(view, numbers_, 48, 40)
    drawn = drawn_of(draws, view)
    # The rows that `device` has of the same parameters, on the same images: the same bits.
    rows = torch.tensor([row(one) for one in drawn], dtype=torch.float32)
    assert torch.equal(make(split.pixels.to(torch.float32), view, rows), made)
    # All of `device`, which pads: sums in another order.
    assert images.pixels is not None
    whole = replace(drawn[0], crop=(0, 0, 48, 40), jitter=(), blur=None)
    pair = [[(view, one), (SUPERVISED_VIEW(8), whole)] for one in drawn]
    theirs = collate_drawings(
        [Drawing.of(image, both) for image, both in zip(images.pixels, pair, strict=True)]
    ).views()
    error = (theirs[0].int() - made.int()).abs().float()
    assert error.mean() < 0.01
    # The reference, within what is stated of `device` in bench/data/views/__init__.py.
    truth = [
        np.asarray(apply(Image.fromarray(image), view, one)) for image, one in zip(images.pixels, drawn, strict=True)
    ]
    apart = np.abs(np.stack(truth).astype(int) - made.permute(0, 2, 3, 1).numpy())
    assert apart.mean() <= 1.5
    assert np.percentile(apart, 99) <= 8.0
    expected = [[*one.crop, one.flip] for one in drawn]
    size = torch.tensor([48.0, 40.0])
    for box, (left, top, width, height, flip) in zip(boxes, expected, strict=True):
        corners = torch.tensor([[left, top], [left + width, top + height]]) / size
        assert box.tolist() == pytest.approx([*corners.flatten().tolist(), float(flip)])


def test_radii_are_those_of_the_other_back_ends() -> None:
    sigma = np.linspace(0.1, 5.0, 200)
    radii = box_radii(torch.from_numpy(sigma).float()).numpy()
    assert radii == pytest.approx([box_radius(float(one)) for one in sigma], abs=1e-5)
    assert box_radii(torch.zeros(1)).item() == 0.0


# --------------------------------------------------------------------------------------------------- laws

DRAWS = 4000
RATES = ("flip", "jitter", "grey", "blur", "solarize")
LAWS: dict[str, tuple[View, int, int]] = {
    "byol": (BYOL_VIEWS(SIDE)[1], SIDE, SIDE),
    "all jittered": (replace(MOCO_VIEWS(SIDE)[0], solarize=0.3, blur=0.7, blur_sigma=(0.5, 1.5)), 48, 40),
    "seldom fits": (View(size=SIDE, scale=(0.7, 1.0), ratio=(0.5, 2.0), flip=0.2), 64, 24),
    "square": (View(size=SIDE, square=0.6, flip=0.2, jitter=None), 64, 40),
    "never fits": (View(size=SIDE, scale=(0.9, 1.0), ratio=(0.75, 4 / 3)), 100, 20),
}


def measured(drawn: Sequence[Drawn]) -> dict[str, list[float]]:
    """What is random about views, as numbers whose distributions can be compared."""
    samples: dict[str, list[float]] = {name: [] for name in ("left", "top", "width", "height", "area", "ratio")}
    samples |= {f"factor {step}": [] for step in range(4)} | {f"place {step}": [] for step in range(4)}
    samples |= {name: [] for name in ("flip", "jitter", "grey", "blur", "sigma", "solarize", "orders")}
    for one in drawn:
        left, top, width, height = one.crop
        for name, value in (("left", left), ("top", top), ("width", width), ("height", height)):
            samples[name].append(value)
        samples["area"].append(width * height)
        samples["ratio"].append(width / height)
        for place, (step, factor) in enumerate(one.jitter):
            samples[f"factor {step}"].append(factor)
            samples[f"place {step}"].append(place)
        for name in ("flip", "grey", "solarize"):
            samples[name].append(getattr(one, name))
        samples["jitter"].append(bool(one.jitter))
        samples["blur"].append(one.blur is not None)
        samples["sigma"] += [] if one.blur is None else [one.blur]
        if one.jitter:
            samples["orders"].append(float("".join(str(step) for step, _ in one.jitter)))
    return samples


def differing(view: View, other: View, width: int, height: int) -> list[str]:
    """Names of what a batch of one view and the reference's draws of another differ in, at a thousandth.

    Numbers by the test of Kolmogorov and Smirnov, which says little of rates: these by their difference.
    """
    theirs = measured([draw(other, width, height, generator(0, "law", number)) for number in range(DRAWS)])
    ours = measured(drawn_of(draw_batch(view, uniform(view, DRAWS, 1), width, height), view))
    odd = []
    for name, values in ours.items():
        if not values or not theirs[name]:
            if len(values) != len(theirs[name]):
                odd.append(name)
        elif name in RATES:
            a, b = np.mean(values), np.mean(theirs[name])
            middle = (a + b) / 2
            if abs(a - b) > 3.3 * np.sqrt(middle * (1 - middle) * 2 / DRAWS):
                odd.append(name)
        elif ks_2samp(values, theirs[name], method="asymp").pvalue < 1e-3:
            odd.append(name)
    return odd


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_views_are_drawn_as_the_reference_draws_them(name: str) -> None:
    view, width, height = LAWS[name]
    assert differing(view, view, width, height) == []


CHANGES: dict[str, dict[str, Any]] = {
    "area": {"scale": (0.12, 1.0)},
    "ratio": {"ratio": (0.8, 4 / 3)},
    "flip": {"flip": 0.42},
    "jitter": {"jitter_p": 0.75},
    "factor 0": {"jitter": (0.36, 0.4, 0.2, 0.1)},
    "factor 3": {"jitter": (0.4, 0.4, 0.2, 0.09)},
    "grey": {"grey": 0.25},
    "blur": {"blur": 0.15},
    "sigma": {"blur": 0.9, "blur_sigma": (0.1, 2.3)},
    "solarize": {"solarize": 0.25},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_another_distribution_would_be_noticed(name: str) -> None:
    view = replace(BYOL_VIEWS(SIDE)[1], **({"blur": 0.9} if name == "sigma" else {}))
    assert name in differing(view, replace(view, **CHANGES[name]), SIDE, SIDE)


def test_all_orders_of_jitter_are_as_likely() -> None:
    view = View(size=SIDE)
    order = draw_batch(view, uniform(view, 24_000), SIDE, SIDE).order
    codes, counts = torch.unique(order @ torch.tensor([64, 16, 4, 1]), return_counts=True)
    assert len(codes) == 24
    assert counts.min() > 850
    assert counts.max() < 1150


def test_bound_crops_are_the_references() -> None:
    """The first crop that has enough of the first view's, of up to ten; else one more, wherever it lies."""
    first, local = View(size=SIDE, scale=(0.3, 0.6)), View(size=16, scale=(0.1, 0.4), overlap=0.5)
    numbers_ = uniform(first, 3000, 5), uniform(local, 3000, 6)
    whole = draw_batch(first, numbers_[0], 64, 48).crop
    bound = draw_batch(local, numbers_[1], 64, 48, whole).crop
    shares = [overlap(tuple(a), tuple(b)) for a, b in zip(bound.tolist(), whole.tolist(), strict=True)]  # type: ignore[arg-type]
    theirs = []
    for number in range(3000):
        (_, a), (_, b) = draw_all([first, local], 64, 48, generator(2, "bound", number))[0]
        theirs.append(overlap(b.crop, a.crop))
    assert ks_2samp(shares, theirs).pvalue > 1e-3
    assert np.mean(np.array(shares) >= 0.5) > 0.95
    never = replace(local, overlap=1.0, scale=(0.7, 0.9))  # larger than the first view: no crop lies in it
    last = draw_batch(never, numbers_[1], 64, 48, whole).crop
    assert torch.equal(last, draw_batch(replace(never, overlap=0.0), numbers_[1][:, 220:], 64, 48).crop)
    free = draw_batch(local, numbers_[1], 64, 48).crop
    unbound = [overlap(tuple(a), tuple(b)) for a, b in zip(free.tolist(), whole.tolist(), strict=True)]  # type: ignore[arg-type]
    assert ks_2samp(unbound, theirs).pvalue < 1e-3


def test_a_view_is_flipped_as_the_first_where_it_asks_for_that() -> None:
    free = View(size=SIDE)
    split, sampler = Resident(index(), (free, replace(free, flip_as_first=True), free), 0, CPU), DrawSampler(24, 24, 0)
    batch = next(iter(split.batches(sampler))).to("cpu")
    first, bound, other = (box[:, 4] for box in batch.boxes)
    assert 0 < first.mean() < 1
    assert torch.equal(bound, first)
    assert not torch.equal(other, first)


# -------------------------------------------------------------------------------------------------- steps

SOME = (*BYOL_VIEWS(SIDE), *LOCAL_CROPS(BYOL_VIEWS(SIDE)[0], 2, 16, (0.1, 0.4), overlap=0.3))


def steps(count: int, rank: int = 0, world: int = 1, accumulate: int = 1, start: int = 0, seed: int = 0) -> list[Batch]:
    split = Resident(index(), SOME, seed, CPU)
    sampler = DrawSampler(24, 8 // world, seed, start_step=start, rank=rank, world=world)
    return [batch.to("cpu") for batch in islice(split.batches(sampler, accumulate), count * accumulate)]


def same(
    actual: Sequence[Batch], expected: Sequence[Batch], rows: Callable[[int], slice] = lambda _: slice(None)
) -> bool:
    return all(
        all(torch.equal(a, b[rows(n)]) for a, b in zip(tensors(one), tensors(other), strict=True))
        for n, (one, other) in enumerate(zip(actual, expected, strict=True))
    )


def tensors(batch: Batch) -> list[Tensor]:
    assert batch.labels is not None
    return [*batch.views, *batch.boxes, batch.indices, batch.labels]


def test_a_step_has_the_samplers_images() -> None:
    keys = list(islice(DrawSampler(24, 8, 0), 9))
    batches = steps(9)
    assert [batch.indices.tolist() for batch in batches] == [[image for image, _ in batch_keys] for batch_keys in keys]
    for epoch in (batches[:3], batches[3:6]):
        assert sorted(int(i) for batch in epoch for i in batch.indices) == list(range(24))
    assert all(batch.labels is not None and batch.labels.tolist() == (batch.indices % 3).tolist() for batch in batches)
    assert [tuple(view.shape) for view in batches[0].views] == [(8, 3, SIDE, SIDE)] * 2 + [(8, 3, 16, 16)] * 2
    assert not torch.equal(batches[0].boxes[2], batches[0].boxes[3])
    assert not torch.equal(batches[0].boxes[0], batches[3].boxes[0])


def test_each_step_and_view_has_numbers_of_its_own() -> None:
    boxes = [box for batch in steps(6) for box in batch.boxes]
    for number, box in enumerate(boxes):
        assert not any(torch.equal(box, other) for other in boxes[:number])


def test_ranks_and_parts_are_one_batch() -> None:
    whole = steps(4)
    for rank in (0, 1):
        assert same(steps(4, rank=rank, world=2), whole, lambda _, rank=rank: slice(rank, None, 2))
    parts = steps(4, accumulate=4)
    assert same(parts, [batch for batch in whole for _ in range(4)], lambda n: slice(2 * (n % 4), 2 * (n % 4) + 2))
    mine = steps(4, rank=1, world=2, accumulate=2)
    theirs = [batch for batch in steps(4, rank=1, world=2) for _ in range(2)]
    assert same(mine, theirs, lambda n: slice(2 * (n % 2), 2 * (n % 2) + 2))


@pytest.mark.parametrize("start", [1, 4])
def test_a_later_start_gives_the_undisturbed_tail(start: int) -> None:
    assert same(steps(3, start=start), steps(3 + start)[start:])
    assert not same(steps(3, start=start), steps(3, start=start, seed=1))


def test_a_draw_has_its_own_numbers_whatever_was_drawn_elsewhere() -> None:
    """Drawing leaves torch's global generator alone, from which objectives draw."""
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    steps(2)
    assert torch.equal(torch.rand(3), expected)


def test_how_many_are_made_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = steps(2)
    monkeypatch.setattr(resident, "CACHED", 3 * 3 * SIDE * SIDE)
    assert same(steps(2), whole)


def test_a_subset_is_that_of_the_other_back_ends() -> None:
    from bench.data.images import ViewDataset

    images = index()
    split = Resident(images, SOME, 3, CPU, subset=10)
    positions = ViewDataset(images, SOME, 3, subset=10).positions
    assert images.pixels is not None
    assert torch.equal(split.pixels, torch.from_numpy(images.pixels[positions]).permute(0, 3, 1, 2))
    batch = next(iter(split.batches(DrawSampler(10, 10, 3)))).to("cpu")
    assert sorted(batch.indices.tolist()) == positions.tolist()
    assert batch.labels is not None
    assert batch.labels.tolist() == (batch.indices % 3).tolist()


def test_strong_steps_are_done() -> None:
    view = replace(SUPERVISED_VIEW(SIDE), scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    plain, strong = (
        next(iter(Resident(index(), [one], 0, CPU).batches(DrawSampler(24, 24, 0)))).to("cpu").views[0]
        for one in (view, replace(view, strong=5))
    )
    changed = (plain != strong).flatten(1).any(1)
    assert changed.float().mean() > 0.7


def test_layout_is_what_is_asked_for() -> None:
    split = Resident(index(), SOME, 0, CPU)
    batch = next(iter(split.batches(DrawSampler(24, 8, 0)))).to("cpu", memory_format=torch.channels_last)
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in batch.views)
    assert all(view.dtype == torch.float32 for view in batch.views)


# ------------------------------------------------------------------------------------------------ refusals


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 24 * SIDE * SIDE * 3
    monkeypatch.setattr(resident, "free_bytes", lambda device: 2 * needed)
    Resident(index(), SOME, 0, CPU)
    monkeypatch.setattr(resident, "free_bytes", lambda device: 2 * needed - 1)
    with pytest.raises(
        BadInput, match=r"24 images of cifar10 \(32×32\) take .* set view_backend to 'device' or 'fast'"
    ):
        Resident(index(), SOME, 0, CPU)
    monkeypatch.setattr(resident, "free_bytes", lambda device: 2 * needed)
    with pytest.raises(BadInput, match="more than half"):
        Resident(index(), SOME, 0, CPU, sharing=2)


def test_free_memory_is_a_plausible_number() -> None:
    assert 2**20 < resident.free_bytes(CPU) < 2**50


def test_images_of_several_sizes_are_refused(tmp_path: Path) -> None:
    for name, size in (("a.png", (32, 32)), ("b.png", (32, 33))):
        Image.new("RGB", size).save(tmp_path / name)
    with pytest.raises(BadInput, match="32×33"):
        Resident(Index("cifar10", tmp_path, "train", ("a.png", "b.png")), SOME, 0, CPU)


def test_salient_views_are_refused() -> None:
    with pytest.raises(BadInput, match="set view_backend to 'fast'"):
        Resident(index(), [View(size=SIDE, salient=0.2)], 0, CPU)


def test_another_device_is_a_mistake() -> None:
    batch = next(iter(Resident(index(), SOME, 0, CPU).batches(DrawSampler(24, 8, 0))))
    with pytest.raises(ValueError, match="lie on cpu"):
        batch.to("meta")


def test_the_hue_is_the_last_of_the_jitters() -> None:
    assert HUE == 3


def test_what_has_no_chance_does_not_happen_even_where_the_smallest_number_is_drawn() -> None:
    view = replace(SUPERVISED_VIEW(SIDE), flip=0.0, jitter_p=0.0)
    draws = draw_batch(view, torch.zeros(1, numbers(view)), SIDE, SIDE)
    assert not any(bool(one.any()) for one in (draws.flip, draws.jitter, draws.grey, draws.blur, draws.solarize))
