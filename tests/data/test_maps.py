from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.images import ViewDataset, loader
from bench.data.maps import Maps, WrongMap, covered, cut, instance_mask, run_lengths, saliency, segments
from bench.data.sampler import DrawSampler
from bench.data.sets import index
from bench.data.views import BYOL_VIEWS, View
from bench.data.views.draw import draw, draw_all, draw_crop, overlap
from bench.data.views.pillow import apply
from bench.errors import BadInput
from bench.randomness import generator

PLAIN = View(size=24, jitter=None, grey=0.0, blur=0.0)


def encoded(runs):
    """COCO's string of run lengths, written from its description."""
    text = ""
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            piece, value = value & 31, value >> 5
            done = (value == 0 and not piece & 16) or (value == -1 and piece & 16)
            text += chr(piece + (0 if done else 32) + 48)
            if done:
                break
    return text


def annotate(root, shapes, split="train2017", size=(40, 32)):
    """Instances of image 0: [(area, iscrowd, segmentation)]."""
    images = [{"id": 7 + n, "file_name": f"{n:012d}.jpg", "width": size[0], "height": size[1]} for n in range(10)]
    annotations = [
        {"id": n, "image_id": 7, "area": area, "iscrowd": crowd, "segmentation": shape, "category_id": 1}
        for n, (area, crowd, shape) in enumerate(shapes)
    ]
    (root / "annotations").mkdir()
    content = json.dumps({"images": images, "annotations": annotations, "categories": []})
    (root / "annotations" / f"instances_{split}.json").write_text(content)


def test_a_view_of_a_map_shows_the_same_pixels_as_the_view_of_the_image():
    """A picture whose grey says where a pixel is: its view without smoothing equals the map's, crop, flip and all."""
    pixels = np.repeat(np.add.outer(7 * np.arange(30), np.arange(40)).astype(np.uint8)[..., None], 3, 2)
    for number in range(20):
        drawn = draw(PLAIN, 40, 30, generator(number, "map"))
        actual = cut(pixels[..., 0], drawn.crop, drawn.flip, 24, 40, 30)
        left, top, w, h = drawn.crop
        if w % 16 == 0 or h % 16 == 0:
            continue  # pixels of the view fall on the border of two, and either is as near
        image = Image.fromarray(pixels[..., 0]).crop((left, top, left + w, top + h)).resize((24, 24), Image.NEAREST)
        expected = np.asarray(image)
        assert np.array_equal(actual, expected[:, ::-1] if drawn.flip else expected)


def test_a_map_of_another_size_than_the_image_is_cut_at_the_same_place():
    whole = np.zeros((15, 20), np.uint8)
    whole[:, 10:] = 9
    assert np.array_equal(cut(whole, (0, 0, 20, 30), False, 4, 40, 30), np.zeros((4, 4)))
    assert np.array_equal(cut(whole, (10, 0, 20, 30), False, 2, 40, 30), [[0, 9]] * 2)
    assert np.array_equal(cut(whole, (10, 0, 20, 30), True, 2, 40, 30), [[9, 0]] * 2)


def test_existing_views_are_the_same_with_a_map_bit_for_bit(coco):
    train = index("coco", coco, "train")
    for backend in ("reference", "fast"):
        plain = ViewDataset(train, BYOL_VIEWS(16), seed=3, backend=backend)
        mapped = ViewDataset(train, BYOL_VIEWS(16), seed=3, backend=backend, map="saliency")
        one, other = plain[4, 11], mapped[4, 11]
        assert all(np.array_equal(a, b) for a, b in zip(one.views, other.views, strict=True))
        assert one.boxes == other.boxes
        assert not one.masks
        assert [mask.shape for mask in other.masks] == [(16, 16), (16, 16)]


def test_a_batch_has_a_map_of_each_view_and_moves_it(coco):
    views = (replace(BYOL_VIEWS(16)[0], count=2), View(size=8))
    dataset = ViewDataset(index("coco", coco, "train"), views, seed=0, map="segments")
    (batch,) = islice(loader(dataset, DrawSampler(10, 4, 0)), 1)
    assert [tuple(mask.shape) for mask in batch.masks] == [(4, 16, 16), (4, 16, 16), (4, 8, 8)]
    moved = batch.to("cpu")
    assert {mask.dtype for mask in moved.masks} == {torch.uint8}  # not normalised, as images are
    assert all(torch.equal(a, b) for a, b in zip(moved.masks, batch.masks, strict=True))
    (batch,) = islice(loader(ViewDataset(index("coco", coco, "train"), views, seed=0), DrawSampler(10, 4, 0)), 1)
    assert batch.masks is None


