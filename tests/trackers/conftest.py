"""Tests here share modules of this folder, and the stand-in for a training."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "train"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
