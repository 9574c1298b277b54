"""solo-learn's files load one by one, whatever its packages would import."""

from __future__ import annotations

import importlib
import sys

import pytest
import sololearn


def test_packages_of_solo_learn_are_not_imported(tmp_path):
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
    assert not sololearn.installed(tmp_path)
    with pytest.raises(FileNotFoundError, match="run make peers"):
        sololearn.load("losses.byol", tmp_path)
