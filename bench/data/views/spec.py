"""What a view is, declared as data: `View`, and the views of the papers. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import BadInput

Interpolation = Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class View:
    """How a view is drawn; the defaults are SimCLR's with BYOL's saturation.

    Args:
        size: side of the square view in pixels.
        scale: range of the crop's share of the image's area.
        ratio: range of the crop's width / height, drawn uniformly in its logarithm.
        square: in place of `scale` and `ratio`: the crop is a square anywhere in the image, and its side is this share
            of the image's shorter one. Resizing the shorter side to 292 pixels and cutting 255 has 255 / 292.
        interpolation: of the resize to `size`.
        flip: probability of a mirror image.
        jitter: strengths of brightness, contrast, saturation (factors in 1 ± strength) and hue (a shift in ± strength
            of the circle), done in random order; None for never.
        jitter_p: probability of the jitter.
        grey: probability of greyscale.
        grey_first: whether it comes before the jitter instead of after it. Which of them are done is drawn alike.
        blur: probability of a Gaussian blur.
        blur_sigma: range of its standard deviation in pixels of the view.
        solarize: probability that values from 128 on are inverted.
        strong: how many steps are drawn from the pool of bench/data/views/strong.py, each done half of the time.
        count: how many such views of each image.
        overlap: least share of this crop's area that lies in the first view's crop (Van Gansbeke et al., "Revisiting
            Contrastive Methods", 2021). One that has less is drawn anew; after ten of them, one is drawn that may lie
            anywhere (their utils/constrained_cropping.py:196).
        salient: least share of the image's salient region that this crop covers (Selvaraju et al., "CAST", 2021). One
            that has less is drawn anew; of ten of them, the best is taken.
        flip_as_first: whether it is flipped exactly where the first view is, instead of by a draw of its own.
        photometric: probability of the four steps of bench/data/views/photometric.py, between jitter and grey.
        cells: (n, side): the crop, resized to side×side pixels, is cut into n×n cells, and the views are patches out of
            them, row by row, each at a random place in its cell; `count` is n². One crop is common to all of them, what
            follows is drawn for each. None: the crop is the view.
    """

    size: int = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    square: float | None = None
    interpolation: Interpolation = "bicubic"
    flip: float = 0.5
    jitter: tuple[float, float, float, float] | None = (0.4, 0.4, 0.2, 0.1)
    jitter_p: float = 0.8
    grey: float = 0.2
    grey_first: bool = False
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0
    strong: int = 0
    count: int = 1
    overlap: float = 0.0
    salient: float = 0.0
    flip_as_first: bool = False
    photometric: float = 0.0
    cells: tuple[int, int] | None = None


def BYOL_VIEWS(size: int) -> tuple[View, View]:
    """The two views of BYOL (appendix B): the first always blurred, the second rarely, and sometimes solarized."""
    return View(size=size, blur=1.0), View(size=size, blur=0.1, solarize=0.2)


def SIMCLR_VIEWS(size: int, strength: float = 1.0) -> tuple[View, View]:
    """Two views of SimCLR (appendix A): colour jitter of that strength; the blur is of 2.0 pixels at most."""
    jitter = (0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    return (View(size=size, jitter=jitter),) * 2


def MOCO_VIEWS(size: int) -> tuple[View, View]:
    """Two views of MoCo v1 (He et al. 2020): from a fifth of the area on, grey and then jitter (always), no blur.

    Source: main_moco.py:239-242 of facebookresearch/moco at 78b69ca; the flip, which comes last there, may come first.
    """
    view = View(
        size=size,
        scale=(0.2, 1.0),
        interpolation="bilinear",
        jitter=(0.4, 0.4, 0.4, 0.4),
        jitter_p=1.0,
        grey_first=True,
        blur=0.0,
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

    `size` is the side of the global ones in pixels.

    Raises BadInput where a view is special: without colour jitter, with strong steps, bound to another view or a
    map, or a piece of the image that is cut further (square, or of at least half of it).
    """
    small, replaced = SMALL_VIEW(size), []
    for view in views:
        special = view.strong or view.overlap or view.salient or view.square or view.cells
        plain = view.jitter is not None and not special
        whole = view.size == size and view.scale[0] < 0.5 and view.ratio[0] < view.ratio[1]
        crop = view.size < size and view.scale[1] < 1.0
        if not (plain and (whole or crop)):
            raise BadInput(
                f"The objective {name} needs views of its own kind, which augmentation='small' would take away; set "
                "augmentation='own'."
            )
        replaced.append(
            replace(small, count=view.count, flip_as_first=view.flip_as_first)
            if whole
            else replace(small, size=view.size, scale=view.scale, ratio=view.ratio, count=view.count)
        )
    return tuple(replaced)


def SQUARE_VIEW(size: int, square: float, grey: float = 0.0, flip: float = 0.5) -> View:
    """A square anywhere in the image, its side this share of the shorter one: neither stretched nor zoomed."""
    return replace(SUPERVISED_VIEW(size), square=square, grey=grey, flip=flip)
