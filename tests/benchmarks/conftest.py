"""The measuring tools are scripts below benchmarks/, not a package; what these tests share lies beside them."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE.parents[1] / "benchmarks", HERE):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
