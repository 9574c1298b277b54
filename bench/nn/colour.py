"""CIE L*a*b* of normalised images, on their device.

Source: the CIE's definition for sRGB under the illuminant D65 (2° observer), as skimage.color.rgb2lab has it.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIDDLE = 50.0  # the lightness of an image that shows a and b alone

MEAN = (0.485, 0.456, 0.406)  # of ImageNet's pixels in [0, 1], by channel, as every torchvision model has it
STD = (0.229, 0.224, 0.225)
# Linear sRGB -> X/Xn, Y/Yn, Z/Zn under D65.
_XYZ = (
    (0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883),
)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)


def unnormalised(images: Tensor) -> Tensor:
    """Return normalised images N×3×H×W as RGB in [0, 1]."""
    return (images * _column(STD, images) + _column(MEAN, images)).clamp(0.0, 1.0)


def lab(images: Tensor) -> Tensor:
    """Return L in [0, 100], a and b in about [−110, 110] of normalised images: N×3×H×W -> N×3×H×W.

    In float32 at least, whatever autocast says: the cube root needs it.
    """
    with torch.autocast(images.device.type, enabled=False):
        rgb = unnormalised(images if images.dtype == torch.float64 else images.float())
        linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp(min=0.0) ** 2.4, rgb / 12.92)
        xyz = torch.einsum("oc,nchw->nohw", torch.tensor(_XYZ, dtype=rgb.dtype, device=rgb.device), linear)
        f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-8) ** (1 / 3), 7.787 * xyz + 16 / 116)
        x, y, z = f.unbind(1)
        return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def normalised_rgb(rgb: Tensor) -> Tensor:
    """Return RGB in [0, 1], N×3×H×W, as encoders see it: the inverse of `unnormalised`, for values within [0, 1]."""
    return (rgb - _column(MEAN, rgb)) / _column(STD, rgb)


def from_lab(lab: Tensor) -> Tensor:
    """Return the normalised images that have these L, a and b, clipped to what sRGB can show: N×3×H×W -> N×3×H×W.

    The inverse of `lab` for colours of sRGB; float32 at least.
    """
    with torch.autocast(lab.device.type, enabled=False):
        lightness, a, b = (lab if lab.dtype == torch.float64 else lab.float()).unbind(1)
        y = (lightness + 16) / 116
        f = torch.stack([y + a / 500, y, y - b / 200], dim=1)
        xyz = torch.where(f > 0.008856 ** (1 / 3), f**3, (f - 16 / 116) / 7.787)
        to_rgb = torch.linalg.inv(torch.tensor(_XYZ, dtype=torch.float64)).to(f)
        linear = torch.einsum("oc,nchw->nohw", to_rgb, xyz).clamp(0.0, 1.0)
        curve = 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
        rgb = torch.where(linear > 0.0031308, curve, 12.92 * linear)
        return normalised_rgb(rgb)


@torch.no_grad()
def lightness_alone(images: Tensor) -> Tensor:
    """Return normalised images as grey ones of the same L, normalised as any other: N×3×H×W, three equal channels."""
    lightness, ab = lab(images).split((1, 2), dim=1)
    return from_lab(torch.cat([lightness, torch.zeros_like(ab)], dim=1))


@torch.no_grad()
def colour_alone(images: Tensor) -> Tensor:
    """Return normalised images with their a and b at lightness 50, clipped to what sRGB can show: N×3×H×W."""
    lightness, ab = lab(images).split((1, 2), dim=1)
    return from_lab(torch.cat([torch.full_like(lightness, MIDDLE), ab], dim=1))


def halves(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return what shows L alone, and what shows a and b alone, of normalised images: N×3×H×W, twice."""
    return lightness_alone(images), colour_alone(images)
