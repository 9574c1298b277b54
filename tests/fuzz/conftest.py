"""The fuzzing is made of scripts below fuzz/, not a package."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "fuzz"
if str(FOLDER) not in sys.path:
    sys.path.append(str(FOLDER))
