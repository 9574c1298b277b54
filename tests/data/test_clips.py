from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.clips import ClipDataset, ClipEvalDataset, count_frames, optical_flow, read_frames
from bench.data.held_out import held_out
from bench.data.images import UnreadableImage, collate
from bench.data.sets import fingerprint, index
from bench.data.views import View
from bench.errors import BadInput
from bench.nn.clip import Clip
from bench.objectives.dsm import scaled_flow

FRAMES = 12


def frame(number, kind=0):
    """A grey level that says which frame it is, and a square that moves three pixels to the right a frame."""
    pixels = np.full((48, 64, 3), 10 * number + kind, np.uint8)
    pixels[16:32, 4 + 3 * number : 16 + 3 * number] = 255
    return pixels


@pytest.fixture
def root(tmp_path):
    """Two clips as folders of frames, one as a video file."""
    for clip in ("a", "b"):
        folder = tmp_path / "train" / "walk" / clip
        folder.mkdir(parents=True)
        for number in range(FRAMES):
            Image.fromarray(frame(number)).save(folder / f"{number:03}.png")
    file = tmp_path / "train" / "run" / "c.mkv"
    write_video(file, "ffv1", "bgr0", [frame(number) for number in range(FRAMES)])
    return tmp_path


def write_video(file, codec, pixels, frames, **options):
    """Encode frames; returns the kinds of pictures in the order in which they are shown."""
    import av
    from av.video.frame import PictureType

    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        for one in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    with av.open(str(file)) as container:
        return [PictureType(shown.pict_type).name for shown in container.decode(video=0)]


def test_folders_and_video_files_are_clips_with_the_class_of_their_folder(root):
    clips = index("clips", root, "train")
    assert clips.files == ("train/run/c.mkv", "train/walk/a", "train/walk/b")
    assert (clips.classes, clips.labels) == (("run", "walk"), (0, 1, 1))


def test_clips_without_classes(tmp_path):
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    Image.fromarray(frame(0)).save(folder / "0.png")
    clips = index("clips", tmp_path, "train")
    assert (clips.files, clips.labels, clips.classes) == (("train/a",), None, ())


def test_a_wrong_layout_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"not laid out as clips: there is no train/"):
        index("clips", tmp_path, "train")
    (tmp_path / "train" / "empty").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"there is no train/<clip>"):
        index("clips", tmp_path, "train")


def test_a_video_file_has_the_frames_of_its_folder(root):
    folder, file = root / "train/walk/a", root / "train/run/c.mkv"
    assert count_frames(folder) == count_frames(file) == FRAMES
    for numbers in ([0, 1, 2], [3, 7, 11]):
        for one, other, number in zip(read_frames(folder, numbers), read_frames(file, numbers), numbers, strict=True):
            assert np.array_equal(one, frame(number))
            assert np.array_equal(other, frame(number))


CODECS = {
    "h264.mp4": ("libx264", {"bf": "3", "b_strategy": "0"}),
    "h265.mp4": ("libx265", {"x265-params": "bframes=3:b-adapt=0:log-level=none"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "b": "4000000"}),
    "vp9.webm": ("libvpx-vp9", {"lag-in-frames": "0"}),
}


@pytest.mark.parametrize("name", CODECS)
def test_frames_of_common_codecs_come_in_the_order_in_which_they_are_shown(tmp_path, name):
    """Pictures that are predicted from later ones lie behind those in the file."""
    codec, options = CODECS[name]
    kinds = write_video(tmp_path / name, codec, "yuv420p", [frame(n) for n in range(FRAMES)], **options)
    assert ("B" in kinds) == (codec != "libvpx-vp9")
    assert count_frames(tmp_path / name) == FRAMES
    for numbers in (range(FRAMES), (2, 5, 8), (FRAMES - 1,)):
        read = read_frames(tmp_path / name, numbers)
        assert [one.shape for one in read] == [(48, 64, 3)] * len(read)
        assert [round(float(one[:8].mean()) / 10) for one in read] == list(numbers)  # its grey level says which it is


