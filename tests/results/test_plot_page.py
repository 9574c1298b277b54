"""docs/plots.md is what its script derives from the records."""

from __future__ import annotations

import runpy
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
