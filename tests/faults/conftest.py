"""What injects faults are scripts below faults/, not a package."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "faults"
if str(FOLDER) not in sys.path:
    sys.path.append(str(FOLDER))
