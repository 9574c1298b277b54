"""bench: which pretraining transfers best, and can the number be believed?

From Python: `bench.run`, `bench.records`, `bench.load_trunk` (docs/python.md). They are imported when they are first
used, so that `import bench` takes no time.
"""

from typing import TYPE_CHECKING

from bench.errors import BadInput as BadInput
from bench.errors import StageFailed as StageFailed

if TYPE_CHECKING:
    from bench.api import GridResult, load_trunk, records, run

__version__ = "0.1.0"
__all__ = ["BadInput", "GridResult", "StageFailed", "__version__", "load_trunk", "records", "run"]


def __getattr__(name: str) -> object:
    """Import what is offered when somebody asks for it."""
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("bench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
