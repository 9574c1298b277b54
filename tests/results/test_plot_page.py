"""docs/plots.md is what its script derives from the records."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "plots.py"


def test_the_page_is_derived(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["plots.py", "--check"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = runpy.run_path(str(SCRIPT))
    found["main"]()
    main = found["main"]
    (tmp_path / "plots.md").write_text(SCRIPT.with_suffix(".md").read_text() + "edited\n")
    monkeypatch.setitem(main.__globals__, "PAGE", tmp_path / "plots.md")
    monkeypatch.setitem(main.__globals__, "ROOT", tmp_path)
    monkeypatch.setitem(main.__globals__, "_page", lambda _: "")
    monkeypatch.setitem(main.__globals__, "_content", lambda _: None)
    with pytest.raises(SystemExit, match=r"plots\.md differs from what the records give"):
        main()


def test_numbers_are_found_without_what_draws_or_trains() -> None:
    slow = "matplotlib", "torch", "pandas", "scipy"
    code = f"import sys, bench.results.plots as p; print([m for m in {slow} if m in sys.modules], len(p.PLOTS))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["[]", "12"]
