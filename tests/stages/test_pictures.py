"""`bench pictures`: what is drawn is what was computed, it is the same twice, and what has gone is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli import run
from bench.config.load import load_recipe, load_task
from bench.config.tasks import SegmentationTask
from bench.convert.proof import load_strictly, prove, write_proof
from bench.convert.trunk import TRUNK, read_trunk, save_trunk
from bench.data.sets import fingerprint, index
from bench.data.views import normalised
from bench.data.views.pillow import make_test_view
from bench.errors import BadInput
from bench.execute.pictures import files
from bench.execute.pictures import make as module
from bench.execute.pictures.files import Cell, Panel, Row, plain
from bench.execute.pictures.make import make
from bench.execute.pictures.shown_stages import records_of_all
from bench.execute.stage import run_stage
from bench.execute.stage_file import Done, write_done, write_stage
from bench.files import add_checksum, sha256_of, without_checksum
from bench.nn.encoder import build_encoder
from bench.outcomes import OUTCOMES, AreaOutcomes, read, write
from bench.plan import Planner
from bench.record import Record, read_all
from bench.results.report.picture_files import KINDS
from bench.stages.features import subset
from bench.stages.job import Job
from bench.stages.pictures.choice import fixed, worst
from bench.stages.pictures.components import components
from bench.stages.pictures.evaluation_views import fixed_images
from bench.stages.pictures.neighbours import neighbours
from bench.stages.pictures.overlay import OPACITY, colours_of, key, overlay, shares
from bench.stages.segmentation.model import build_backbone

ARCH = "resnet18w16"
NAMES = [f"val/town/town_{number:06d}.png" for number in range(40)]

# ------------------------------------------------------------------------------------------ which images


def test_images_are_chosen_by_their_names_alone() -> None:
    chosen = {NAMES[position] for position in fixed(NAMES, 5)}
    assert len(chosen) == 5
    assert {NAMES[::-1][position] for position in fixed(NAMES[::-1], 5)} == chosen
    less = [name for name in NAMES if name in chosen or name.endswith("7.png")]
    assert {less[position] for position in fixed(less, 5)} == chosen  # the others of the set change nothing
    assert chosen != set(NAMES[:5])
    assert len(fixed(NAMES, 100)) == 40
    assert len(set(fixed(["\udcff.png", "\udcfe.png", "same", "same"], 4))) == 4


def areas(rows: list[tuple[list[int], list[int], list[int]]], valid: list[bool]) -> AreaOutcomes:
    inner, guessed, true = (np.array([row[part] for row in rows]) for part in range(3))
    return AreaOutcomes("0" * 64, np.array(valid), ("a", "b"), inner, guessed, true)


def test_the_worst_image_is_the_first_of_the_lowest_iou_among_those_that_were_read() -> None:
    half, none = ([5, 0], [5, 5], [10, 0]), ([0, 0], [10, 0], [0, 10])  # (50 + 0) / 2 and 0
    perfect, empty = ([10, 0], [10, 0], [10, 0]), ([0, 0], [0, 0], [0, 0])
    assert worst(areas([perfect, half, half], [True] * 3)) == 1
    assert worst(areas([perfect, none, half], [True, False, True])) == 2
    assert worst(areas([empty, perfect], [True] * 2)) == 1
    assert worst(areas([empty, empty], [True] * 2)) is None


# ------------------------------------------------------------------------------------------ components


def test_components_are_those_of_an_svd_with_signs_by_the_largest_entry() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 12)) * np.array([9, 5, 3, 1, 1, 1])[:, None]
    maps = [(rng.normal(size=(*size, 6)) @ mixing + 4).astype(np.float32) for size in ((5, 7), (3, 4), (6, 6))]
    found = components(maps)
    rows = np.concatenate([each.reshape(-1, 12) for each in maps]).astype(np.float64)
    rows -= rows.mean(0)
    _, values, vectors = np.linalg.svd(rows, full_matrices=False)
    for number in range(3):
        direction = vectors[number] * np.sign(vectors[number][np.abs(vectors[number]).argmax()])
        np.testing.assert_allclose(found.directions[number], direction, atol=1e-9)
        assert found.shares[number] == pytest.approx(100 * values[number] ** 2 / (values**2).sum(), rel=1e-9)
        projected = rows @ direction
        shown = 255 * (projected - projected.min()) / np.ptp(projected)
        colour = np.concatenate([each[..., number].ravel() for each in found.colours])
        assert np.abs(colour - shown).max() <= 0.5 + 1e-6
    assert [each.shape for each in found.colours] == [(5, 7, 3), (3, 4, 3), (6, 6, 3)]


def test_what_does_not_vary_has_one_colour() -> None:
    line = np.linspace(0, 1, 12).reshape(3, 4, 1) * np.array([1.0, -3.0, 0.0, 0.0])
    found = components([line])
    assert found.shares == pytest.approx((100, 0, 0))
    assert found.directions[0] == pytest.approx(np.array([-1, 3, 0, 0]) / 10**0.5)
    assert found.colours[0][0, 0].tolist() == [255, 128, 128]
    assert found.colours[0][-1, -1].tolist() == [0, 128, 128]
    assert components([np.ones((2, 2, 4))]).shares == (0, 0, 0)
    assert components([np.arange(4.0).reshape(2, 2, 1)]).colours[0][..., 1:].tolist() == [[[128, 128]] * 2] * 2
    with pytest.raises(ValueError, match="not finite"):
        components([np.full((2, 2, 4), np.nan)])


# ------------------------------------------------------------------------------------------ overlays


def test_labels_are_laid_over_the_image_and_ignored_pixels_are_striped() -> None:
    colours = colours_of([[200, 0, 0], [0, 100, 0]], 3)
    assert colours[:2].tolist() == [[200, 0, 0], [0, 100, 0]]
    assert len({tuple(colour) for colour in colours.tolist()}) == 3
    image = np.full((64, 64, 3), 40, np.uint8)
    labels = np.repeat([0, 1, 2, 255], 16)[:, None].repeat(64, 1)
    painted = overlay(image, labels, colours)
    for label in range(3):
        expected = (1 - OPACITY) * 40 + OPACITY * colours[label].astype(float)
        assert np.abs(painted[labels == label] - expected).max() <= 0.5 + 1e-3
    greys = {tuple(colour) for colour in painted[labels == 255].tolist()}
    assert len(greys) == 2  # of the stripes
    assert all(len(set(grey)) == 1 for grey in greys)
    assert np.array_equal(
        overlay(image, np.full((64, 64), -1), colours), overlay(image, np.full((64, 64), 255), colours)
    )


def test_a_map_is_told_in_words_and_its_colours_are_listed() -> None:
    labels = np.repeat([0, 1, 255, 7], [50, 30, 15, 5])[None]
    assert shares(labels, ("road", "sky")) == "road 50 %, sky 30 %, ignored 20 %"
    assert shares(labels, ("road", "sky"), most=1) == "road 50 %"
    listed = key(["road", "sky"], colours_of([[1, 2, 250], [250, 2, 1]], 2))
    assert {(1, 2, 250), (250, 2, 1)} <= {tuple(colour) for colour in listed.reshape(-1, 3).tolist()}


# ------------------------------------------------------------------------------------------ files


def noise(seed: int, height: int = 100, width: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def panel(*cells: Cell | None, label: str = "row") -> Panel:
    return Panel("pca", "title", "caption", tuple("abc"[: len(cells)]), (Row(label, cells),))


def listed_in(work_dir: Path) -> Any:
    return json.loads((work_dir / "pictures" / "pictures.json").read_text(encoding="utf-8"))


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "pictures").iterdir() if file.suffix != ".lock"}


def test_files_are_the_same_twice_and_those_of_before_go(tmp_path: Path) -> None:
    blocks = Cell(noise(1, 2, 3), "blocks", blocks=(60, 90))
    files.write([panel(Cell(noise(0), "one", "words"), None, blocks)], tmp_path)
    before = bytes_in(tmp_path)
    assert len(before) == 3
    files.write([panel(Cell(noise(0), "one", "words"), None, blocks)], tmp_path)
    assert bytes_in(tmp_path) == before
    row = listed_in(tmp_path)["panels"][0]["rows"][0]
    assert row["cells"][0] | {"file": ""} == {"file": "", "alt": "one", "caption": "words"}
    assert row["cells"][1] is None
    with Image.open(tmp_path / "pictures" / row["cells"][2]["file"]) as shown:  # each value is a square
        assert shown.size == (180, 120)
        assert np.array_equal(np.asarray(shown)[::60, ::60], noise(1, 2, 3))
    (tmp_path / "pictures" / "mine.webp").touch()
    files.write([panel(Cell(noise(2), "two"))], tmp_path)
    after = bytes_in(tmp_path)
    assert set(after) == {"pictures.json", "mine.webp", listed_in(tmp_path)["panels"][0]["rows"][0]["cells"][0]["file"]}
    assert not set(after) & set(before) - {"pictures.json"}


def test_many_pictures_are_made_smaller_until_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell(noise(number, 300, 400), "") for number in range(2)]
    twice = [panel(*cells), panel(*cells)]
    large = files.write(twice, tmp_path)
    assert large.shown == 2 * large.size
    monkeypatch.setattr(files, "MOST_BYTES", large.size // 2)
    assert 0 < files.write(twice, tmp_path).shown <= large.size // 2


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write([panel(Cell(noise(0), "one"))], tmp_path)
    before = bytes_in(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        files.write([panel(Cell(noise(1), "two"))], tmp_path)
    assert before.items() <= bytes_in(tmp_path).items()


def test_hostile_names_are_text_on_one_line_and_name_no_file(tmp_path: Path) -> None:
    name = "../../<script>alert(1)</script>\n\u202e\udcff\x1b[31m"
    files.write([panel(Cell(noise(0), name, name), label=name)], tmp_path)
    row = listed_in(tmp_path)["panels"][0]["rows"][0]
    assert row["label"] == row["cells"][0]["alt"] == "../../<script>alert(1)</script>���" + "�[31m"
    assert files.OURS.fullmatch(row["cells"][0]["file"])
    assert sorted(tmp_path.rglob("*.*")) == sorted((tmp_path / "pictures").iterdir())
    assert len(plain("x" * 10_000)) <= files.LONGEST


# ------------------------------------------------------------------------------------------ finished stages


@dataclass(frozen=True)
class Work:
    """A work folder with two trunks, their kNN and their segmentations, and the records."""

    place: Path
    roots: dict[str, str]

    def record(self, kind: str, seed: int = 0) -> Record:
        return next(each for each in read_all(self.place / "records") if (each.kind, each.seed) == (kind, seed))

    def folder(self, kind: str, seed: int = 0) -> Path:
        (folder,) = (self.place / "runs" / kind).glob(f"*-s{seed}-*")
        return folder

    def pictures(self, *words: str) -> int:
        return run(["pictures", *words, "--work-dir", str(self.place / "runs"), "--results-dir", str(self.place)])

    def every(self, *words: str) -> int:
        return self.pictures(*(record.file_name for record in read_all(self.place / "records")), *words)

    def panels(self) -> dict[str, Any]:
        return {panel["title"].partition(":")[0]: panel for panel in listed_in(self.place / "runs")["panels"]}


def write_streets(root: Path, counts: dict[str, int]) -> Path:
    """Cityscapes' layout: two classes in the upper and the lower part, some pixels ignored."""
    for split, count in counts.items():
        for number in range(count):
            truth = np.full((64, 96), 10, np.uint8)
            truth[20 + 9 * number % 40 :] = 0
            truth[:3, :50] = 255
            pixels = np.random.default_rng(number).integers(0, 60, (64, 96, 3)) + truth[..., None] % 11 * 15
            for part, end, array in (("leftImg8bit", "leftImg8bit", pixels), ("gtFine", "gtFine_labelTrainIds", truth)):
                folder = root / part / split / "town"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array.astype(np.uint8)).save(folder / f"town_{number:06d}_000019_{end}.png")
    return root


