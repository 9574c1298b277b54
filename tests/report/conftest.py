"""A browser for the tests that need one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest


def _lacking() -> str:
    """What there is no browser for; "" where there is one."""
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        return "neither chromium nor google-chrome is installed"
    missing = [name for name in ("playwright", "axe_playwright_python") if find_spec(name) is None]
    return f"no Python package {missing[0]}" if missing else ""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium. Where there is none, the test is skipped, unless BENCH_NEEDS_BROWSER says it must run."""
    if lack := _lacking():
        if os.environ.get("BENCH_NEEDS_BROWSER"):
            pytest.fail(f"BENCH_NEEDS_BROWSER is set, and there is no browser here: {lack}")
        pytest.skip(f"no browser here: {lack}")
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()
