"""Cityscapes: street scenes with a label map each, for segmentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.data.sets.data_set import IGNORED, SPLITS, Contents, DataSet, Index, folder_names, image_names
from bench.errors import BadInput

# By train id.
CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
# The label ids of these classes, in the same order; all others (0 to 33, and 255 for -1) are not evaluated.
# Source: labels.py of the authors' cityscapesScripts.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
IMAGE_END = "_leftImg8bit.png"
MASK_END, LABEL_IDS_END = "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"

_NO_ID = 254
_TRAIN_IDS = np.full(256, _NO_ID, np.uint8)
_TRAIN_IDS[[*range(LABEL_IDS[-1] + 1), IGNORED]] = IGNORED
_TRAIN_IDS[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))


def to_train_ids(ids: np.ndarray) -> np.ndarray:
    """Return the train ids (0 to 18, or 255) of label ids, uint8 of any shape. Raises ValueError for what is no id."""
    train_ids = _TRAIN_IDS[ids]
    if (train_ids == _NO_ID).any():
        raise ValueError(strange_label_id(ids))
    return train_ids


def strange_label_id(ids: np.ndarray) -> str | None:
    """Return what is wrong with the values of a map of label ids, if anything is."""
    wrong = ids[(ids < 0) | ((ids > LABEL_IDS[-1]) & (ids != IGNORED))]
    return f"{wrong[0]} is no label id (0 to {LABEL_IDS[-1]}, or {IGNORED})" if wrong.size else None


def label_end(folder: Path) -> str:
    """Return the end of the names of the label maps in gtFine/<split>/ that are read.

    Those of label ids where no map has train ids, else those of train ids.
    """
    found = ""
    for city in folder_names(folder) if folder.is_dir() else ():
        for name in image_names(folder / city):
            if name.endswith(MASK_END):
                return MASK_END
            if name.endswith(LABEL_IDS_END):
                found = LABEL_IDS_END
    return found or MASK_END


class Cityscapes(DataSet):
    """Cityscapes with fine annotations: label maps of train ids, or of label ids as they are unpacked."""

    name = "cityscapes"
    layout = (
        "leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*_gtFine_labelIds.png (or "
        "*_gtFine_labelTrainIds.png) for the splits train and val"
    )
    labelled = False
    pretrains = False
    groups = "cities"
    mask_classes = CLASSES
    archives = {
        folder: (f"{folder}_trainvaltest.zip", f"unzip -q {folder}_trainvaltest.zip")
        for folder in ("leftImg8bit", "gtFine")
    }

    def looks_like(self, root: Path) -> bool:
        """Whether a folder has Cityscapes' folder of images."""
        return (root / "leftImg8bit").is_dir()

    def recognised(self, root: Path) -> list[str]:
        """Return which label maps each split has its labels from."""
        return [self._labels_of(root, split) for split in self.splits(root)]

    def _labels_of(self, root: Path, split: str) -> str:
        end = label_end(root / "gtFine" / split)
        how = ", made train ids by the table of cityscapesScripts as they are read" if end == LABEL_IDS_END else ""
        return f"labels of {split} from gtFine/{split}/<city>/*{end}{how}"

    def splits(self, root: Path) -> tuple[str, ...]:
        """Return which splits have images."""
        return tuple(split for split in SPLITS if (root / "leftImg8bit" / split).is_dir())

    def index(self, root: Path, split: str) -> Index:
        """List a split. Raises BadInput where an image has no label map."""
        files, masks, missing = self._list(root, split)
        if missing:
            ids = root / missing[0].replace("labelTrainIds", "labelIds")
            made = (
                "cityscapesScripts' csCreateTrainIdLabelImgs makes it of labelIds; or remove the labelTrainIds of this "
                "split, and its labelIds are read"
            )
            remedy = made if ids.is_file() and missing[0].endswith(MASK_END) else "unpack gtFine"
            if not (root / "gtFine").is_dir() and (packed := self.packed(root, "gtFine/")):
                raise BadInput(f"{root} has no gtFine/, but {packed}")
            raise BadInput(f"{root / missing[0]} is missing, as are {len(missing) - 1} other label maps; {remedy}.")
        return Index(self.name, root, split, tuple(files), classes=CLASSES, masks=tuple(masks))

    def strange_label(self, mask: str, labels: np.ndarray) -> str | None:
        """Return what is wrong with the values of a label map, of label ids or of train ids."""
        return strange_label_id(labels) if mask.endswith(LABEL_IDS_END) else super().strange_label(mask, labels)

    def contents(self, root: Path, split: str) -> Contents:
        """Return what there is to check of a split, images without a label map included."""
        files, masks, missing = self._list(root, split)
        absent = set(missing)
        return Contents(
            Counter(file.split("/")[2] for file in files),
            files,
            {file: mask for file, mask in zip(files, masks, strict=True) if mask not in absent},
            [f"{mask} (the label map of an image)" for mask in missing],
        )

    def _list(self, root: Path, split: str) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
        """The images of a split, a label map for each of them (it may not exist), and those that do not exist."""
        images = root / "leftImg8bit" / split
        if not images.is_dir():
            raise self.wrong_layout(root, f"leftImg8bit/{split}/")
        files: list[str] = []
        masks: list[str] = []
        missing: list[str] = []
        mask_end = label_end(root / "gtFine" / split)
        for city in folder_names(images):
            labelled = root / "gtFine" / split / city
            present = set(image_names(labelled)) if labelled.is_dir() else set()
            for name in image_names(images / city):
                if not name.endswith(IMAGE_END):
                    continue
                mask = name.removesuffix(IMAGE_END) + mask_end
                files.append(f"leftImg8bit/{split}/{city}/{name}")
                masks.append(f"gtFine/{split}/{city}/{mask}")
                if mask not in present:
                    missing.append(masks[-1])
        if not files:
            raise self.wrong_layout(root, f"leftImg8bit/{split}/<city>/*{IMAGE_END}")
        return files, masks, missing
