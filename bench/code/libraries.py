"""The versions of the libraries that compute, by the packages that code imports; nothing is imported for it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from functools import cache

# Package -> the distributions that may hold it, the first that is there.
DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "PIL": ("pillow",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "mmengine": ("onedl-mmengine", "mmengine"),
    "mmcv": ("onedl-mmcv", "mmcv", "mmcv-lite"),
    "mmseg": ("onedl-mmsegmentation", "mmsegmentation"),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
}
# They read, write, check or show, and no number comes from them.
SILENT = frozenset(
    {
        *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "safetensors", "rich", "typer", "click"),
        *("filelock", "platformdirs", "tabulate", "tensorboard", "tqdm", "matplotlib", "pandas", "setuptools"),
    }
)


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Return {package: version of its distribution}; "unknown" where none is installed under a known name."""
    return {name: version_of(name) for name in sorted(packages) if name not in SILENT}


@cache
def version_of(package: str) -> str:
    """Return the version of the distribution that holds a package, "unknown" where there is none."""
    for name in DISTRIBUTIONS.get(package, (package,)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if package not in DISTRIBUTIONS:
        for name in importlib.metadata.packages_distributions().get(package, ()):
            return importlib.metadata.version(name)
    return "unknown"
