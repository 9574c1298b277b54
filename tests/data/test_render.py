"""Rendered data sets: equal for equal seeds, in the layouts of the originals, with labels true to the pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench.synthetic.render as rendering
from bench.data.sets import index
from bench.data.sets.check import check
from bench.data.sets.imagenet import imagenet100_classes
from bench.errors import BadInput
from bench.randomness import generator
from bench.synthetic import traffic
from bench.synthetic.canvas import KIND_NAMES, KINDS, Canvas, Colour
from bench.synthetic.render import (
    PAIRS,
    cityscapes_scene,
    coco_annotations,
    instance_ids,
    label_ids,
    render,
    train_ids,
)
from bench.synthetic.scenes import paint_still_life, paint_street
from bench.synthetic.street import Street
from bench.synthetic.things import OBJECTS

FOLDERS = ("coco", "imagenet", "cityscapes", "clips", "cifar10", "cifar100", "stl10")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render only an image or two of each."""
    monkeypatch.setattr(rendering, "COCO", {"train2017": 2, "val2017": 1})
    monkeypatch.setattr(rendering, "IMAGENET", {"train": 1, "val": 1})
    monkeypatch.setattr(rendering, "CITYSCAPES", {"train": ("aachen", 1), "val": ("frankfurt", 1)})
    monkeypatch.setattr(rendering, "CLIPS", {"train": 1})
    monkeypatch.setattr(rendering, "FRAMES", 2)
    small = {"cifar10": (32, {"train": 1}), "cifar100": (32, {"train": 1}), "stl10": (96, {"train": 1, "unlabeled": 2})}
    monkeypatch.setattr(rendering, "SMALL", small)


def contents(root: Path) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def load(file: Path) -> np.ndarray:
    with Image.open(file) as opened:
        return np.asarray(opened)


# ----------------------------------------------------------------------------------------------- layouts


@pytest.mark.slow
@pytest.mark.parametrize("dataset", FOLDERS)
def test_readers_of_the_original_data_sets_read_it(rendered: Path, dataset: str) -> None:
    report = check(dataset, rendered / dataset)
    assert report.ok, report.lines()
    counts = {split: sum(groups.values()) for split, groups in report.counts.items()}
    expected = {"coco": (24, 8), "imagenet": (72, 24), "cityscapes": (8, 4), "stl10": (60, 40), "clips": (24, 8)}.get(
        dataset, (120, 40)
    )
    assert (counts["train"], counts["val"]) == expected


def test_imagenet_classes_are_real_and_in_imagenet100(rendered: Path) -> None:
    train = index("imagenet", rendered / "imagenet", "train")
    assert train.classes == tuple(sorted(OBJECTS))
    assert len(train.classes) == 6
    assert set(train.classes) <= set(imagenet100_classes())


def test_sizes(rendered: Path) -> None:
    for pattern in ("coco/*/*.jpg", "imagenet/*/*/*.JPEG"):
        for file in rendered.glob(pattern):
            with Image.open(file) as opened:
                assert 96 <= min(opened.size) <= max(opened.size) <= 160
    for file in rendered.glob("cityscapes/leftImg8bit/*/*/*.png"):
        assert load(file).shape == (128, 256, 3)


def test_the_modules_do_without_torch() -> None:
    modules = ("data.roots", "data.sets.check", "data.packs.writing", "data.sampler", "data.decode", "synthetic.render")
    code = f"import sys\nfor m in {modules}: __import__('bench.' + m)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ------------------------------------------------------------------------------------- once, and the same


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_equal_for_equal_seeds(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = render(tmp_path / "a", seed=0, progress=lambda done, total: seen.append((done, total)))
    assert made == {name: tmp_path / "a" / name for name in FOLDERS}
    assert seen == [(number, 53) for number in range(1, 54)]
    render(tmp_path / "b", seed=0)
    render(tmp_path / "c", seed=1)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    pictures = [name for name in a if name.endswith(("jpg", "JPEG", "png"))]
    assert len(pictures) == 17 + 32 + 2 * 3 + 4 * 2  # images, small ones, label maps, frames
    assert not any(a[name] == c[name] for name in pictures)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_it_is_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == sorted(FOLDERS)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))}
    with monkeypatch.context() as patched:
        patched.setattr(rendering, "Canvas", None)  # nothing can be painted
        patched.setattr(rendering, "paint_object", None)
        patched.setattr(rendering, "paint_shape", None)
        render(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))} == before
    # Another seed and another version take its place, whole.
    (tmp_path / "coco" / "left over").write_text("")
    kept = contents(tmp_path / "imagenet")
    render(tmp_path, seed=1)
    assert not (tmp_path / "coco" / "left over").exists()
    assert contents(tmp_path / "imagenet") != kept
    monkeypatch.setattr(rendering, "VERSION", 999)
    (tmp_path / "coco" / "left over").write_text("")
    render(tmp_path, seed=1)
    assert not (tmp_path / "coco" / "left over").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == sorted(FOLDERS)


