"""docs/scale.md is what its script gives, and says when it isn't; no number on it stands without its assumption."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from bench.config.load import load_recipe
from bench.execute.simulate import DEFAULTS, IMAGES, size_of

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_scale", ROOT / "docs" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_simulation_gives(
    scale: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scale.main(["--check"]) == 0
    page = scale.PAGE.read_text(encoding="utf-8")
    # 14,197,122 images in batches of 4,096 on 8 GPUs: 3,466 steps of 512 images at the assumed rate, 100 times.
    assert f"| 8 | 1 | 512 | {3466 * 100 * 512 / scale.rate().value / 3600:.1f} to" in page
    for name in ("rate", *DEFAULTS, "core_rate", "gradients", "checkpoint"):
        assert f"| {name} |" in page
    file = tmp_path / "scale.md"
    file.write_text(page.replace("assumed", "known"), encoding="utf-8")
    assert scale.main(["--check", "--page", str(file)]) == 1
    assert "Run make docs" in capsys.readouterr().err


@pytest.mark.slow
def test_the_sizes_of_the_page_are_those_of_the_recipe(scale: ModuleType) -> None:
    size = size_of(load_recipe(scale.RECIPE), IMAGES["imagenet22k"])
    assert {"parameters": size.trained, "state_values": size.kept} == scale.PARAMETERS


@pytest.mark.slow
def test_what_shards_cost_is_measured_by_the_script(scale: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_SHARD_INDEX", "put back after the test")  # the script sets it
    monkeypatch.setattr(scale, "fastest", lambda work, times: (work(), 0.5)[1])
    found = scale.measure(samples=300, images=10, size=1000)
    assert found.keys() == json.loads(scale.MEASURED.read_text(encoding="utf-8")).keys()
    assert (found["samples"], found["index_samples_per_second"], found["from_files_per_second"]) == (300, 600, 20)
    assert found["peak_bytes_per_image"] >= found["memory_bytes_per_image"] > 8
