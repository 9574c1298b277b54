"""Views of an image, declared as data, and drawn from a generator that is handed in.

Order of what is done: crop and resize, flip, colour jitter, grey, blur, solarize (Grill et al., "Bootstrap Your Own
Latent", 2020, appendix B; Chen et al., SimCLR, 2020, appendix A), strong steps (strong_views.py). The single steps are
torchvision's and Pillow's.

That is the back end `reference`. Two others make the same views from the same `Drawn`: `fast` (fast_views.py, image by
image) and `device` (device_views.py, whole batches). How far they are from the reference at most, as mean absolute
difference / its 99th percentile in grey levels, on smooth images and on noise alike:

| step                             | fast      | device    |
|----------------------------------|-----------|-----------|
| crop, resize, solarize           | 0.02 / 1  | 0.02 / 1  |
| flip (of the same crop)          | 0         | 0         |
| brightness, contrast, saturation | 0         | 0.02 / 1  |
| hue                              | 0         | 1.5 / 8   |
| grey                             | 0         | 0.02 / 1  |
| blur                             | 0.45 / 3  | 0.4 / 2   |
| all of it, every step done       | 0.45 / 3  | 1.5 / 8   |
| strong, of the same pixels       | 0         | 0         |

The hue's of `device` is Pillow's own: it keeps hue and saturation in 8 bits, fractions cut off. The blur's of `fast` is
at edges. tests/data/test_backends.py holds both to that.

A fourth, `resident` (resident.py), has the split on the device and draws there, too, by the laws of `draw` but from
numbers of its own: other views than those, with the pixels of `device` for equal parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torchvision.transforms import functional as TF

from bench.data.maps import Crop, covered
from bench.data.views.strong import StrongStep, draw_strong, strengthen
from bench.errors import BadInput
from bench.nn.colour import MEAN, STD

Interpolation = Literal["bicubic", "bilinear"]
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

ATTEMPTS = 10  # to draw a crop that fits

JITTERS = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
BoxRow = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class View:
    """How a view is drawn; the defaults are SimCLR's with BYOL's saturation.

    Args:
        size: side of the square view in pixels.
        scale: range of the crop's share of the image's area.
        ratio: range of the crop's width / height, drawn uniformly in its logarithm.
        interpolation: of the resize to `size`.
        flip: probability of a mirror image.
        jitter: strengths of brightness, contrast, saturation (factors in 1 ± strength) and hue (a shift in ± strength
            of the circle), done in random order; None for never.
        jitter_p: probability of the jitter.
        grey: probability of greyscale.
        blur: probability of a Gaussian blur.
        blur_sigma: range of its standard deviation in pixels of the view.
        solarize: probability that values from 128 on are inverted.
        strong: how many steps are drawn from the pool of strong_views.py, each done half of the time.
        count: how many such views of each image.
        overlap: least share of this crop's area that lies in the first view's crop (Van Gansbeke et al., "Revisiting
            Contrastive Methods", 2021). One that has less is drawn anew, up to ten times, then the best of them is it.
        salient: least share of the image's salient region that this crop covers (Selvaraju et al., "CAST", 2021);
            drawn anew likewise.
    """

    size: int = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bicubic"
    flip: float = 0.5
    jitter: tuple[float, float, float, float] | None = (0.4, 0.4, 0.2, 0.1)
    jitter_p: float = 0.8
    grey: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0
    strong: int = 0
    count: int = 1
    overlap: float = 0.0
    salient: float = 0.0


def BYOL_VIEWS(size: int) -> tuple[View, View]:
    """The two views of BYOL (appendix B): the first always blurred, the second rarely, and sometimes solarized."""
    return View(size=size, blur=1.0), View(size=size, blur=0.1, solarize=0.2)


def SIMCLR_VIEWS(size: int, strength: float = 1.0, blur: float = 0.5) -> tuple[View, View]:
    """Two views of SimCLR (appendix A): colour jitter of that strength; the blur is of 2.0 pixels at most."""
    jitter = (0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    return (View(size=size, jitter=jitter, blur=blur),) * 2


def MOCO_VIEWS(size: int) -> tuple[View, View]:
    """Two views of MoCo v1 (He et al. 2020): from a fifth of the area on, jitter always, no blur."""
    view = View(
        size=size, scale=(0.2, 1.0), interpolation="bilinear", jitter=(0.4, 0.4, 0.4, 0.4), jitter_p=1.0, blur=0.0
    )
    return view, view


def MOCO_V2_VIEWS(size: int) -> tuple[View, View]:
    """Two views of MoCo v2 (Chen et al. 2020), which SimSiam uses, too."""
    view = View(size=size, scale=(0.2, 1.0), interpolation="bilinear", jitter=(0.4, 0.4, 0.4, 0.1), blur=0.5)
    return view, view


def LOCAL_CROPS(
    like: View, count: int, size: int, scale: tuple[float, float], overlap: float = 0.0
) -> tuple[View, ...]:
    """Return the small crops of multi-crop (Caron et al., SwAV, 2020): drawn as `like`, but of that size and scale.

    `overlap` is the share of each that lies in the first view's crop.
    """
    return (replace(like, size=size, scale=scale, count=count, overlap=overlap),) if count else ()


def SUPERVISED_VIEW(size: int) -> View:
    """Crop and flip, as in supervised training and linear evaluation (He et al. 2016; torchvision's reference)."""
    return View(size=size, interpolation="bilinear", jitter=None, grey=0.0, blur=0.0)


def SMALL_VIEW(size: int) -> View:
    """The view of runs on CIFAR and STL-10: a fifth of the area or more, colours, grey and flip, neither blur nor
    solarize.

    Source: Ermolov et al., "Whitening for Self-Supervised Representation Learning" (ICML 2021), and their code,
    htdt/self-supervised (bicubic; crops from 0.2 on, grey 0.1; the jitter of its later versions). There the colours
    come before the crop, here after it: each acts on a pixel alone but for the contrast, which is about the mean of
    the image there and of the crop here, and but for the rounding of the resize.
    """
    return View(size=size, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey=0.1, blur=0.0)


def small_views(views: Sequence[View], size: int, name: str) -> tuple[View, ...]:
    """Return an objective's views with each global one replaced by SMALL_VIEW; their number and order stay.

    Small crops (multi-crop) keep their size, scale and count, and are drawn like the global views else.

    Args:
        views: of the objective.
        size: side of its global views in pixels.
        name: of the objective.

    Raises BadInput where a view is special: in its own colours, with strong steps, bound to another view or to a map,
    or a piece of the image that is cut further (square, or of at least half of it).
    """
    small, replaced = SMALL_VIEW(size), []
    for view in views:
        plain = view.jitter is not None and not (view.strong or view.overlap or view.salient)
        whole = view.size == size and view.scale[0] < 0.5 and view.ratio[0] < view.ratio[1]
        crop = view.size < size and view.scale[1] < 1.0
        if not (plain and (whole or crop)):
            raise BadInput(
                f"The objective {name} needs views of its own kind, which augmentation='small' would take away; set "
                "augmentation='own'."
            )
        replaced.append(
            replace(small, count=view.count)
            if whole
            else replace(small, size=view.size, scale=view.scale, ratio=view.ratio, count=view.count)
        )
    return tuple(replaced)


def PATCH_VIEW(size: int, grey: float = 0.0) -> View:
    """What patches are cut from: a square of at least half of the image, unstretched, sometimes mirrored or grey."""
    return replace(SUPERVISED_VIEW(size), scale=(0.5, 1.0), ratio=(1.0, 1.0), grey=grey)


class Undone(Protocol):
    """Images of a batch whose views are still to be made, on the device where they are wanted."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Undone:
        """Return them on a device."""

    def pin_memory(self) -> Undone:
        """Return them in page-locked memory."""

    def views(self) -> list[Tensor]:
        """Return one tensor N×3×h×w uint8 for each view."""


@dataclass
class Batch:
    """What an objective gets.

    `views` has one tensor N×3×h×w for each view (a view with `count` 4 has four). They are uint8 as a loader yields
    them, and float32, normalised with ImageNet's mean and standard deviation, once `to` has moved them: a quarter is
    copied between processes and to the device. Where `undone` is given, `to` makes the views from it
    on the device first. `boxes` says for each view where it lies: N×5 float32 of (x0, y0, x1, y1, flipped), in
    [0, 1] of the image's width and height; in a flipped view the first column lies at x1. `labels` (or None) and
    `indices` (positions in the Index) are N int64. `skipped` counts the images that could not be read. `masks`, if
    not None, has a map N×h×w uint8 for each view, cut and flipped as the view is (see bench.data.maps). Of clips,
    views are N×T×3×h×w, and `flows` has for each view the optical flow between its frames, N×(T−1)×2×h×w float32 in
    pixels, if the objective asked for it.
    """

    views: list[Tensor]
    boxes: list[Tensor]
    labels: Tensor | None
    indices: Tensor
    skipped: int = 0
    undone: Undone | None = None
    flows: list[Tensor] | None = None
    masks: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def to(
        self,
        device: torch.device | str,
        memory_format: torch.memory_format | None = None,
        non_blocking: bool = False,
    ) -> Batch:
        """Return the batch on a device, views normalised; `memory_format` is theirs (None: uint8 becomes contiguous).

        Views that are floating-point already are only moved.
        """
        views = self.views
        if self.undone is not None:
            views = self.undone.to(device, non_blocking).views()
        return replace(
            self,
            views=[normalised(view.to(device, non_blocking=non_blocking), memory_format) for view in views],
            undone=None,
            boxes=[box.to(device, non_blocking=non_blocking) for box in self.boxes],
            flows=None if self.flows is None else [flow.to(device, non_blocking=non_blocking) for flow in self.flows],
            labels=None if self.labels is None else self.labels.to(device, non_blocking=non_blocking),
            indices=self.indices.to(device, non_blocking=non_blocking),
            masks=None if self.masks is None else [mask.to(device, non_blocking=non_blocking) for mask in self.masks],
        )

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; torch's DataLoader calls this."""
        return replace(
            self,
            views=[view.pin_memory() for view in self.views],
            undone=None if self.undone is None else self.undone.pin_memory(),
            boxes=[box.pin_memory() for box in self.boxes],
            flows=None if self.flows is None else [flow.pin_memory() for flow in self.flows],
            labels=None if self.labels is None else self.labels.pin_memory(),
            indices=self.indices.pin_memory(),
            masks=None if self.masks is None else [mask.pin_memory() for mask in self.masks],
        )


# ---------------------------------------------------------------------------------------------- drawing


@dataclass(frozen=True)
class Drawn:
    """All that is random about one view of one image."""

    crop: Crop  # left, top, width, height in pixels
    flip: bool
    jitter: tuple[tuple[int, float], ...]  # (position in JITTERS, factor), in the order in which they are done
    grey: bool
    blur: float | None  # standard deviation in pixels
    solarize: bool
    strong: tuple[StrongStep, ...] = ()  # in the order in which they are done


def draw(
    view: View,
    width: int,
    height: int,
    rng: np.random.Generator,
    first: Crop | None = None,
    saliency: np.ndarray | None = None,
) -> Drawn:
    """Draw a view of an image of width×height pixels.

    Args:
        view: what is drawn.
        width, height: of the image.
        rng: what it is drawn from.
        first: the first view's crop, for a view with `overlap`; without it that asks for nothing.
        saliency: the image's map (see bench.data.maps), for a view with `salient`.
    """
    crop = draw_crop(width, height, view.scale, view.ratio, rng)
    if view.overlap > 0 or view.salient > 0:
        crop = _best_crop(crop, view, width, height, rng, first, saliency)
    flip = rng.random() < view.flip
    jitter: tuple[tuple[int, float], ...] = ()
    if view.jitter is not None and rng.random() < view.jitter_p:
        *strengths, hue = view.jitter
        factors = [rng.uniform(max(0.0, 1 - s), 1 + s) for s in strengths] + [rng.uniform(-hue, hue)]
        jitter = tuple((int(step), float(factors[step])) for step in rng.permutation(4) if view.jitter[step] > 0)
    grey = rng.random() < view.grey
    blur = float(rng.uniform(*view.blur_sigma)) if rng.random() < view.blur else None
    solarize = rng.random() < view.solarize
    strong = draw_strong(view.strong, rng)  # last: a view without has the numbers that it always had
    return Drawn(crop, bool(flip), jitter, bool(grey), blur, bool(solarize), strong)


def _best_crop(
    crop: Crop,
    view: View,
    width: int,
    height: int,
    rng: np.random.Generator,
    first: Crop | None,
    saliency: np.ndarray | None,
) -> Crop:
    """Return the first of up to ten crops (`crop`, and what is drawn after it) that is as the view asks, or the best.

    How good one is: what it has of what is asked for, at most 1, where two things are asked for the lesser of both.
    """

    def quality(own: Crop) -> float:
        shares = [1.0]
        if view.overlap > 0 and first is not None:
            shares.append(overlap(own, first) / view.overlap)
        if view.salient > 0:
            if saliency is None:
                raise ValueError("a view with `salient` needs the image's saliency; make the data set with that map")
            shares.append(covered(saliency, own, width, height) / view.salient)
        return min(shares)

    best, highest = crop, quality(crop)
    for _ in range(ATTEMPTS - 1):
        if highest >= 1.0:
            break
        other = draw_crop(width, height, view.scale, view.ratio, rng)
        if (found := quality(other)) > highest:
            best, highest = other, found
    return best


def overlap(crop: Crop, other: Crop) -> float:
    """Return the share of a crop's area that lies in another."""
    (left, top, w, h), (left2, top2, w2, h2) = crop, other
    across = min(left + w, left2 + w2) - max(left, left2)
    down = min(top + h, top2 + h2) - max(top, top2)
    return max(0, across) * max(0, down) / (w * h)


def draw_crop(
    width: int, height: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw (left, top, width, height) as torchvision's RandomResizedCrop does (Szegedy et al. 2015, section 6).

    A crop that does not fit is drawn anew, up to ten times; then it is the largest central one within the ratios.
    """
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.integers(height - h + 1))
            return int(rng.integers(width - w + 1)), top, w, h
    w, h = width, height
    if width / height < min(ratio):
        h = round(width / min(ratio))
    elif width / height > max(ratio):
        w = round(height * max(ratio))
    return (width - w) // 2, (height - h) // 2, w, h


def apply(image: Image.Image, view: View, drawn: Drawn) -> Image.Image:
    """Return a view of an RGB image, size×size pixels."""
    left, top, width, height = drawn.crop
    image = image.crop((left, top, left + width, top + height))
    image = image.resize((view.size, view.size), RESAMPLING[view.interpolation])
    if drawn.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for step, factor in drawn.jitter:
        image = JITTERS[step](image, factor)
    if drawn.grey:
        image = image.convert("L").convert("RGB")
    if drawn.blur is not None:
        image = image.filter(ImageFilter.GaussianBlur(drawn.blur))
    if drawn.solarize:
        image = ImageOps.solarize(image, 128)
    return strengthen(image, drawn.strong)


def draw_all(
    views: Sequence[View],
    width: int,
    height: int,
    rng: np.random.Generator,
    saliency: np.ndarray | None = None,
) -> tuple[list[tuple[View, Drawn]], list[BoxRow]]:
    """Draw all views of one image of width×height pixels, one after another; return them and the box of each.

    `saliency` is the image's map, for views with `salient`.
    """
    drawn: list[tuple[View, Drawn]] = []
    for view in views:
        for _ in range(view.count):
            first = drawn[0][1].crop if drawn else None
            drawn.append((view, draw(view, width, height, rng, first, saliency)))
    return drawn, [box(one.crop, one.flip, width, height) for _, one in drawn]


def make_views(
    image: Image.Image, views: Sequence[View], rng: np.random.Generator
) -> tuple[list[np.ndarray], list[BoxRow]]:
    """Return the views of one RGB image, h×w×3 uint8, and the box of each; `rng` alone decides them."""
    drawn, boxes = draw_all(views, image.width, image.height, rng)
    return [np.asarray(apply(image, view, one)) for view, one in drawn], boxes


def make_test_view(
    image: Image.Image, size: int, resize: int, interpolation: Interpolation = "bilinear"
) -> tuple[np.ndarray, BoxRow]:
    """Return the centre size×size×3 (uint8) of an RGB image whose short side is resized to `resize`, and its box."""
    short = min(image.size)
    width, height = (int(resize * side / short) for side in image.size)  # cut off, as in torchvision
    image = image.resize((width, height), RESAMPLING[interpolation])
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return pixels, box((left, top, size, size), False, width, height)


def box(crop: tuple[int, int, int, int], flip: bool, width: int, height: int) -> BoxRow:
    """Return a crop in shares of the image's width and height, with 1 for flipped."""
    left, top, w, h = crop
    return left / width, top / height, (left + w) / width, (top + h) / height, float(flip)


def stack(pixels: Sequence[np.ndarray]) -> Tensor:
    """Return h×w×3 uint8 arrays as one tensor N×3×h×w uint8, channels last in memory: one copy.

    Clips T×h×w×3 become N×T×3×h×w.
    """
    return torch.from_numpy(np.stack(pixels)).movedim(-1, -3)


def normalised(images: Tensor, memory_format: torch.memory_format | None = None) -> Tensor:
    """Return N×3×h×w uint8 as float32, minus ImageNet's mean, by its standard deviation; floats stay as they are.

    Args:
        images: on any device.
        memory_format: of the result; None leaves floats as they are and makes uint8 contiguous.
    """
    if images.dim() == 5:  # clips N×T×3×h×w: as many images
        return normalised(images.flatten(0, 1), memory_format).unflatten(0, images.shape[:2])
    if images.dtype != torch.uint8:
        return images if memory_format is None else images.to(memory_format=memory_format)
    pixels = images.to(torch.float32, memory_format=memory_format or torch.contiguous_format)
    mean, std = (torch.tensor(values, device="cpu").view(1, 3, 1, 1) for values in (MEAN, STD))
    mean, std = (value.to(images.device, non_blocking=True) for value in (mean, std))
    return pixels.div_(255).sub_(mean).div_(std)


def normalise(pixels: Sequence[np.ndarray]) -> Tensor:
    """Return h×w×3 uint8 arrays as one tensor N×3×h×w float32, minus ImageNet's mean, by its standard deviation."""
    return normalised(stack(pixels))
