"""BYOL's two views by torchvision's v2 transforms, Albumentations, Kornia and DALI, with their own readers.

Each reads a file, decodes it once, and ends in two normalised float32 tensors of shape 3×size×size. Where a library has
no step as BYOL has it (Grill et al. 2020, appendix B), comparisons.py says beside its name what it does instead.

Runs in the peers' environment, so it imports nothing of this project but the images to measure with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from photographs import listed

Sample = Callable[[], float]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
SIGMA, TAPS = (0.1, 2.0), 23  # BYOL's kernel: a tenth of 224 pixels
VIEWS = ({"blur": 1.0, "solarize": 0.0}, {"blur": 0.1, "solarize": 0.2})  # the probabilities that differ


def torchvision_v2(size: int, blur: float, solarize: float) -> Callable[[Any], torch.Tensor]:
    """One view of a uint8 tensor 3×H×W by torchvision.transforms.v2."""
    from torchvision.transforms import InterpolationMode, v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(size, AREA, ASPECT, InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(**JITTER)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(TAPS, SIGMA)], blur),
            v2.RandomSolarize(128, solarize),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def kornia(size: int, blur: float, solarize: float) -> Callable[[Any], torch.Tensor]:
    """One view of a float32 tensor 3×H×W by Kornia."""
    from kornia import augmentation as K

    return torch.nn.Sequential(
        K.RandomResizedCrop((size, size), AREA, ASPECT, resample="BICUBIC", keepdim=True),
        K.RandomHorizontalFlip(keepdim=True),
        K.ColorJitter(**JITTER, p=0.8, keepdim=True),
        K.RandomGrayscale(p=0.2, keepdim=True),
        K.RandomGaussianBlur((TAPS, TAPS), SIGMA, p=blur, keepdim=True),
        K.RandomSolarize(0.0, 0.0, p=solarize, keepdim=True),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD), keepdim=True),
    )


def albumentations(size: int, blur: float, solarize: float) -> Callable[[Any], torch.Tensor]:
    """One view of an array H×W×3 uint8 by Albumentations."""
    import albumentations as A
    import cv2
    from albumentations.pytorch import ToTensorV2

    made = A.Compose(
        [
            A.RandomResizedCrop((size, size), AREA, ASPECT, cv2.INTER_CUBIC, area_for_downscale="image"),
            A.HorizontalFlip(p=0.5),
            A.ColorJitter(**JITTER, p=0.8),
            A.ToGray(p=0.2),
            A.GaussianBlur(blur_limit=0, sigma_limit=SIGMA, p=blur),
            A.Solarize((0.5, 0.5), p=solarize),
            A.Normalize(MEAN, STD),
            ToTensorV2(),
        ]
    )
    return lambda image: made(image=image)["image"]


def read_tensor(file: Path) -> torch.Tensor:
    """Return an image 3×H×W uint8 as torchvision reads it."""
    from torchvision.io import ImageReadMode, decode_image

    return decode_image(str(file), ImageReadMode.RGB)


def read_float(file: Path) -> torch.Tensor:
    """Return an image 3×H×W float32 in [0, 1] as Kornia reads it."""
    from kornia.io import ImageLoadType, load_image

    return load_image(file, ImageLoadType.RGB32)


def read_opencv(file: Path) -> Any:
    """Return an image H×W×3 uint8 as Albumentations' documentation reads it."""
    import cv2

    return cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)


READERS: dict[Callable[..., Any], Callable[[Path], Any]] = {
    torchvision_v2: read_tensor,
    kornia: read_float,
    albumentations: read_opencv,
}


def views(count: int, size: int, folder: str, by: str, batches: int = 1) -> Sample:
    """Two views of `batches` times `count` images, one after another, stacked: what a worker of a DataLoader does.

    `by` is a function of this module that makes one view.
    """
    make = {function.__name__: function for function in READERS}[by]
    if by == "albumentations":
        import cv2

        cv2.setNumThreads(0)
    files, read = listed(folder), READERS[make]
    transforms = [make(size, **view) for view in VIEWS]
    positions = itertools.cycle(range(len(files)))

    def sample() -> float:
        for _ in range(batches):
            images = [read(files[next(positions)]) for _ in range(count)]
            for transform in transforms:
                torch.stack([transform(image) for image in images])
        return batches * count

    return sample


def dali(count: int, size: int, folder: str) -> Sample:
    """Two views of batches of `count` images by DALI's operators for the CPU, one thread."""
    from nvidia.dali import fn, math, pipeline_def, types

    files = [str(file) for file in listed(folder)]

    def between(middle: float, reach: float) -> Any:
        return fn.random.uniform(range=(middle - reach, middle + reach))

    @pipeline_def(
        batch_size=count,
        num_threads=1,
        device_id=None,
        enable_conditionals=True,
        prefetch_queue_depth=1,
        exec_async=False,
        exec_pipelined=False,
    )
    def pipeline() -> tuple[Any, ...]:
        encoded, _ = fn.readers.file(files=files, labels=[0] * len(files))
        decoded = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
        made = []
        for view in VIEWS:
            image = fn.random_resized_crop(
                decoded,
                size=size,
                random_area=AREA,
                random_aspect_ratio=ASPECT,
                interp_type=types.INTERP_CUBIC,
                antialias=True,
            )
            if fn.random.coin_flip(probability=0.8, dtype=types.BOOL):
                image = fn.color_twist(
                    image,
                    brightness=between(1, JITTER["brightness"]),
                    contrast=between(1, JITTER["contrast"]),
                    saturation=between(1, JITTER["saturation"]),
                    hue=between(0, 360 * JITTER["hue"]),
                )
            if fn.random.coin_flip(probability=0.2, dtype=types.BOOL):
                image = fn.saturation(image, saturation=0.0)
            if fn.random.coin_flip(probability=view["blur"], dtype=types.BOOL):
                image = fn.gaussian_blur(image, sigma=fn.random.uniform(range=SIGMA), window_size=TAPS)
            if fn.random.coin_flip(probability=view["solarize"], dtype=types.BOOL):
                image = math.min(image, types.Constant(255).uint8() - image)
            made.append(
                fn.crop_mirror_normalize(
                    image,
                    mirror=fn.random.coin_flip(),
                    mean=[255 * value for value in MEAN],
                    std=[255 * value for value in STD],
                    dtype=types.FLOAT,
                )
            )
        return tuple(made)

    built = pipeline()
    built.build()

    def sample() -> float:
        for batch in built.run():
            torch.from_numpy(batch.as_array())
        return count

    return sample
