from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.clips import ClipDataset, count_frames, optical_flow, read_frames
from bench.data.images import UnreadableImage, collate
from bench.data.sets import fingerprint, index
from bench.data.views import View
from bench.errors import BadInput
from bench.nn.clip import Clip

FRAMES = 12


def frame(number, kind=0):
    """A grey level that says which frame it is, and a square that moves three pixels to the right a frame."""
    pixels = np.full((48, 64, 3), 10 * number + kind, np.uint8)
    pixels[16:32, 4 + 3 * number : 16 + 3 * number] = 255
    return pixels


@pytest.fixture
def root(tmp_path):
    """Two clips as folders of frames, one as a video file."""
    import av

    for clip in ("a", "b"):
        folder = tmp_path / "train" / "walk" / clip
        folder.mkdir(parents=True)
        for number in range(FRAMES):
            Image.fromarray(frame(number)).save(folder / f"{number:03}.png")
    file = tmp_path / "train" / "run" / "c.mkv"
    file.parent.mkdir()
    with av.open(str(file), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for number in range(FRAMES):
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame(number), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return tmp_path


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


def test_an_objective_of_images_gets_one_frame(root):
    data = ClipDataset(index("clips", root, "train"), (View(size=32),), seed=0, clip=None)
    assert collate([data[0, 0], data[1, 1]]).views[0].shape == (2, 3, 32, 32)


def test_a_clip_that_is_too_short_is_named_with_the_remedy(root):
    data = ClipDataset(index("clips", root, "train"), (View(size=32),), seed=0, clip=Clip(7, 2))
    with pytest.raises(UnreadableImage, match=r"12 frames, but 7 that are 2 apart take 13; remove it, or lower"):
        data[1, 0]
    with pytest.raises(BadInput, match=r"set view_backend='fast'"):
        ClipDataset(index("clips", root, "train"), (), 0, Clip(2), backend="device")


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