SEGMENTATION = {
    "config": "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024", "iterations": 2, "batch_size": 2, "crop": (64, 64),
    "scale": (96, 64), "validate_every": 2, "workers": 0, "precision": "float32",
    "overrides": {
        "model.backbone.base_channels": 16, "model.backbone.stem_channels": 16,
        "model.decode_head.in_channels": 128, "model.decode_head.channels": 16,
        "model.auxiliary_head.in_channels": 64, "model.auxiliary_head.channels": 16,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def finished_work(tmp_path_factory: pytest.TempPathFactory, imagenet: Path) -> Work:
    """Tests must not write to it."""
    place = tmp_path_factory.mktemp("pictures")
    roots = {"imagenet": imagenet, "cityscapes": write_streets(place / "streets", {"train": 2, "val": 4})}
    small = {"size": 32, "resize": 36, "batch_size": 8, "workers": 0, "k": 3, "precision": "float32"}
    task = SegmentationTask(
        name="streets", summary="", source="streets.py", profile="smoke", kind="segmentation", **SEGMENTATION
    )
    tasks = [load_task("imagenet_knn", "smoke", small), task]
    recipe = load_recipe("random_init", "smoke", {"arch": ARCH})
    words = {name: str(root) for name, root in roots.items()}
    for stage in Planner(lambda name: fingerprint(name, roots[name])).grid([recipe], tasks, [0, 1]):
        if stage.kind == "pretrain":
            continue
        folder = write_stage(stage, place / "runs", words, place, "fail")
        if stage.kind == "convert":
            encoder, network = build_encoder(ARCH, stage.seed).eval(), build_backbone(ARCH)
            kept = save_trunk(folder / TRUNK, encoder.state_dict(), ARCH)
            load_strictly(network, encoder.state_dict())
            write_proof(folder, prove(encoder.state_dict(), ARCH, encoder.maps, network))
            about = {"trunk_hash": kept}
            write_done(folder, Done(fingerprint=stage.fingerprint, metrics=about, wall_seconds=1.0, finished="2026"))
        else:
            run_stage(folder)
    return Work(place, words)


@pytest.fixture
def work(finished_work: Work, tmp_path: Path) -> Work:
    """A copy of it that a test may spoil."""
    return replace(finished_work, place=Path(shutil.copytree(finished_work.place, tmp_path / "work")))


def outcomes_of(work: Work, seed: int) -> AreaOutcomes:
    found = read(work.folder("segmentation", seed) / OUTCOMES)
    assert isinstance(found, AreaOutcomes)
    return found


def iou_by_hand(found: AreaOutcomes, image: int) -> float:
    rows = zip(found.intersection[image], found.predicted[image], found.true[image], strict=True)
    return 100 * float(np.mean([inner / (p + t - inner) for inner, p, t in rows if p + t]))


@pytest.mark.slow
def test_everything_is_drawn_as_it_was_computed_and_twice_the_same(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    assert work.every("--images", "2") == 0
    printed = capsys.readouterr().out
    assert "note:" not in printed
    before = bytes_in(work.place / "runs")
    assert f"pictures.json ({len(before) - 1} images" in printed
    panels = work.panels()
    assert list(panels) == ["Segmentation", "Nearest neighbours", "Feature PCA of C5", "Feature PCA of C4"]
    check_segmentation(work, panels["Segmentation"])
    check_neighbours(work, panels["Nearest neighbours"])
    check_components(work, panels["Feature PCA of C5"])
    rows = [row for each in listed_in(work.place / "runs")["panels"] for row in each["rows"]]
    named = {cell["file"] for row in rows for cell in row["cells"] if cell is not None}
    assert named | {"pictures.json"} == set(before)
    assert work.every("--images", "2") == 0
    assert bytes_in(work.place / "runs") == before


def check_segmentation(work: Work, panel: Any) -> None:
    names = [f"leftImg8bit/val/town/town_{number:06d}_000019_leftImg8bit.png" for number in range(4)]
    found = [outcomes_of(work, seed) for seed in (0, 1)]
    columns = [f"random_init, seed {seed}" for seed in (0, 1)]
    assert panel["columns"] == ["image", "ground truth", *columns]
    reasons = {position: ["fixed"] for position in fixed(names, 2)}
    for column, each in zip(columns, found, strict=True):
        lowest = min(range(4), key=lambda image: iou_by_hand(each, image))
        reasons.setdefault(lowest, []).append(f"worst of {column}")
    rows = {position: f"{' and '.join(why)}: {Path(names[position]).name}" for position, why in reasons.items()}
    assert [row["label"] for row in panel["rows"]] == [*rows.values(), "colours"]
    for position, row in zip(rows, panel["rows"], strict=False):
        image, truth, *predictions = row["cells"]
        assert image["alt"] == f"Image {names[position]}"
        assert truth["caption"].endswith("ignored 2 %")  # 150 of 6,144 pixels
        for each, cell in zip(found, predictions, strict=True):
            assert cell["caption"] == f"IoU {iou_by_hand(each, position):.1f}"
    guessed = sum(each.predicted[list(rows)].sum(0) for each in found) > 0
    listed = [name for number, name in enumerate(found[0].classes) if name in {"road", "sky"} or guessed[number]]
    assert panel["rows"][-1]["cells"][0]["alt"] == f"Colours of: {', '.join([*listed, 'ignored'])}"


def features_by_hand(folder: Path, root: Path) -> dict[str, np.ndarray]:
    """{image: features in float64} of a trunk, of training and validation images."""
    trunk, features = read_trunk(folder / TRUNK), {}
    encoder = build_encoder(trunk.arch, 1).eval()
    load_strictly(encoder, trunk.state)
    for file in sorted(root.glob("*/*/*.JPEG")):
        pixels, _ = make_test_view(Image.open(file).convert("RGB"), 32, 36)
        with torch.no_grad():
            row = encoder(normalised(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]))[0]
        features[file.relative_to(root).as_posix()] = row.double().numpy()
    return features


def check_neighbours(work: Work, panel: Any) -> None:
    """Against cosines of all pairs in NumPy."""
    features = features_by_hand(work.folder("convert", 1), Path(work.roots["imagenet"]))
    features = {name: row / np.linalg.norm(row) for name, row in features.items()}
    bank = [name for name in features if name.startswith("train/")]
    rows = [row for row in panel["rows"] if row["label"].startswith("random_init, seed 1: ")]
    assert len(rows) == 2
    for row in rows:
        query, *nearest = row["cells"]
        name, true = query["alt"].removeprefix("Query ").split(", ")
        scores = {other: float(features[name] @ features[other]) for other in bank}
        expected = sorted(bank, key=lambda other: -scores[other])[:5]
        drawn = [cell["alt"].partition(" by ")[0] for cell in nearest]
        # Two that are as near may be drawn in either order.
        assert [scores[other] for other in drawn] == pytest.approx([scores[other] for other in expected], abs=1e-5)
        assert len(set(drawn)) == 5
        for cell, other in zip(nearest, drawn, strict=True):
            verdict, cosine = cell["caption"].rsplit(" ", 1)
            of = Path(other).parent.name
            assert verdict == f"{'right' if of == true else 'wrong'}: {of}, cosine"
            assert float(cosine) == pytest.approx(scores[other], abs=1e-3)


def check_components(work: Work, panel: Any) -> None:
    assert panel["columns"] == ["image", "random_init, seed 0", "random_init, seed 1"]
    assert "Variance explained: random_init, seed 0 " in panel["caption"]
    file = work.place / "runs" / "pictures" / panel["rows"][0]["cells"][1]["file"]
    with Image.open(file) as shown:  # 64×96 pixels of an image are 2×3 positions
        assert shown.size == (96, 64)
        blocks = np.asarray(shown).reshape(2, 32, 3, 32, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_an_image_that_cannot_be_read_is_passed_over_only_where_the_stage_did(
    trunk_folder: Path, imagenet: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(imagenet, tmp_path / "imagenet"))
    task = load_task("imagenet_knn", "smoke", {"size": 32, "resize": 36})
    job = Job(task, 3, tmp_path, {"convert": trunk_folder}, {"imagenet": root}, "skip")
    first, second = fixed_images(job, 2)
    assert first.pixels.shape == (32, 32, 3)
    (root / first.name).write_bytes(b"no image")
    assert fixed_images(job, 1)[0].name == second.name
    with pytest.raises(BadInput, match=r"Cannot read .*bench data check lists all such files"):
        fixed_images(replace(job, unreadable="fail"), 1)
    for file in root.glob("val/*/*"):
        file.write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"No image of val below .* can be read"):
        fixed_images(job, 1)


def test_neighbours_by_distance_are_those_of_a_search_by_hand(
    trunk_folder: Path, imagenet: Path, tmp_path: Path
) -> None:
    settings = {"size": 32, "resize": 36, "batch_size": 8, "workers": 0, "k": 3, "precision": "float32"}
    task = load_task(
        "imagenet_knn",
        "smoke",
        settings | {"vote": "majority", "metric": "euclidean", "subset": 12, "search": "float32"},
    )
    found = neighbours(Job(task, 3, tmp_path, {"convert": trunk_folder}, {"imagenet": imagenet}), 4)
    features = features_by_hand(trunk_folder, imagenet)
    bank = subset(index("imagenet", imagenet, "train"), 12, 3).files
    assert (len(found.queries), len(bank), found.cosine) == (4, 12, False)
    for query in found.queries:
        distances = {name: float(np.linalg.norm(features[name] - features[query.image.name])) for name in bank}
        expected = sorted(distances.values())[:5]
        assert [distances[each.name] for each in query.neighbours] == pytest.approx(expected, rel=1e-4)
        assert query.scores == pytest.approx(expected, rel=1e-4)
        assert all(found.classes[each.label or 0] == Path(each.name).parent.name for each in query.neighbours)


@pytest.mark.slow
def test_what_has_gone_is_named_and_the_others_are_drawn(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    """A network, the outcomes of the other one's images, a network that was changed, all trunks."""
    (work.folder("segmentation", 1) / "last.ckpt").unlink()
    record = work.record("segmentation", 0)
    beside = work.place / "records" / record.outcomes_name
    beside.write_bytes(beside.read_bytes()[:-1])
    assert work.every("--images", "1", "--kinds", "segmentation") == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    gone = work.record("segmentation", 1).file_name
    assert len(notes) == 2
    assert notes[0].startswith(f"note: the worst image of {record.file_name} is not known: ")
    assert notes[1].startswith(f"note: no segmentation of {gone}: ")
    assert "no longer holds last.ckpt, its trained weights; make the row anew" in notes[1]
    (panel,) = work.panels().values()
    assert panel["columns"] == ["image", "ground truth", "random_init, seed 0"]
    assert [row["label"].partition(":")[0] for row in panel["rows"]] == ["fixed", "colours"]
    assert panel["rows"][0]["cells"][2]["caption"].endswith(", not compared with the record")
    before = bytes_in(work.place / "runs")
    weights = work.folder("segmentation", 0) / "last.ckpt"
    weights.write_bytes(weights.read_bytes() + b"0")
    assert work.every("--kinds", "segmentation") == 1
    assert f"no segmentation of {record.file_name}: The number of" in (printed := capsys.readouterr().out)
    assert "last.ckpt was changed after its stage had ended" in printed
    for seed in (0, 1):
        (work.folder("convert", seed) / TRUNK).unlink()
    assert work.every() == 1
    said = capsys.readouterr()
    notes = [line for line in said.out.splitlines() if line.startswith("note: no pictures of ")]
    assert len(notes) == 4
    assert all("is not finished" in note for note in notes)
    assert "No picture could be made of these records; what was there before is unchanged" in said.err
    assert bytes_in(work.place / "runs") == before


@pytest.mark.slow
def test_pixels_that_are_not_those_of_the_record_are_said(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    """The metric is the same, and one pixel's class is another in two images."""
    record = work.record("segmentation", 0)
    found, beside = outcomes_of(work, 0), work.place / "records" / record.outcomes_name
    inner, guessed, true = (each.copy() for each in (found.intersection, found.predicted, found.true))
    one, other = fixed([f"leftImg8bit/val/town/town_{n:06d}_000019_leftImg8bit.png" for n in range(4)], 2)
    shift = int(guessed[one].argmax())  # pixels move from one image to the other
    guessed[one, shift] -= 1
    guessed[other, shift] += 1
    inner[one] = np.minimum(inner[one], guessed[one])
    write(replace(found, intersection=inner, predicted=guessed, true=true), beside)
    file = work.place / "records" / record.file_name
    content = json.loads(without_checksum(file.read_text()))
    content["outcomes"] |= {"sha256": sha256_of(beside), "bytes": beside.stat().st_size}
    file.write_text(add_checksum(json.dumps(content, indent=1)))
    assert work.pictures(record.file_name, "--images", "2", "--kinds", "segmentation") == 0
    assert f"note: {record.file_name}: 2 of " in capsys.readouterr().out
    captions = [row["cells"][2]["caption"] for row in work.panels()["Segmentation"]["rows"][:2]]
    assert all(" in the record" in caption for caption in captions), captions


@pytest.mark.slow
def test_all_draws_the_lowest_seeds(
    work: Work, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    assert work.pictures("--all", "--images", "1", "--kinds", "pca", "neighbours") == 0
    printed = capsys.readouterr().out
    assert "note: 2 records of further seeds are left out; name records to draw them." in printed
    assert "MB where they are shown, small as they are; draw fewer records or images." in printed
    records, others = records_of_all(work.place)
    assert ([record.seed for _, record in records], others) == ([0, 0], 2)
    panels = work.panels()
    assert panels["Nearest neighbours"]["rows"][0]["label"].startswith("random_init: n0")
    assert panels["Feature PCA of C4"]["columns"] == ["image", "random_init"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "draws the records that are named, or with --all those of all; give one of the two"),
        (("--all", "some"), "give one of the two"),
        (("some",), "No record 'some' in "),
        (("--all",), "There are no records in "),
        (("--all", "--kinds", "saliency"), "'saliency' is not one of 'segmentation', 'neighbours', 'pca'"),
        (("--all", "--images", "0"), "--images': it should be greater than or equal to 1"),
    ],
)
def test_bad_input(words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pictures", *words, "--work-dir", str(tmp_path), "--results-dir", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert not list(tmp_path.iterdir())


def test_a_work_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"There is no work folder .*; give the --work-dir of the run"):
        make([], tmp_path / "none", (), 1, KINDS, print)
    assert not list(tmp_path.iterdir())
