"""Clips for objectives that learn from video: folders of frames, and video files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.data.sets.data_set import Contents, DataSet, Index, image_names

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v"})


class Clips(DataSet):
    """Clips; they have classes where all lie in folders of classes."""

    name = "clips"
    layout = "train/<clip>/*.jpg or train/*.mp4, or both below train/<class>/ (and val/ likewise)"
    labelled = False
    video = True

    def index(self, root: Path, split: str) -> Index:
        """List a split: its files are clips, each a folder of frames or a video file."""
        if not (root / split).is_dir():
            raise self.wrong_layout(root, f"{split}/")
        clips = _clips_in(root / split)
        classes = sorted({clip.partition("/")[0] for clip in clips if "/" in clip})
        if not clips or (classes and not all("/" in clip for clip in clips)):
            raise self.wrong_layout(root, f"{split}/<clip> (or all clips in folders of classes)")
        labels = tuple(classes.index(clip.partition("/")[0]) for clip in clips) if classes else None
        return Index(self.name, root, split, tuple(f"{split}/{clip}" for clip in clips), labels, tuple(classes))

    def files(self, index: Index) -> Sequence[str]:
        """Return the frames of each folder, and the video files."""
        return [file for clip in index.files for file in _files_of(index.root, clip)]

    def contents(self, root: Path, split: str) -> Contents:
        """Return what there is to check: the frames; video files are counted, not decoded."""
        contents = super().contents(root, split)
        frames = [file for clip in contents.images for file in _files_of(root, clip) if file != clip]
        return replace(contents, images=frames)


def _files_of(root: Path, clip: str) -> list[str]:
    folder = root / clip
    return [f"{clip}/{frame}" for frame in image_names(folder)] if folder.is_dir() else [clip]


def _clips_in(folder: Path, depth: int = 2) -> list[str]:
    """Folders that hold images, and video files, down to `depth` levels, relative and sorted."""
    clips: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            is_video = entry.is_file() and Path(entry.name).suffix.lower() in VIDEO_SUFFIXES
            if is_video or (entry.is_dir() and image_names(Path(entry.path))):
                clips.append(entry.name)
            elif entry.is_dir() and depth > 1:
                clips += [f"{entry.name}/{clip}" for clip in _clips_in(Path(entry.path), depth - 1)]
    return sorted(clips)
