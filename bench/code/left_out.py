"""What is no part of the code that decides a result, although it is reached from there; each with the reason.

Only names that say, keep, refuse or wait belong here. What they return must not reach a weight or a metric: where that
cannot be said of all of a module, its definitions are named one by one.
"""

from __future__ import annotations

# module, or module:definition -> why
LEFT_OUT: dict[str, str] = {
    # Tables that code is chosen from by name: the entries that a stage uses are among its roots.
    "bench.objectives:OBJECTIVES": "the table of objectives",
    "bench.data.sets:OURS": "the table of data sets",
    "bench.data.sets:DATA_SETS": "the table of data sets",
    "bench.config.tasks:KINDS": "the table of kinds of tasks",
    "bench.config.kinds:STEPS": "the table of kinds of stages",
    # Words, files, signals: nothing of them is computed with.
    "bench.errors": "exceptions and the wording of messages",
    "bench.progress": "what a person sees",
    "bench.files": "files written whole or not at all: a reader gets what was written, or an error",
    "bench.storage": "waiting for room on a disk, and whether there is some",
    "bench.train.room": "whether there is room for checkpoints",
    "bench.train.signals": "when a run stops; where it goes on is the checkpoint's matter, which counts",
    "bench.stages.segmentation.logs": "logs of mmengine that only people read",
    "bench.train.metrics_log": "a log that only people and the monitor read",
    "bench.timing_gaps": "words beside a time",
    "bench.machine": "how many processes read images; no result depends on it",
    # Checks of values that are hashed themselves, and where code lies: the classes found are roots.
    "bench.plugins": "where a class from outside is, and its import",
    "bench.config.objective_settings:check_values": "checks of the objective's settings, which are hashed as values",
    "bench.config.objective_settings:settings_of_class": "the types that these are checked by",
    "bench.config.objective_source": "where an objective's class is",
    "bench.config.kind_facts": "checks of what a kind of task says of itself",
    "bench.config.studies": "tables",
    # Observation only. Its tests hold the weights of a run that is watched to those of one that is not, bit for bit.
    "bench.train.monitor:Diagnostics": "it looks at a run and changes nothing",
    "bench.data.held_out:held_out": "the images that the monitor looks at",
}
PACKAGE = "bench"
# Classes that derive from these hold settings, which are hashed as values; their methods count where they are used.
SETTINGS = frozenset({"bench.config.recipe:Frozen", "bench.config.kinds:StageKind"})
