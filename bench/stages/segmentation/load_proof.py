"""The load proof through a segmentor's own eyes: its loading, its preprocessor, its dilated backbone, its precision.

What the mmseg config says openly and does not change what the trunk computes (frozen stages, norms in eval mode, their
momentum) is let pass, and printed. What the built model does and its config does not say is refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bench.convert.trunk import Trunk
from bench.errors import BadInput, StageFailed
from bench.stages.load_proof import (
    SIZES,
    Layout,
    LoadProof,
    Reference,
    check,
    difference,
    fixed_pixels,
    prove_network,
)

NETWORKS = {"PSPHead": "PSPNet", "FCNHead": "FCN", "ASPPHead": "DeepLabV3", "UPerHead": "UPerNet"}


def prove_segmentor(
    model: Any, datasets: Mapping[str, Any], trunk: Trunk, said: Mapping[str, Any], precisions: Iterable[str]
) -> LoadProof:
    """Prove that a segmentor with a trunk sees what pretraining saw; its modes and its weights stay as they are.

    Args:
        model: mmseg's segmentor, without a wrapper, on its device.
        datasets: {"training": mmseg's data set, …}, whose pipelines load images.
        trunk: as read with its proof.
        said: `model` of the mmseg config.
        precisions: of training and of evaluation.

    Raises StageFailed, or BadInput where the config itself is at fault, with one sentence that says what differs.
    """
    backbone, settings = model.backbone, said["backbone"]
    head = type(model.decode_head[-1] if isinstance(model.decode_head, torch.nn.ModuleList) else model.decode_head)
    name = next((NETWORKS[one.__name__] for one in head.__mro__ if one.__name__ in NETWORKS), head.__name__)
    what = f"{name}'s own preprocessor and backbone"
    allowed = check_modes(model, settings, what)
    pixels = fixed_pixels(*SIZES["imagenet"])
    expected = Reference(trunk, model.data_preprocessor.device).normalised(pixels)
    for purpose, dataset in datasets.items():
        seen = preprocessed(model, loaded(dataset, pixels, purpose), training=purpose == "training")
        height, width = pixels.shape[-2:]
        check({"input": difference(seen[..., :height, :width], expected)}, f"{what} in {purpose}", trunk.arch)
    images = preprocessed(model, loaded(None, pixels, ""), training=False)
    whole = backbone if model.with_neck else model.extract_feat
    momentum = (settings.get("norm_cfg") or {}).get("momentum")
    training = model.training
    model.eval()
    try:
        return prove_network(
            trunk,
            what,
            backbone,
            images,
            whole,
            pixels=pixels,
            layout=layout_of(settings),
            indices=settings.get("out_indices", (0, 1, 2, 3)),
            precisions=precisions,
            momentum=momentum,
            allowed=allowed,
        )
    finally:
        model.train(training)


def layout_of(settings: Mapping[str, Any]) -> Layout:
    """Return what the backbone of an mmseg config says of strides and dilations."""
    grid = settings.get("multi_grid")
    return Layout(
        strides=tuple(settings.get("strides", (1, 2, 2, 2))),
        dilations=tuple(settings.get("dilations", (1, 1, 1, 1))),
        contract=bool(settings.get("contract_dilation", False)),
        multi_grid=None if grid is None else tuple(grid),
    )


def check_modes(model: Any, settings: Mapping[str, Any], what: str) -> list[str]:
    """Check which layers of the backbone train against what its config says; return in words what that says openly.

    Raises StageFailed for a layer that is frozen, or trains, and a norm in another mode, than the config says.
    """
    norms = settings.get("norm_cfg") or {}
    norm_eval, frozen = bool(settings.get("norm_eval", False)), int(settings.get("frozen_stages", -1))
    norms_train = bool(norms.get("requires_grad", True))
    training = model.training
    model.train()
    try:
        for name, module in model.backbone.named_modules():
            place = int(name[len("layer")]) if name.startswith("layer") else 0
            is_norm, fixed = isinstance(module, _BatchNorm), place <= frozen
            if is_norm and module.training == (norm_eval or fixed):
                mode = "train" if module.training else "eval"
                raise StageFailed(
                    f"The load proof failed: the norm {name} of {what} is in {mode} mode while it trains, which its "
                    f"config does not say (norm_eval={norm_eval}, frozen_stages={frozen}); say so there, or correct it."
                )
            wanted = not fixed and (norms_train or not is_norm)
            for key, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad != wanted:
                    state = "trains" if parameter.requires_grad else "is frozen"
                    raise StageFailed(
                        f"The load proof failed: {name}.{key} of {what} {state}, which its config does not say "
                        f"(frozen_stages={frozen}, norm_cfg.requires_grad={norms_train}); say so there, or correct it."
                    )
    finally:
        model.train(training)
    said = [f"its config says frozen_stages={frozen}"] if frozen >= 0 else []
    said += ["its config says norm_eval=True: its norms keep the trunk's statistics"] if norm_eval else []
    said += ["its config says norm_cfg.requires_grad=False"] if not norms_train else []
    said += [f"its config says norm_cfg.momentum={norms['momentum']}"] if norms.get("momentum") is not None else []
    return said


def loaded(dataset: Any, pixels: Tensor, purpose: str) -> Tensor:
    """Return the fixed image as a data set's pipeline reads it from a file, 3×H×W; without one, in BGR, uint8.

    Raises BadInput for a pipeline that normalises, which the preprocessor would do a second time, or reads no colours.
    """
    image = pixels[0].permute(1, 2, 0).numpy()
    while dataset is not None and not hasattr(dataset, "pipeline"):  # one that is drawn from, repeated, or cut
        dataset = getattr(dataset, "dataset", None)
    steps = list(getattr(getattr(dataset, "pipeline", None), "transforms", []))
    if any(type(step).__name__ == "Normalize" for step in steps):
        raise BadInput(
            f"The pipeline for {purpose} normalises images, and the model's data_preprocessor does so again; take "
            "Normalize out of the mmseg config's pipeline."
        )
    reading = next((step for step in steps if isinstance(step, LoadImageFromFile)), None)
    if reading is None:
        return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.png"
        Image.fromarray(image).save(file)
        read = reading.transform({"img_path": str(file)})["img"]
    if read.ndim != 3:
        raise BadInput(
            f"The pipeline for {purpose} reads an image in colour without its colours; its LoadImageFromFile should "
            "have color_type='color'."
        )
    return torch.from_numpy(read.copy()).permute(2, 0, 1)


def preprocessed(model: Any, image: Tensor, *, training: bool) -> Tensor:
    """Return what the segmentor's own preprocessor makes of an image, 1×3×H×W float32, with what it pads."""
    sample = SegDataSample(metainfo={"img_shape": tuple(image.shape[1:]), "ori_shape": tuple(image.shape[1:])})
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, *image.shape[1:], dtype=torch.int64))
    with torch.no_grad():
        return model.data_preprocessor({"inputs": [image], "data_samples": [sample]}, training)["inputs"]