def test_the_device_back_end_is_refused(coco):
    with pytest.raises(BadInput, match="set view_backend to 'fast' or 'reference'"):
        ViewDataset(index("coco", coco, "train"), BYOL_VIEWS(16), seed=0, backend="device", map="segments")


# ---------------------------------------------------------------------------------------------- objects


def test_objects_are_numbered_smaller_above_larger_and_crowds_are_left_out(coco):
    square = [[10, 8, 30, 8, 30, 24, 10, 24]]
    small = [[14, 10, 20, 10, 20, 16, 14, 16]]
    crowd = {"size": [32, 40], "counts": [0, 32 * 40]}
    annotate(coco, [(36, 0, small), (320, 0, square), (1280, 1, crowd)])
    whole = Maps("objects", index("coco", coco, "train")).of(0, np.zeros((32, 40, 3), np.uint8))
    assert whole.shape == (32, 40)
    assert (whole[9, 12], whole[12, 16], whole[2, 2], whole[28, 35]) == (1, 2, 0, 0)
    assert np.count_nonzero(whole == 2) == 36
    assert np.count_nonzero(whole) == 320
    other = Maps("objects", index("coco", coco, "train")).of(1, np.zeros((32, 40, 3), np.uint8))
    assert not other.any()


def test_run_lengths_as_list_and_as_string_give_the_same_mask():
    mask = np.random.default_rng(0).random((9, 13)) > 0.6
    flat = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    assert np.array_equal(instance_mask({"size": [9, 13], "counts": runs}, 13, 9), mask)
    assert np.array_equal(instance_mask({"size": [9, 13], "counts": encoded(runs)}, 13, 9), mask)
    long = [4, 3000, 41, 2, 77777, 1, 5]
    assert run_lengths(encoded(long)) == long
    assert run_lengths("06") == [0, 6]  # digits by hand: 48 is 0


@pytest.mark.parametrize(
    ("size", "shape", "said"),
    [
        ((32, 40), [[10, 8, 30, 8, 30, 24]], "they are of 32×40 pixels, and the image has 40×32"),
        ((80, 70), [[10, 8, 30, 8, 30, 24]], "they are of 80×70 pixels, and the image has 40×32"),
        ((40, 32), {"size": [32, 40], "counts": [0, 10**15]}, "its runs cover 1000000000000000 of 1280 pixels"),
        ((40, 32), {"size": [32, 40], "counts": [1300, -20]}, "one of its runs has -20 pixels"),
        ((40, 32), {"size": [32, 40]}, "object 1 has no outline"),
        ((40, 32), [[10, 8, 30]], "object 1 has no outline"),
        ((40, 32), 7, "object 1 has no outline"),
    ],
)
@pytest.mark.parametrize("unreadable", ["fail", "skip"])
def test_annotations_that_are_not_the_images_are_refused(coco, size, shape, said, unreadable):
    annotate(coco, [(36, 0, shape)], size=size)
    dataset = ViewDataset(index("coco", coco, "train"), [PLAIN], seed=0, map="objects", unreadable=unreadable)
    with pytest.raises(BadInput, match=rf"000000000000.jpg has annotations .*{said}.*; unpack the images"):
        dataset[0, 0]
    assert dataset[1, 0].masks  # of which nothing is said


@pytest.mark.parametrize("size", [(40, 32), (80, 64), (401, 322)])
def test_annotations_of_the_original_fit_a_smaller_image(coco, size):
    annotate(coco, [(36, 0, [[10, 8, 30, 8, 30, 24, 10, 24]])], size=size)
    whole = Maps("objects", index("coco", coco, "train")).of(0, np.zeros((32, 40, 3), np.uint8))
    assert whole.shape == size[::-1]


def test_missing_annotations_are_one_sentence(coco, imagenet):
    with pytest.raises(BadInput, match=r"instances_train2017.json is missing; unpack COCO's annotations"):
        Maps("objects", index("coco", coco, "train"))
    with pytest.raises(BadInput, match="Maps of objects need COCO's annotations, which imagenet has not; take"):
        Maps("objects", index("imagenet", imagenet, "train"))
    (coco / "annotations").mkdir()
    (coco / "annotations" / "instances_train2017.json").write_text("{}")
    with pytest.raises(BadInput, match="cannot be read as COCO's instances"):
        Maps("objects", index("coco", coco, "train"))


