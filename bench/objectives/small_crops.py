"""What objectives with small crops share: their three settings, and the crops as views.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (SwAV, NeurIPS
2020), section 3.2: beside full views, small crops that cost a fraction of one.
"""

from __future__ import annotations

from typing import ClassVar

from bench.config.setting_types import AreaRange, CropSize, Whole
from bench.data.views import LOCAL_CROPS, View
from bench.errors import BadInput
from bench.nn.encoder import Encoder
from bench.objectives.base import Objective


class SmallCrops(Objective):
    """An objective that takes small crops of an image beside its full views; by default there are none."""

    norm_groups: ClassVar[bool] = True
    crops_apart: ClassVar[bool] = False  # whether crops must be smaller than the full views
    crops_like: ClassVar[View | None] = None  # a view that small crops are drawn like; None: the first full one

    def __init__(
        self, encoder: Encoder, *, crops: Whole = 0, crop_size: CropSize = 96, crop_scale: AreaRange = (0.05, 0.14)
    ) -> None:
        super().__init__(encoder)
        self.crops, self.crop_size = crops, crop_size
        self.crop_scale = (float(crop_scale[0]), float(crop_scale[1]))

    @staticmethod
    def full_views(size: int) -> tuple[View, ...]:
        """Return the full views, of `size` pixels; most subclasses name a function of `bench.data.views`."""
        raise NotImplementedError

    def views(self, size: int) -> tuple[View, ...]:
        """The full views, then the small crops."""
        full = self.full_views(size)
        return (*full, *self.small_crops(self.crops_like or full[0]))

    def small_crops(self, like: View, overlap: float = 0.0) -> tuple[View, ...]:
        """Return the crops as one view with a count, drawn as `like` is; () where there are none.

        `overlap` is the share of each that lies in the first view's crop.
        """
        return LOCAL_CROPS(like, self.crops, self.crop_size, self.crop_scale, overlap)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse crops as large as the full views too, where these would go through the networks in one batch."""
        super().check(batch_size, view_size)
        if self.crops_apart and self.crops and self.crop_size >= view_size:
            raise BadInput(
                f"objective.crop_size is {self.crop_size}, no smaller than the views; set it below view_size, "
                f"{view_size}."
            )
