"""What `bench pictures` and a page agree on: where pictures lie in a work folder, and how much they may take."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["segmentation", "neighbours", "pca"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FOLDER, INDEX = "pictures", "pictures.json"  # in a work folder, and in that
VERSION = 1  # of the form of INDEX
MOST_BYTES = 1_500_000  # of all images, each as often as it is shown; base64 makes a third more of them