@pytest.mark.usefixtures("few")
def test_an_interrupted_rendering_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(tmp_path, progress=stop)
    left = [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert left == ["coco"]  # whole: three images, then the next was begun
    assert check("coco", tmp_path / "coco").ok


def test_other_files_in_the_folder_stay(tmp_path: Path, coco: Path) -> None:
    before = contents(coco)
    with pytest.raises(BadInput, match="coco exists and was not rendered by bench; choose another folder"):
        render(coco.parent)
    assert contents(coco) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"Cannot render into .*file"):
        render(tmp_path / "file")


# ------------------------------------------------------------------------------------------ label truth


class Flat(Canvas):
    """Gives every kind a colour of its own, so that the picture tells what was painted where."""

    def paint(self, mask: np.ndarray, colour: Colour, kind: str, instance: int = 0) -> None:
        number = KIND_NAMES.index(kind)
        super().paint(mask, (number / 64, instance / 1024, 0.5), kind, instance)

    def shade(self, mask: np.ndarray, factor: float) -> None:
        pass


@pytest.mark.parametrize("number", range(4))
def test_every_stroke_paints_colour_and_label_alike(number: int) -> None:
    for canvas in (Flat(128, 256), Flat(96, 120)):
        if number == 3 and canvas.width == 120:
            paint_still_life(canvas, generator(0, "test", number))
        else:
            paint_street(canvas, generator(0, "test", number), PAIRS[number])
        assert np.array_equal(np.round(canvas.colour[..., 0] * 64), canvas.kind)
        assert np.array_equal(np.round(canvas.colour[..., 1] * 1024), canvas.instance)
        assert (canvas.colour[..., 2] == 0.5).all()  # no pixel was left out
        kinds = np.array(["", *canvas.instances])[canvas.instance]
        told_apart = canvas.instance > 0
        assert (kinds[told_apart] == np.array(KIND_NAMES)[canvas.kind][told_apart]).all()


def test_people_on_bicycles_and_motorcycles_are_riders() -> None:
    for painter, kinds in (
        (traffic.cyclist, ["bicycle", "rider"]),
        (traffic.motorcyclist, ["motorcycle", "rider"]),
        (traffic.person, ["person"]),
    ):
        canvas = Canvas(128, 256)
        painter(Street(canvas, generator(0)), 0.0, 10.0)
        assert canvas.instances == kinds
        for number, kind in enumerate(kinds, 1):
            assert (canvas.kind[canvas.instance == number] == KIND_NAMES.index(kind)).all()
            assert (canvas.instance == number).sum() > 30


def test_light_and_shade_change_no_label() -> None:
    canvas = Canvas(8, 8)
    canvas.paint(canvas.x > 4, (0.5, 0.5, 0.5), "car", canvas.new("car"))
    kind, instance = canvas.kind.copy(), canvas.instance.copy()
    canvas.shade(canvas.y > 4, 0.5)
    canvas.image(generator(0))
    assert np.array_equal(canvas.kind, kind)
    assert np.array_equal(canvas.instance, instance)
    assert canvas.colour[7, 7, 0] == 0.25
    assert kind[0].tolist() == [0] * 4 + [KIND_NAMES.index("car")] * 4


def test_the_files_hold_the_scene(rendered: Path) -> None:
    for split, city in (("train", "aachen"), ("val", "frankfurt")):
        canvas, image = cityscapes_scene(0, split, 1)
        stem = f"{city}_000001_000019"
        labels = rendered / "cityscapes" / "gtFine" / split / city
        picture = rendered / "cityscapes" / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
        assert np.array_equal(load(picture), np.asarray(image))
        assert np.array_equal(load(labels / f"{stem}_gtFine_labelIds.png"), label_ids(canvas))
        assert np.array_equal(load(labels / f"{stem}_gtFine_labelTrainIds.png"), train_ids(label_ids(canvas)))
        assert np.array_equal(load(labels / f"{stem}_gtFine_instanceIds.png"), instance_ids(canvas))