@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_a_clip_that_stands_still_does_so_in_each_view(tmp_path, backend):
    """The crop, the mirror image and the colours are drawn once for a clip, not for a frame."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    view = View(size=24, scale=(0.2, 0.6), jitter_p=1.0, blur=1.0)
    data = ClipDataset(index("clips", tmp_path, "train"), (view, view), 0, Clip(4), backend=backend)
    for number in range(5):
        one, other = data[0, number].views
        assert all(np.array_equal(shown, one[0]) for shown in one)
        assert all(np.array_equal(shown, other[0]) for shown in other)
        assert not np.array_equal(one, other)


def test_frames_follow_each_other_at_the_stride_and_are_viewed_alike(root):
    plain = View(size=32, scale=(0.3, 0.3), interpolation="bilinear", jitter=None, grey=0.0, blur=0.0)
    data = ClipDataset(index("clips", root, "train"), (plain, plain), seed=0, clip=Clip(4, 2))
    starts = set()
    for number in range(30):
        sample = data[1, number]
        levels = [int(np.unique(picture, return_counts=True)[0][0]) for picture in sample.views[0]]
        assert np.diff(levels).tolist() == [20, 20, 20]  # two frames on each time
        starts.add(levels[0] // 10)
        assert len({tuple(box) for box in sample.boxes}) == 2  # two views, each the same for its frames
        again = data[1, number]
        assert all(np.array_equal(one, other) for one, other in zip(sample.views, again.views, strict=True))
    assert starts == set(range(6))  # 12 frames hold 6 starts of 7


def test_a_batch_of_clips_and_their_flow(root):
    view = View(size=32, scale=(1.0, 1.0), ratio=(1.3, 1.4), flip=0.0, jitter=None, grey=0.0, blur=0.0)
    data = ClipDataset(index("clips", root, "train"), (view,), seed=0, clip=Clip(3, 1, flow=True))
    batch = collate([data[0, 0], data[1, 1]])
    assert (batch.views[0].shape, batch.views[0].dtype) == ((2, 3, 3, 32, 32), torch.uint8)
    assert (batch.flows[0].shape, batch.flows[0].dtype) == ((2, 2, 2, 32, 32), torch.float32)
    assert batch.labels.tolist() == [0, 1]
    placed = batch.to("cpu", memory_format=torch.channels_last)
    one = batch.views[0][1, 2].float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(placed.views[0][1, 2], (one - mean[:, None, None]) / std[:, None, None])
    assert torch.equal(placed.flows[0], batch.flows[0])


def test_optical_flow_follows_what_moves():
    rng = np.random.default_rng(0)
    wide = np.asarray(Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).resize((120, 80), Image.BICUBIC))
    frames = np.stack([wide[10:58, 20 - 2 * t : 84 - 2 * t] for t in range(3)])  # all goes two pixels to the right
    flow = optical_flow(frames)[:, :, 12:36, 16:48]
    assert np.median(flow[:, 0]) == pytest.approx(2.0, abs=0.1)
    assert np.median(flow[:, 1]) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("wanted", [True, (1,)])
def test_the_flow_of_a_view_moves_each_of_its_frames_onto_the_next(tmp_path, wanted):
    """By `scaled_flow` with φ = 1: what its direction, its sign and the order of x and y mean."""
    rng = np.random.default_rng(0)
    wide = np.asarray(Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).resize((120, 80), Image.BICUBIC))
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    for t in range(4):  # three pixels to the right, two down
        Image.fromarray(wide[20 - 2 * t : 68 - 2 * t, 20 - 3 * t : 68 - 3 * t]).save(folder / f"{t}.png")
    whole = View(size=48, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=None, grey=0.0, blur=0.0)
    mirrored = replace(whole, flip=1.0)
    data = ClipDataset(index("clips", tmp_path, "train"), (whole, mirrored), 0, Clip(4, flow=wanted))
    batch = collate([data[0, 0]])
    assert len(batch.flows) == (2 if wanted is True else 1)  # `wanted` names the mirrored one
    clip, flow = batch.views[1].double(), batch.flows[-1].double()
    ones = torch.ones(1, 3, dtype=torch.float64)
    inside = (..., slice(8, 40), slice(8, 40))
    moved, back = scaled_flow(clip, flow, ones)[inside], scaled_flow(clip, flow, -ones)[inside]
    still, following = clip[:, :-1][inside], clip[:, 1:][inside]
    error = lambda made: (made - following).square().mean().item()  # noqa: E731
    assert error(moved) < 0.1 * error(still)
    assert error(back) > error(still)
    assert flow[:, :, 0].median().item() == pytest.approx(-3, abs=0.3)  # to the left, as it is mirrored
    assert flow[:, :, 1].median().item() == pytest.approx(2, abs=0.3)


def test_an_objective_of_images_gets_one_frame(root):
    data = ClipDataset(index("clips", root, "train"), (View(size=32),), seed=0, clip=None)
    assert collate([data[0, 0], data[1, 1]]).views[0].shape == (2, 3, 32, 32)


def test_a_clip_that_is_too_short_is_named_with_the_remedy_or_skipped(root):
    clips, views = index("clips", root, "train"), (View(size=32),)
    for number in range(9, FRAMES):
        (root / f"train/walk/a/{number:03}.png").unlink()
    assert ClipDataset(clips, views, 0, Clip(5, 2))[1, 0].index == 1  # nine frames are enough for five
    with pytest.raises(UnreadableImage, match=r"walk/a has 9 frames, but 6 that are 2 apart take 11; remove it, give"):
        ClipDataset(clips, views, 0, Clip(6, 2))[1, 0]
    sample = ClipDataset(clips, views, 0, Clip(6, 2), unreadable="skip")[1, 0]
    assert (sample.index, sample.skipped) == (2, 1)
    with pytest.raises(
        UnreadableImage, match=r"No clip below .* too short, lower objective.frames or objective.stride"
    ):
        ClipDataset(clips, views, 0, Clip(7, 2), unreadable="skip")[1, 0]
    with pytest.raises(BadInput, match=r"set view_backend='fast'"):
        ClipDataset(clips, (), 0, Clip(2), backend="device")


def test_a_clip_of_frames_of_two_sizes_is_named_or_skipped(root):
    for file in sorted((root / "train/walk/a").iterdir())[1::2]:
        Image.open(file).resize((20, 20)).save(file)
    for backend in ("reference", "fast"):
        clips, views = index("clips", root, "train"), (View(size=32),)
        with pytest.raises(UnreadableImage, match=r"Cannot read the clip .*walk/a \(its frames are of 64×48 and 20×20"):
            ClipDataset(clips, views, 0, Clip(4, 1), backend=backend)[1, 0]
        sample = ClipDataset(clips, views, 0, Clip(4, 1), unreadable="skip", backend=backend)[1, 0]
        assert (sample.index, sample.skipped) == (2, 1)


def test_a_broken_video_is_named_or_skipped(root):
    (root / "train/run/c.mkv").write_bytes(b"no video")
    clips = index("clips", root, "train")
    with pytest.raises(UnreadableImage, match=r"Cannot read the clip .*c.mkv .*correct or remove it"):
        ClipDataset(clips, (View(size=32),), 0, Clip(2))[0, 0]
    sample = ClipDataset(clips, (View(size=32),), 0, Clip(2), unreadable="skip")[0, 0]
    assert (sample.index, sample.skipped) == (1, 1)


def test_the_fingerprint_reads_frames(root):
    before = fingerprint("clips", root)
    Image.fromarray(frame(0, kind=1)).save(root / "train/walk/b/000.png")
    assert fingerprint("clips", root) != before


@pytest.fixture
def films(tmp_path):
    """Four clips of two classes to train on and two more, as folders of frames and as MP4."""
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            frames = [frame(shown, kind=10 * number) for shown in range(FRAMES)]
            place = tmp_path / split / ("run", "walk")[number % 2]
            if number % 4 < 2:
                write_video(place / f"{number}.mp4", "mpeg4", "yuv420p", frames)
                continue
            for shown, pixels in enumerate(frames):
                (place / str(number)).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(place / str(number) / f"{shown:02}.png")
    return tmp_path


def test_what_diagnostics_look_at_are_frames_of_clips(films):
    """The middle one of each, and two views of one; of files and of folders."""
    clips = index("clips", films, "train")
    held = held_out(clips, 32, images=2, classes=2, bank=4)
    assert held.images.shape == held.views[0].shape == held.views[1].shape == (2, 3, 32, 32)
    assert (held.labels.tolist(), held.bank_labels.tolist()) == ([0, 1], [0, 0, 1, 1])
    for image, kind in zip(held.bank, (0, 20, 10, 30), strict=True):  # number 6 of 12 frames: its level says so
        assert image[:, :4].float().mean().item() == pytest.approx(60 + kind, abs=4)
    assert not torch.equal(held.views[0], held.views[1])
    again = held_out(clips, 32, images=2, classes=2, bank=4)
    assert torch.equal(held.views[1], again.views[1])


def test_clips_that_cannot_be_read_are_left_out_of_what_is_looked_at(films):
    (films / "val/run/0.mp4").write_bytes(b"no video")
    held = held_out(index("clips", films, "train"), 32, images=2, classes=2, bank=0)
    assert (len(held.images), held.labels.tolist()) == (1, [1])


def test_the_centre_of_a_clip_that_cannot_be_read_is_refused(films):
    (films / "val/run/0.mp4").write_bytes(b"no video")
    with pytest.raises(UnreadableImage, match=r"Cannot read the clip .*0.mp4 .*or give --unreadable skip"):
        ClipEvalDataset(index("clips", films, "val"), 32, 36)[0]
