"""solo-learn's files load one by one, whatever its packages would import; its step where the files are at hand."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import sololearn
from interleave import PEERS, ROOT


def test_packages_never_run(tmp_path):
    solo = tmp_path / "solo"
    for part in ("losses", "methods"):
        (solo / part).mkdir(parents=True)
        (solo / part / "__init__.py").write_text("raise ImportError('needs torch 1.9.1')")
    (solo / "__init__.py").write_text("raise ImportError('needs torch 1.9.1')")
    (solo / "methods" / "byol.py").write_text("from solo.losses.byol import loss\nvalue = loss()")
    (solo / "losses" / "byol.py").write_text("def loss():\n    return 7")
    before = set(sys.modules)
    try:
        assert sololearn.load("methods.byol", solo).value == 7
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]
    importlib.invalidate_caches()


def test_missing_files_name_the_remedy(tmp_path):
    assert not sololearn.at_hand(tmp_path)
    with pytest.raises(FileNotFoundError, match="run make peers"):
        sololearn.load("losses.byol", tmp_path)


@pytest.mark.skipif(not sololearn.at_hand(), reason="solo-learn's files are there after make peers")
def test_its_step_runs():
    words = "import sololearn; print(sololearn.step(2, 32, arch='resnet18', hidden_dim=8, projection_dim=4)())"
    environ = {"PYTHONPATH": str(ROOT / "benchmarks"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(PEERS), "-c", words], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
