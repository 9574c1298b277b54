"""What finished segmentation stages say of single validation images, with the images and their label maps."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import pseudo_collate

from bench.config.tasks import SegmentationTask
from bench.convert.checkpoint_file import read_checkpoint
from bench.convert.proof import load_proven
from bench.data.decode import Undecodable, read_array
from bench.errors import BadInput
from bench.stages.job import Job
from bench.stages.segmentation.evaluation import EvaluationLoop  # noqa: F401 - registers it
from bench.stages.segmentation.finetune import _runner
from bench.stages.segmentation.metric import UnroundedIoU
from bench.stages.segmentation.mmseg_config import adapt
from bench.stages.segmentation.runner import CHECKPOINT, plain_model
from bench.stages.segmentation.samples import DrawnDataset, validation_loader
from bench.train.distributed import ranks_of


@dataclass(frozen=True)
class LabelledImage:
    """A validation image with its label map."""

    position: int  # in the validation set
    name: str  # relative to the data set's root
    pixels: np.ndarray  # H×W×3 uint8, RGB, as in its file
    input: np.ndarray  # h×w×3 uint8, RGB, resized as the network is given it
    truth: np.ndarray  # H×W int64; what is no class is ignored


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image."""

    labels: np.ndarray  # H×W int64
    areas: np.ndarray  # 3×C int64: intersection, predicted, true, as `bench.outcomes` counts


@dataclass(frozen=True)
class ValidationSet:
    """The validation images of a segmentation task, as mmseg reads them."""

    dataset: Any
    names: tuple[str, ...]  # of all images, relative to the data set's root
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]  # of the classes; () where the data set has none

    def image(self, position: int) -> LabelledImage:
        """Return an image. Raises BadInput for one that cannot be read."""
        return _image(self.dataset[position], position, self.names[position])


def validation_set(job: Job) -> ValidationSet:
    """Return the validation images of a segmentation stage; no network is built.

    Raises BadInput for data that are not there.
    """
    task = job.config
    assert isinstance(task, SegmentationTask)
    trunk, root = load_proven(job.inputs["convert"]), job.data_root(task.dataset)
    plan = adapt(task, trunk.arch, root, world=1, synchronise=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = validation_loader(plan.config.val_dataloader, seed=job.seed, workers=0).dataset
    assert isinstance(dataset, DrawnDataset)
    return _described(dataset, root)


@contextmanager
def predictor(job: Job) -> Iterator[Callable[[int], Prediction]]:
    """Give a function from a position in the validation set to what the stage's network says of that image.

    The network is the one that the stage's evaluation uses, with the weights of `last.ckpt` in the job's folder, but
    never compiled. It lives as long as the block.

    Raises BadInput for a checkpoint that is not of the end of this stage's training.
    """
    task = job.config
    assert isinstance(task, SegmentationTask)
    trunk = load_proven(job.inputs["convert"], job.recipe.export if job.recipe is not None else None)
    with ranks_of() as ranks, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = adapt(task, trunk.arch, job.data_root(task.dataset), world=1, synchronise=False)
        runner: Any = _runner(job, task, plan, ranks, [])
        runner._hooks = []  # they look at a training
        model = plain_model(runner.model)
        _restore(model, job.folder / CHECKPOINT, plan.iterations, trunk.hash)
        model.eval()
        loop = runner.val_loop
        loop.compile = False  # for a few images it never pays
        taken = _Taken()
        loop.evaluator = taken
        classes = len(loop.dataloader.dataset.metainfo["classes"])
        ignored = _ignored(plan.config)

        def predict(position: int) -> Prediction:
            batch = pseudo_collate([loop.dataloader.dataset[position]])
            loop.run_iter(0 if loop.network is None else 1, batch)
            (sample,) = taken.samples
            labels, truth = (_plain(sample, name) for name in ("pred_sem_seg", "gt_sem_seg"))
            inner, _, guessed, true = UnroundedIoU.intersect_and_union(
                labels, truth.to(labels.device), classes, ignored
            )
            return Prediction(labels.cpu().numpy(), np.stack([each.numpy() for each in (inner, guessed, true)]))

        yield predict


class _Taken:
    """Stands where mmengine's evaluator does, and keeps the newest samples."""

    samples: Sequence[Any] = ()

    def process(self, data_samples: Sequence[Any], data_batch: Any = None) -> None:
        del data_batch
        self.samples = data_samples


def _restore(model: Any, file: Path, iterations: int, trunk_hash: str) -> None:
    content = read_checkpoint(file)
    if not isinstance(content, dict) or content.get("iteration") != iterations:
        raise BadInput(
            f"{file.name} does not hold the model of this stage after iteration {iterations}; it was replaced, and its "
            "stage must run again before it can be shown."
        )
    if content.get("trunk_hash") != trunk_hash:
        raise BadInput(f"{file.name} was fine-tuned from another trunk; its stage must run again.")
    model.load_state_dict(content["model"], strict=True)


def _ignored(config: Any) -> int:
    """The label of pixels that count nowhere, as the stage's metric has it."""
    metric = config.get("val_evaluator")
    return int(dict(metric).get("ignore_index", 255)) if isinstance(metric, dict) else 255


def _described(dataset: DrawnDataset, root: Path) -> ValidationSet:
    about, files = dataset.metainfo, (dataset._files(position)[0] for position in range(len(dataset)))
    names = tuple(Path(os.path.relpath(str(file), root)).as_posix() for file in files)
    palette = tuple((int(r), int(g), int(b)) for r, g, b in about.get("palette") or ())
    return ValidationSet(dataset, names, tuple(map(str, about["classes"])), palette)


def _image(sample: Any, position: int, name: str) -> LabelledImage:
    about, inputs = sample["data_samples"], sample["inputs"].numpy()
    shown = np.ascontiguousarray(inputs[::-1].transpose(1, 2, 0)).astype(np.uint8)  # mmcv reads BGR
    truth = _plain(about, "gt_sem_seg").numpy().astype(np.int64)
    file = Path(about.metainfo["img_path"])
    try:
        return LabelledImage(position, name, read_array(file), shown, truth)
    except Undecodable as error:
        raise BadInput(f"Cannot read {file} ({error}); bench data check says what is wrong with it.") from error


def _plain(sample: Any, name: str) -> Any:
    """A sample's map H×W; of samples as mmseg hands them to a metric, and as its data sets give them."""
    part = sample[name] if isinstance(sample, dict) else getattr(sample, name)
    return (part["data"] if isinstance(part, dict) else part.data)[0]