# ------------------------------------------------------------------------------- segments and saliency


def scene():
    """A red square on blue, 60×80."""
    image = np.full((60, 80, 3), (30, 40, 160), np.uint8)
    image[20:40, 30:50] = (200, 40, 30)
    return image


def test_segments_follow_colour():
    regions = segments(scene())
    assert regions.dtype == np.uint8
    assert len(np.unique(regions[22:38, 32:48])) == 1
    assert len({regions[5, 5], regions[5, 75], regions[55, 5], regions[55, 75]}) == 1
    assert regions[30, 40] != regions[5, 5]


def test_large_images_are_segmented_small():
    image = np.asarray(Image.fromarray(scene()).resize((800, 600), Image.NEAREST))
    for kind in (segments, saliency):
        assert kind(image).shape == (120, 160)


def test_what_is_rare_in_colour_is_salient():
    salient = saliency(scene()) >= 128
    assert salient[23:37, 33:47].all()
    assert not salient[:15].any()
    assert not saliency(np.full((10, 10, 3), 77, np.uint8)).any()  # one colour: nothing stands out


# ---------------------------------------------------------------------------------- what crops must have


def test_overlap_by_hand():
    assert overlap((0, 0, 10, 10), (5, 5, 10, 10)) == 0.25
    assert overlap((0, 0, 10, 10), (20, 0, 10, 10)) == 0.0
    assert overlap((2, 2, 4, 4), (0, 0, 10, 10)) == 1.0  # of this crop's area, not of the other's
    assert overlap((0, 0, 10, 10), (2, 2, 4, 4)) == pytest.approx(0.16)


def test_small_crops_overlap_the_first_views_crop():
    first, small = View(scale=(0.2, 0.3)), View(scale=(0.05, 0.14), count=4)
    shares = {}
    for least in (0.0, 0.8):
        views = (first, replace(first), replace(small, overlap=least))
        drawn = [draw_all(views, 320, 240, generator(0, number))[0] for number in range(60)]
        shares[least] = np.array([overlap(d.crop, all_[0][1].crop) for all_ in drawn for _, d in all_[2:]])
    assert (shares[0.0] < 0.8).mean() > 0.6
    assert (shares[0.8] < 0.8).mean() < 0.3  # ten draws do not always find one
    assert shares[0.8].min() >= 0.0


def test_where_none_of_ten_overlaps_enough_the_next_is_taken_whatever_it_shows():
    """As in the authors' get_params_conditioned, whose fallback is a draw without a condition."""
    view, strip, next_is_best = View(scale=(0.05, 0.14), overlap=1.0), (0, 100, 320, 20), 0
    for number in range(8):
        drawn = draw(view, 320, 240, generator(number, "crop"), strip)
        rng = generator(number, "crop")
        candidates = [draw_crop(320, 240, view.scale, view.ratio, rng) for _ in range(11)]
        assert drawn.crop == candidates[10]
        assert all(overlap(crop, strip) < 1.0 for crop in candidates[:10])
        next_is_best += overlap(drawn.crop, strip) >= max(overlap(crop, strip) for crop in candidates)
    assert next_is_best < 8  # or the best of all would be the same


def test_where_none_of_ten_covers_enough_that_is_salient_the_best_is_taken():
    whole = np.zeros((120, 160), np.uint8)
    whole[::119, ::159] = 200  # the four corners: half of them is more than a crop of a tenth has
    view = View(scale=(0.08, 0.12), salient=0.5)
    for number in range(8):
        drawn = draw(view, 320, 240, generator(number, "crop"), saliency=whole)
        rng = generator(number, "crop")
        candidates = [draw_crop(320, 240, view.scale, view.ratio, rng) for _ in range(10)]
        shares = [covered(whole, crop, 320, 240) for crop in candidates]
        assert drawn.crop == candidates[shares.index(max(shares))]


def test_a_view_that_is_flipped_as_the_first_is_flipped_where_that_is_and_nowhere_else():
    free = View(flip=0.3)
    bound = replace(free, flip_as_first=True)
    views = [draw_all((free, bound, free), 320, 240, generator(0, number))[0] for number in range(60)]
    flips = np.array([[one.flip for _, one in drawn] for drawn in views])
    assert 0.1 < flips[:, 0].mean() < 0.5
    assert (flips[:, 1] == flips[:, 0]).all()
    assert (flips[:, 2] != flips[:, 0]).any()
    plain = [draw_all((free, free, free), 320, 240, generator(0, number))[0] for number in range(60)]
    for one, other in zip(views, plain, strict=True):
        assert all(replace(a, flip=b.flip) == b for (_, a), (_, b) in zip(one, other, strict=True))