def test_all_classes_occur_and_agree(rendered: Path) -> None:
    # Label id -> train id, by hand.
    names = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
    names |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    for split in ("train", "val"):
        seen: set[int] = set()
        ids_seen: set[int] = set()
        for file in (rendered / "cityscapes" / "gtFine" / split).rglob("*_labelIds.png"):
            ids = load(file)
            trained = load(Path(str(file).replace("labelIds", "labelTrainIds")))
            instances = load(Path(str(file).replace("labelIds", "instanceIds")))
            assert ids.dtype == trained.dtype == np.uint8
            assert np.array_equal(np.vectorize(lambda value: names.get(value, 255))(ids), trained)
            assert np.array_equal(np.where(instances >= 1000, instances // 1000, instances), ids)
            assert set(np.unique(ids[instances >= 1000])) <= {24, 25, 26, 27, 28, 31, 32, 33}
            assert (instances[np.isin(ids, [24, 26])] >= 1000).all()  # every person and car is told apart
            seen |= set(np.unique(trained).tolist())
            ids_seen |= set(np.unique(ids).tolist())
        assert seen == {*range(19), 255}
        assert {1, 10} <= ids_seen  # ego vehicle and rail track: what is not evaluated


def test_colours_are_those_of_the_label(rendered: Path) -> None:
    colours: dict[int, list[np.ndarray]] = {}
    for file in (rendered / "cityscapes" / "gtFine").rglob("*_labelTrainIds.png"):
        picture = Path(str(file).replace("gtFine_labelTrainIds", "leftImg8bit").replace("gtFine", "leftImg8bit"))
        pixels, labels = load(picture).astype(float), load(file)
        for label in np.unique(labels):
            colours.setdefault(int(label), []).append(pixels[labels == label])
    mean = {label: np.concatenate(pixels_of_label).mean(0) for label, pixels_of_label in colours.items()}
    assert mean[10].min() > 150  # the sky is bright
    assert np.ptp(mean[0]) < 25  # the road grey,
    assert mean[0].max() < 120  # and dark
    for green in (8, 9):
        assert mean[green].argmax() == 1  # vegetation and terrain are green


def test_coco_annotations_are_true(rendered: Path) -> None:
    numbers = set()
    for split in ("train2017", "val2017"):
        content = json.loads((rendered / "coco" / "annotations" / f"instances_{split}.json").read_text())
        sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
        names = {image["file_name"] for image in content["images"]}
        assert names == {file.name for file in (rendered / "coco" / split).iterdir()}
        categories = {category["id"] for category in content["categories"]}
        assert len({annotation["id"] for annotation in content["annotations"]}) == len(content["annotations"])
        for annotation in content["annotations"]:
            mask = decode(annotation)
            assert mask.shape == sizes[annotation["image_id"]]
            assert annotation["area"] == mask.sum() > 0
            x, y, w, h = annotation["bbox"]
            assert mask[y : y + h, x : x + w].sum() == mask.sum()
            assert mask[y].any()
            assert mask[y + h - 1].any()
            assert mask[:, x].any()
            assert mask[:, x + w - 1].any()
            assert annotation["category_id"] in categories
            numbers.add(annotation["category_id"])
    assert len(numbers) >= 12
    assert {1, 2, 3} <= numbers


def decode(annotation: dict[str, dict[str, list[int]]]) -> np.ndarray:
    """The mask of run lengths down the columns, zeros first."""
    height, width = annotation["segmentation"]["size"]
    runs = annotation["segmentation"]["counts"]
    values = np.repeat(np.arange(len(runs)) % 2, runs)
    return values.reshape(width, height).T.astype(bool)


def test_annotations_of_a_known_canvas() -> None:
    canvas = Canvas(4, 6)
    canvas.paint(canvas.x > 0, (0.2, 0.2, 0.2), "road")
    canvas.paint(canvas.box(0, 0, 2, 2), (1, 0, 0), "car", canvas.new("car"))
    canvas.paint(canvas.box(1, 1, 3, 4), (0, 1, 0), "person", canvas.new("person"))
    hidden = canvas.new("bus")
    canvas.paint(np.zeros((4, 6), bool), (0, 0, 1), "bus", hidden)
    car, person = coco_annotations(canvas, image=7)
    assert (car["category_id"], car["area"], car["bbox"]) == (3, 3, [0, 0, 2, 2])
    assert (person["category_id"], person["area"], person["bbox"]) == (1, 6, [1, 1, 2, 3])
    assert car["image_id"] == 7
    assert np.array_equal(decode(car), canvas.instance == 1)
    assert np.array_equal(decode(person), canvas.instance == 2)
    assert instance_ids(canvas)[0, 0] == 26000
    assert instance_ids(canvas)[3, 2] == 24000
    assert instance_ids(canvas)[3, 5] == 7


def test_kinds_are_cityscapes_ids() -> None:
    expected = {"road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "sky": 23, "car": 26}
    assert {name: KINDS[name][0] for name in expected} == expected
