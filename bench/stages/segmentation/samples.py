"""An mmseg data set, drawn so that every sample is a function of (seed, draw) alone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader, Dataset, Sampler

from bench.config.tasks import SegmentationTask
from bench.data.decode import Undecodable, check_whole, opened_image
from bench.errors import BadInput
from bench.randomness import generator, reseed
from bench.stages.job import Job
from bench.train.distributed import Ranks

Draw = tuple[int, int]  # (index of an image, draw number)


class DrawSampler(Sampler[Draw]):
    """Endless (index, draw) pairs of one process: a fresh permutation per epoch, from (seed, epoch).

    The k-th sample of a process is draw k·world + rank, so the images of an iteration do not depend on the number of
    processes, and `skip` goes to any iteration at once.
    """

    def __init__(self, indices: np.ndarray, seed: int, rank: int = 0, world: int = 1) -> None:
        self.indices, self.seed, self.rank, self.world = indices, seed, rank, world
        self.start = 0

    def __len__(self) -> int:
        """The share of an epoch that falls to this process; iteration goes on beyond it."""
        return -(-len(self.indices) // self.world)

    def skip(self, samples: int) -> None:
        """Go on after this many samples of this process (mmengine's loop calls it when it resumes)."""
        self.start += samples

    def __iter__(self) -> Iterator[Draw]:
        epoch, order = -1, self.indices
        draw = self.start * self.world + self.rank
        while True:
            if draw // len(self.indices) != epoch:
                epoch = draw // len(self.indices)
                order = generator(self.seed, "segmentation", "epoch", epoch).permutation(self.indices)
            yield int(order[draw % len(order)]), draw
            draw += self.world


class DrawnDataset(Dataset[Any]):
    """An mmseg data set indexed by (index, draw): its augmentations see generators that are seeded by the draw."""

    def __init__(self, dataset: Any, seed: int, unreadable: Literal["fail", "skip"] = "fail") -> None:
        self.dataset, self.seed, self.unreadable = dataset, seed, unreadable

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes and palette, where mmengine looks for them."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Draw | int) -> Any:
        """Return one sample; a plain index (validation) is its own draw.

        An image or mask that cannot be read: BadInput that names it, or with `skip` the next readable one in its place,
        whose `skipped` names it.
        """
        index, draw = key if isinstance(key, tuple) else (key, key)
        skipped: list[str] = []
        for offset in range(len(self.dataset)):
            place = (index + offset) % len(self.dataset)
            reseed(self.seed, "segmentation", "augment", draw)
            try:
                check_readable(*self._files(place))
                sample = self.dataset[place]
            except Exception as error:  # mmcv raises whatever its decoder does
                file = str(error) if isinstance(error, Undecodable) else self._unreadable_file(place)
                if file is None:
                    raise
                if self.unreadable == "fail":
                    raise BadInput(
                        f"Cannot read {file}; repair or remove it (bench data check lists all such files), or give "
                        "--unreadable skip."
                    ) from error
                skipped.append(file)
                continue
            if skipped:
                sample["data_samples"].set_metainfo({"skipped": skipped})
            return sample
        raise BadInput("No image of the data set can be read; bench data check lists them.")

    def _files(self, index: int) -> tuple[str | None, str | None]:
        """The image and the label map of a sample."""
        info = self.dataset.get_data_info(index)
        return info.get("img_path"), info.get("seg_map_path")

    def _unreadable_file(self, index: int) -> str | None:
        """Return the image or mask of a sample that OpenCV cannot decode, if any."""
        files = self._files(index)
        return next((str(f) for f in files if f and (not Path(f).is_file() or cv2.imread(str(f), -1) is None)), None)


def check_readable(image: str | None, label_map: str | None) -> None:
    """Raise Undecodable, with the file's name, for what the other tasks refuse and mmseg's readers would not.

    That are images and label maps of too many pixels, and JPEG and PNG files that are damaged in the middle, of which
    OpenCV returns what it has. A form that Pillow does not know is for mmseg's readers to judge.
    """
    try:
        for file in (image, label_map):
            if file is None:
                continue
            with suppress(OSError):
                if file is image:
                    check_whole(file)
                with opened_image(file):
                    pass
    except Undecodable as error:
        raise Undecodable(f"{file} ({error})") from error


def training_loader(job: Job, settings: Any, *, batch_size: int, ranks: Ranks, workers: int) -> DataLoader[Any]:
    """Return the endless loader of training batches; `batch_size` is that of one process.

    With `subset`, the first so many images of a permutation that the seed gives.
    """
    assert isinstance(job.config, SegmentationTask)
    seed, subset = job.seed, job.config.subset
    dataset = _build(settings["dataset"])
    indices = np.arange(len(dataset))
    if subset is not None:
        if subset > len(dataset):
            raise BadInput(
                f"subset {subset} is larger than the {len(dataset)} training images; lower it or leave it out."
            )
        indices = np.sort(generator(seed, "segmentation", "subset").permutation(indices)[:subset])
    return DataLoader(
        DrawnDataset(dataset, seed, job.unreadable),
        batch_size=batch_size,
        sampler=DrawSampler(indices, seed, ranks.rank, ranks.world),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_start_worker,
        collate_fn=pseudo_collate,
    )


def validation_loader(settings: Any, *, seed: int, workers: int) -> DataLoader[Any]:
    """Return the loader of the validation images, in order; an unreadable one always fails, or scores would change."""
    dataset = DrawnDataset(_build(settings["dataset"]), seed)
    changed = {"dataset": dataset, "num_workers": workers, "persistent_workers": workers > 0}
    return Runner.build_dataloader(dict(settings) | changed)


def _build(settings: Any) -> Any:
    init_default_scope("mmseg")
    try:
        dataset = DATASETS.build(settings)
    except FileNotFoundError as error:
        raise BadInput(f"No such folder {error.filename}; give the data set's root with --data-root.") from error
    if len(dataset) == 0:
        where = dict(settings).get("data_prefix", {}).get("img_path", "")
        raise BadInput(f"No images of {settings['type']} in {settings.get('data_root', '')}/{where}; check the layout.")
    return dataset


def _start_worker(worker: int) -> None:
    del worker
    cv2.setNumThreads(0)  # the workers themselves are what runs side by side
    # Signals go to the whole process group, but a worker is needed until the iteration at hand is done: it obeys its
    # parent alone. With SIGTERM merely blocked, a parent that fails would wait for it for ever.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