def test_a_constraint_that_is_met_draws_nothing_more():
    whole = (0, 0, 320, 240)
    view = View(overlap=0.5)
    assert draw(view, 320, 240, generator(0, 1), whole) == draw(replace(view, overlap=0.0), 320, 240, generator(0, 1))


def test_crops_cover_a_share_of_what_is_salient():
    whole = np.zeros((120, 160), np.uint8)
    whole[10:30, 10:30] = 200
    assert covered(whole, (0, 0, 40, 60), 320, 240) == pytest.approx(0.5)  # columns 0…20 of the map
    assert covered(np.zeros((4, 4), np.uint8), (0, 0, 1, 1), 8, 8) == 1.0
    shares = {}
    for least in (0.0, 0.2):
        view = View(scale=(0.2, 1.0), salient=least)
        crops = [draw(view, 320, 240, generator(0, n), saliency=whole).crop for n in range(100)]
        shares[least] = np.array([covered(whole, crop, 320, 240) for crop in crops])
    assert (shares[0.0] < 0.2).mean() > 0.2
    assert (shares[0.2] < 0.2).mean() < 0.05
    with pytest.raises(ValueError, match="needs the image's saliency"):
        draw(View(salient=0.2), 320, 240, generator(0, 0))


def test_a_view_with_its_map_is_drawn_by_the_same_crop(coco):
    """End to end: the saliency of the view is that of the whole, cut by the view's box."""
    train = index("coco", coco, "train")
    dataset = ViewDataset(train, (replace(PLAIN, salient=0.2),), seed=0, map="saliency")
    sample = dataset[0, 5]
    image = dataset.files.image(0)
    whole = saliency(np.asarray(image))
    drawn = draw(dataset.views[0], image.width, image.height, generator(0, "view", 5), saliency=whole)
    assert np.array_equal(sample.masks[0], cut(whole, drawn.crop, drawn.flip, 24, image.width, image.height))
    assert np.array_equal(sample.views[0], np.asarray(apply(image, dataset.views[0], drawn)))


SQUARE = [[2.0, 2.0, 8.0, 2.0, 8.0, 8.0]]
UNLIKE = {
    "nested": b'{"images": ' + b"[" * 100_000,
    "no objects": b'{"images": [], "annotations": [3]}',
    "no list": b'{"images": 3, "annotations": []}',
    "words for areas": json.dumps(
        {
            "images": [{"id": 1, "file_name": "0.jpg", "width": 40, "height": 32}],
            "annotations": [{"image_id": 1, "area": area, "segmentation": SQUARE} for area in (3, "much")],
        }
    ).encode(),
    "an id that is a list": b'{"images": [{"id": [1], "file_name": "0.jpg", "width": 4, "height": 4}]}',
}


@pytest.mark.parametrize("content", UNLIKE.values(), ids=UNLIKE.keys())
def test_annotations_of_any_other_form_are_one_sentence(coco, content):
    (coco / "annotations").mkdir()
    (coco / "annotations" / "instances_train2017.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"^\S+ cannot be read as COCO's instances \(.*\); unpack it anew\.$"):
        Maps("objects", index("coco", coco, "train"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": "40"}, "they are of '40'×32 pixels"),
        ({"width": -40}, "they are of -40×32 pixels"),
        ({"width": 2**40, "height": 2**40}, "which are too many"),  # before memory is taken for them
        ({"segmentation": [[float("inf")] * 6]}, "object 1 has no outline"),
        ({"segmentation": {"counts": [2**70]}}, "object 1 has no outline"),
        ({"segmentation": 3}, "object 1 has no outline"),
    ],
)
def test_sizes_and_outlines_that_are_none_are_refused(coco, change, said):
    (coco / "annotations").mkdir()
    names = index("coco", coco, "train").files
    image = {"id": 1, "file_name": names[0].rpartition("/")[2], "width": 40, "height": 32}
    shape = {"image_id": 1, "area": 9, "segmentation": SQUARE}
    image |= {key: value for key, value in change.items() if key in image}
    content = {"images": [image], "annotations": [shape | {key: change[key] for key in change if key in shape}]}
    (coco / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    with pytest.raises(WrongMap, match=said):
        Maps("objects", index("coco", coco, "train")).of(0, np.zeros((32, 40, 3), np.uint8))
