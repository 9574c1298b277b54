"""Clips: some frames of a video, one after another, as folders of frames or as video files.

Below `train/` (and `val/`) a folder that holds images is a clip, its frames in the order of their names; so is a video
file. Where clips lie in folders of one kind (`train/<class>/<clip>`), that is their class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.data.decode import Undecodable, read_array, reason
from bench.data.images import Backend, EvalDataset, Files, Sample, Unreadable, UnreadableImage, ViewDataset
from bench.data.sets import Index
from bench.data.sets.data_set import image_names
from bench.data.views import View
from bench.data.views import opencv as fast_views
from bench.data.views.draw import Drawn, box, draw
from bench.data.views.pillow import apply
from bench.errors import BadInput
from bench.nn.clip import Clip
from bench.randomness import generator


def read_frames(path: Path, numbers: Sequence[int]) -> list[np.ndarray]:
    """Return the frames of these numbers (ascending), H×W×3 uint8 each, of a folder of frames or a video file.

    A video file is decoded from its start: of long videos, folders of frames are read sooner. Raises Undecodable.
    """
    if path.is_dir():
        files = image_names(path)
        read = [read_array(path / files[number]) for number in numbers]
        if other := next((frame.shape for frame in read if frame.shape != read[0].shape), None):
            sizes = " and ".join(f"{width}×{height}" for height, width, _ in (read[0].shape, other))
            raise Undecodable(f"its frames are of {sizes} pixels")
        return read
    wanted, frames = set(numbers), {}
    for number, frame in enumerate(_decoded(path)):
        if number in wanted:
            frames[number] = frame.to_ndarray(format="rgb24")
        if number >= max(wanted):
            break
    if len(frames) < len(wanted):
        raise Undecodable("it ends before its last frame")
    return [frames[number] for number in numbers]


def count_frames(path: Path) -> int:
    """Return how many frames a clip has. Raises Undecodable."""
    if path.is_dir():
        return len(image_names(path))
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.frames:
                return int(stream.frames)
    except Exception as error:
        raise Undecodable(reason(error)) from error
    return sum(1 for _ in _decoded(path))  # the header does not say


def _decoded(path: Path) -> Iterator[Any]:
    """Yield a video's frames in order."""
    import av

    try:
        with av.open(str(path)) as container:
            yield from container.decode(video=0)
    except Exception as error:  # FFmpeg's errors have many types
        raise Undecodable(reason(error)) from error


class TooShort(Undecodable):
    """The clip has fewer frames than are asked for."""


def _unreadable(clip: Path, error: Undecodable) -> UnreadableImage:
    return UnreadableImage(f"Cannot read the clip {clip} ({error}); correct or remove it, or give --unreadable skip.")


class ClipDataset(ViewDataset):
    """Views of clips, indexed by (index, draw); what is random is a function of (seed, draw) alone.

    Each view is drawn once for a clip: all its frames are cropped, flipped and coloured alike. A sample's views are
    T×h×w×3 uint8; of `clip` None one frame is drawn, h×w×3, so that an objective of images can learn from videos.

    `clip` says how many frames, how far apart, and of which views with optical flow; the rest is as for ViewDataset.

    A clip with too few frames counts as one that cannot be read. Raises BadInput for the back end `device`.
    """

    kind = "clip"
    advice = "look at the first of them; if clips are too short, lower objective.frames or objective.stride"

    def __init__(
        self,
        index: Index,
        views: Sequence[View],
        seed: int,
        clip: Clip | None,
        unreadable: Unreadable = "fail",
        subset: int | None = None,
        backend: Backend = "reference",
    ) -> None:
        if backend == "device":
            raise BadInput("view_backend 'device' makes views of images, not of clips; set view_backend='fast'.")
        super().__init__(index, views, seed, unreadable, subset, backend=backend)
        self.still, self.clip = clip is None, clip or Clip(1)

    def refusal(self, position: int, error: Undecodable) -> UnreadableImage:
        """Return the error that a clip cannot be read, or that it is too short."""
        if isinstance(error, TooShort):
            return UnreadableImage(
                f"The clip {self.files.path(position)} {error}; remove it, give --unreadable skip, or lower "
                "objective.frames or objective.stride."
            )
        return _unreadable(self.files.path(position), error)

    def _sample(self, position: int, number: int) -> Sample:
        path, rng = self.files.path(position), generator(self.seed, "view", number)
        count, span = count_frames(path), self.clip.span
        if count < span:
            raise TooShort(f"has {count} frames, but {self.clip.frames} that are {self.clip.stride} apart take {span}")
        first = int(rng.integers(count - span + 1))
        frames = read_frames(path, range(first, first + span, self.clip.stride))
        height, width = frames[0].shape[:2]
        pixels, boxes, flows = [], [], []
        for view in self.views:
            for _ in range(view.count):
                drawn = draw(view, width, height, rng)
                made = np.stack([self._apply(frame, view, drawn) for frame in frames])
                pixels.append(made[0] if self.still else made)
                boxes.append(box(drawn.crop, drawn.flip, width, height))
                if self.clip.flows(len(boxes) - 1):
                    flows.append(optical_flow(made))
        return Sample(pixels, boxes, self.files.label(position), position, flows=flows)

    def _apply(self, frame: np.ndarray, view: View, drawn: Drawn) -> np.ndarray:
        if self.backend == "fast":
            return fast_views.apply(frame, view, drawn)
        return np.asarray(apply(Image.fromarray(frame), view, drawn))


class _MiddleFrames(Files):
    """A split's clips as images: the frame in the middle of each."""

    def decoded(self, index: int) -> np.ndarray:
        """Return it, H×W×3 uint8. Raises Undecodable."""
        count = count_frames(path := self.path(index))
        if not count:
            raise TooShort("it has no frames")
        return read_frames(path, [count // 2])[0]

    def unreadable(self, index: int, error: Undecodable) -> UnreadableImage:
        """Return the error that a clip cannot be read."""
        return _unreadable(self.path(index), error)


class ClipEvalDataset(EvalDataset):
    """The centre of the frame in the middle of each clip of a split; else as EvalDataset."""

    files_of = _MiddleFrames.of


def optical_flow(frames: np.ndarray) -> np.ndarray:
    """Return where each pixel goes from one frame to the next, (T−1)×2×h×w float32 of (x, y) in pixels.

    Source: Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion" (2003), as OpenCV has it.
    """
    import cv2

    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    flows = [cv2.calcOpticalFlowFarneback(one, other, None, 0.5, 3, 15, 3, 5, 1.2, 0) for one, other in pairwise(grey)]
    return np.stack(flows).transpose(0, 3, 1, 2).astype(np.float32)
