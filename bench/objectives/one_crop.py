"""What objectives of a single view share: one crop of each image in its true colours, sometimes flipped."""

from __future__ import annotations

from bench.data.views import SUPERVISED_VIEW, View
from bench.objectives.base import Objective


class OneCrop(Objective):
    """An objective that sees one crop of each image, as supervised training does."""

    def views(self, size: int) -> tuple[View, ...]:
        """One crop in its true colours, sometimes flipped."""
        return (SUPERVISED_VIEW(size),)
