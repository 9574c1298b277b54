"""Cityscapes: street scenes with a label map each, for segmentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.data.sets.data_set import SPLITS, Contents, DataSet, Index, folder_names, image_names
from bench.errors import BadInput

# By train id.
CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
IMAGE_END, MASK_END = "_leftImg8bit.png", "_gtFine_labelTrainIds.png"


class Cityscapes(DataSet):
    """Cityscapes with fine annotations, as label maps of train ids."""

    name = "cityscapes"
    layout = (
        "leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*_gtFine_labelTrainIds.png for the "
        "splits train and val"
    )
    labelled = False
    pretrains = False
    groups = "cities"
    mask_classes = CLASSES

    def splits(self, root: Path) -> tuple[str, ...]:
        """Return which splits have images."""
        return tuple(split for split in SPLITS if (root / "leftImg8bit" / split).is_dir())

    def index(self, root: Path, split: str) -> Index:
        """List a split. Raises BadInput where an image has no label map."""
        files, masks, missing = self._list(root, split)
        if missing:
            ids = root / missing[0].replace("labelTrainIds", "labelIds")
            made = "cityscapesScripts' csCreateTrainIdLabelImgs makes it of labelIds"
            raise BadInput(
                f"{root / missing[0]} is missing, as are {len(missing) - 1} other label maps; "
                f"{made if ids.is_file() else 'unpack gtFine'}."
            )
        return Index(self.name, root, split, tuple(files), classes=CLASSES, masks=tuple(masks))

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
        for city in folder_names(images):
            labelled = root / "gtFine" / split / city
            present = set(image_names(labelled)) if labelled.is_dir() else set()
            for name in image_names(images / city):
                if not name.endswith(IMAGE_END):
                    continue
                mask = name.removesuffix(IMAGE_END) + MASK_END
                files.append(f"leftImg8bit/{split}/{city}/{name}")
                masks.append(f"gtFine/{split}/{city}/{mask}")
                if mask not in present:
                    missing.append(masks[-1])
        if not files:
            raise self.wrong_layout(root, f"leftImg8bit/{split}/<city>/*{IMAGE_END}")
        return files, masks, missing
