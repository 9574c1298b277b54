"""ImageNet-1k, and the 100 classes of it that are a data set themselves."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bench.data.sets.class_folders import ClassFolders
from bench.errors import BadInput


class ImageNet(ClassFolders):
    """ImageNet-1k; its validation images must lie in class folders, too."""

    name = "imagenet"
    layout = "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG"
    class_word = "<wnid>"
    packable = True


class ImageNet100(ImageNet):
    """ImageNet-100, which is read from a whole ImageNet where it has no folder of its own."""

    name = "imagenet100"
    layout = "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG of its 100 classes (a whole ImageNet serves)"
    serves_from = ("imagenet",)

    def classes(self, root: Path, folder: str) -> list[str]:
        """Return the 100 classes, sorted. Raises BadInput where one is missing."""
        wanted = sorted(imagenet100_classes())
        missing = sorted(set(wanted) - set(super().classes(root, folder)))
        if missing:
            raise BadInput(
                f"{root / folder} has {100 - len(missing)} of the 100 classes of ImageNet-100 ({missing[0]} is "
                "missing); point imagenet100 or imagenet to a folder with all of them, or use the data set imagenet."
            )
        return wanted


@cache
def imagenet100_classes() -> tuple[str, ...]:
    """Return the wnids of ImageNet-100 in the order of their authors: Tian et al., "Contrastive Multiview Coding"."""
    return tuple((Path(__file__).parent / "imagenet100.txt").read_text(encoding="ascii").split())
