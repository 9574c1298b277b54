"""The contenders of small images do their work on tiny sizes; the peers' run in their own environment."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

# By its file: what makes small images for other tests has the same name.
FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "small_images.py"
spec = importlib.util.spec_from_file_location("benchmark_of_small_images", FILE)
assert spec is not None
assert spec.loader is not None
small_images = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small_images)


def test_images_are_the_same_in_every_process():
    assert small_images.pixels(3).shape == (3, 32, 32, 3)
    assert np.array_equal(small_images.pixels(3), small_images.pixels(3))


@pytest.mark.parametrize("backend", ["reference", "resident"])
def test_views(backend):
    made = small_images.resident_views(4) if backend == "resident" else small_images.worker_views(backend, 4)
    assert made() == made() == 4


def test_a_step_from_resident_pixels():
    assert small_images.our_loop(2, 2, 4)() == 4
