"""Panels of what was computed: what stands in which row and column, and in words what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bench.execute.pictures.files import Cell, Panel, Row
from bench.outcomes import AreaOutcomes, area_metrics
from bench.stages.pictures.components import Components
from bench.stages.pictures.evaluation_views import Shown
from bench.stages.pictures.neighbours import Neighbours
from bench.stages.pictures.overlay import key, overlay, shares

if TYPE_CHECKING:  # what only looks at trunks does not wait for mmseg
    from bench.stages.segmentation.single_images import LabelledImage, Prediction

THUMBNAIL = 128  # pixels of a neighbour's long side
ORDINALS = ("nearest", "second", "third", "fourth", "fifth")


@dataclass(frozen=True)
class Predicted:
    """A prediction as it is shown, and what its IoU is; `apart` where its pixels are not those of the record."""

    cell: Cell
    apart: bool
    classes: frozenset[int]  # that it predicts


def predicted(
    image: LabelledImage, prediction: Prediction, label: str, colours: np.ndarray, recorded: AreaOutcomes | None
) -> Predicted:
    """Return the overlay of what a row predicts for an image, with its IoU, compared with the outcomes recorded."""
    value = _iou(prediction.areas)
    words, apart = f"IoU {value}", False
    if recorded is None:
        words += ", not compared with the record"
    else:
        of_record = recorded.areas()[image.position]
        apart = not np.array_equal(of_record, prediction.areas)
        if apart:
            then = _iou(of_record)
            words += f", but {then} in the record" if then != value else ", of other pixels than in the record"
    cell = Cell(
        overlay(image.pixels, prediction.labels, colours), f"What {label} predicts for {image.name}: {words}", words
    )
    return Predicted(cell, apart, frozenset(np.flatnonzero(prediction.areas[1]).tolist()))


def segmentation_panel(
    about: str,
    images: Sequence[LabelledImage],
    reasons: Mapping[int, Sequence[str]],
    found: Mapping[str, Mapping[int, Predicted]],
    classes: Sequence[str],
    colours: np.ndarray,
) -> Panel:
    """Return the panel of segmentations.

    Args:
        about: the data set, the network and the task, in words.
        images: in the order of the rows.
        reasons: position of an image -> why it is shown: "fixed", "worst of ROW".
        found: row of tables -> position of an image -> the prediction.
        classes: names of the C classes.
        colours: C×3 uint8.
    """
    rows = []
    for image in images:
        what = shares(image.truth, classes)
        drawn = [
            Cell(image.pixels, f"Image {image.name}"),
            Cell(overlay(image.pixels, image.truth, colours), f"Ground truth of {image.name}: {what}", what),
            *(of_row[image.position].cell for of_row in found.values()),
        ]
        why = " and ".join(reasons[image.position])
        rows.append(Row(f"{why}: {PurePosixPath(image.name).name}", tuple(drawn)))
    guessed = {number for of_row in found.values() for image in images for number in of_row[image.position].classes}
    seen = sorted(_classes_in(images, len(classes)) | guessed)
    listed = key([classes[number] for number in seen], colours[seen])
    names = ", ".join([*(classes[number] for number in seen), "ignored"])
    rows.append(Row("colours", (Cell(listed, f"Colours of: {names}", as_is=True), *[None] * (1 + len(found)))))
    caption = (
        "Validation images with their label maps laid over them. Images called fixed were chosen by their names alone, "
        "and are the same for every pretraining; of each pretraining the image with its lowest IoU is shown for all. "
        "IoU in percent: the mean over the classes that occur in the image or in its prediction. The mIoU of a table "
        "sums pixels over all images first, and is no mean of these. Striped pixels are ignored and count nowhere."
    )
    return Panel("segmentation", f"Segmentation: {about}", caption, ("image", "ground truth", *found), tuple(rows))


def neighbours_panel(about: str, found: Mapping[str, Neighbours]) -> Panel:
    """Return the panel of nearest neighbours, {row of tables: those of its trunk}, all of the same queries."""
    first = next(iter(found.values()))
    count = max((len(query.neighbours) for each in found.values() for query in each.queries), default=0)
    rows = []
    for number, query in enumerate(first.queries):
        true = _class(query.image, first.classes)
        for label, each in found.items():
            same = each.queries[number]
            drawn: list[Cell | None] = [Cell(query.image.pixels, f"Query {query.image.name}, {true}", true, THUMBNAIL)]
            for image, score in zip(same.neighbours, same.scores, strict=True):
                name = _class(image, each.classes)
                verdict = "right" if image.label == query.image.label else "wrong"
                words = f"{verdict}: {name}, {'cosine' if each.cosine else 'distance'} {score:.3f}"
                drawn.append(Cell(image.pixels, f"{image.name} by {label}, {words}", words, THUMBNAIL))
            drawn += [None] * (1 + count - len(drawn))
            rows.append(Row(f"{label}: {PurePosixPath(query.image.name).name}", tuple(drawn)))
    how = "cosine" if first.cosine else "Euclidean distance"
    caption = (
        f"Fixed validation images, chosen by their names alone, and the training images nearest to them by {how} of "
        "the frozen trunk's features, as the kNN evaluation compares them. Right: the image is of the query's class."
    )
    return Panel("neighbours", f"Nearest neighbours: {about}", caption, ("query", *ORDINALS[:count]), tuple(rows))


def pca_panel(about: str, name: str, images: Sequence[Shown], found: Mapping[str, Components]) -> Panel:
    """Return the panel of the principal components of one map, "C5", of each row's trunk."""
    rows = []
    for number, image in enumerate(images):
        drawn = [Cell(image.pixels, f"Image {image.name}")]
        for label, each in found.items():
            share = sum(each.shares)
            alt = f"Components of {name} of {label} on {image.name}, which hold {share:.0f} % of the variance"
            drawn.append(
                Cell(each.colours[number], alt, f"{share:.0f} % of the variance", blocks=image.pixels.shape[:2])
            )
        rows.append(Row(PurePosixPath(image.name).name, tuple(drawn)))
    shares_of = "; ".join(
        f"{label} {' + '.join(f'{share:.0f}' for share in each.shares)} %" for label, each in found.items()
    )
    caption = (
        f"The first three principal components of {name} of each pretraining's trunk, before any fine-tuning, over all "
        "images of this panel, as red, green and blue. Each column has colours of its own, which cannot be compared. "
        f"Variance explained: {shares_of}."
    )
    return Panel("pca", f"Feature PCA of {name}: {about}", caption, ("image", *found), tuple(rows))


def _iou(areas: np.ndarray) -> str:
    value = float(area_metrics(areas)["miou_percent"])
    return "of no class" if np.isnan(value) else f"{value:.1f}"


def _classes_in(images: Sequence[LabelledImage], classes: int) -> set[int]:
    """The classes that occur in label maps."""
    values = {int(value) for image in images for value in np.unique(image.truth)}
    return {value for value in values if 0 <= value < classes}


def _class(image: Shown, classes: Sequence[str]) -> str:
    return "no class" if image.label is None else classes[image.label]
