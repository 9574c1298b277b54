"""Where a stage's scores go besides its own files: TensorBoard, and the trackers that `--tracker` names.

A stage calls `track(step, values)`. TensorBoard's files are written by the stage itself; any other tracker has a
process of its own (`sending.py` starts it, `serving.py` is it), so that it cannot change, delay or end a computation.
"""

from bench.trackers.current import track, track_results, tracked
from bench.trackers.run import Run, Status, Tracker

__all__ = ["Run", "Status", "Tracker", "track", "track_results", "tracked"]
