"""What the tests of networks share: one thread, and what two processes computed."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ranks(on_ranks):
    """The results of two_ranks.py as (world 1), (world 2, rank 0) and (world 2, rank 1)."""
    return on_ranks(Path(__file__).with_name("two_ranks.py"))
