"""The last maps of a trunk, of a few images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bench.config.trunk_inputs import TrunkInputs
from bench.data.views import normalised
from bench.errors import StageFailed
from bench.stages.frozen_trunk import FORMS, FrozenTrunk

MAPS = ("C4", "C5")


def maps_of(folder: Path, images: Sequence[np.ndarray], inputs: TrunkInputs = "rgb") -> dict[str, list[np.ndarray]]:
    """Return {"C4": a map h×w×D float32 for each image, "C5": the same} of a proven trunk, in float32.

    Args:
        folder: of the convert stage.
        images: H×W×3 uint8, RGB, of any sizes.
        inputs: what the trunk is shown of each; where that are two forms, their features are joined.

    Raises BadInput for a trunk without a proof that holds, StageFailed where a feature is not finite.
    """
    trunk = FrozenTrunk(folder, "float32", inputs=inputs)
    found: dict[str, list[np.ndarray]] = {name: [] for name in MAPS}
    for image in images:
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(trunk.device)
        with torch.inference_mode():
            whole = normalised(pixels)
            forms = (whole,) if inputs == "rgb" else FORMS[inputs](whole)
            shown = [trunk.encoder.maps(form)[-len(MAPS) :] for form in forms]
        for name, parts in zip(MAPS, zip(*shown, strict=True), strict=True):
            joined = torch.cat(list(parts), dim=1)[0].permute(1, 2, 0).float().cpu().numpy()
            if not np.isfinite(joined).all():
                raise StageFailed("The trunk gives features that are not finite; its pretraining diverged.")
            found[name].append(joined)
    return found
