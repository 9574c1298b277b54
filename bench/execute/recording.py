"""The record of a task's result: what its stage was told, what it and its parents left, and the machine it ran on."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.config.assignments import parse_assignments
from bench.config.config_files import find
from bench.config.load import load_recipe, load_task
from bench.config.recipe import Recipe
from bench.config.remote_config import url_of
from bench.config.tasks import KINDS, Task
from bench.data.sets import short_name
from bench.errors import BadInput, StageFailed, one_line
from bench.execute.stage_file import STAGE, Done, StageFile, finished, read_stage
from bench.files import read_json
from bench.made import gpu_names
from bench.plan import recorded_settings
from bench.record import Fingerprints, OutcomesFile, Record, environment
from bench.run_names import own_seeds, record_name

RENDERED = "rendered"  # the folder of scenes that a smoke run renders, in the work folder
# The numbers of a pretraining that are no term of its loss.
NO_LOSS = frozenset({"steps", "epochs", "images_skipped", "norm_images"})


def history_of(stage: StageFile, work_dir: Path) -> dict[str, Done]:
    """Return what the conversion and the pretraining of a task's trunk left, by kind, the first one first.

    People delete training states once the trunk is there: then the pretraining is left out. Raises BadInput for a
    conversion that is not finished.
    """
    trunk = work_dir / stage.inputs["convert"]
    pretrain = work_dir / read_stage(trunk).inputs["pretrain"]
    trained = {"pretrain": finished(pretrain)} if (pretrain / STAGE).is_file() else {}
    return trained | {"convert": finished(trunk)}


def earlier_of(stage: StageFile, work_dir: Path) -> dict[str, Done]:
    """Return {"pretrain coco-s0": what it left} of the pretrainings that the one of a task's trunk continues.

    Those whose folders have been deleted since are left out.
    """
    earlier: dict[str, Done] = {}
    with contextlib.suppress(BadInput):  # of a folder that is no longer there, or not finished
        trunk = read_stage(work_dir / stage.inputs["convert"])
        each = read_stage(work_dir / trunk.inputs["pretrain"])
        while "init" in each.inputs:
            folder = work_dir / each.inputs["init"]
            each = read_stage(folder)
            earlier[each.title] = finished(folder)
    return earlier


def record_of(
    stage: StageFile,
    done: Done,
    history: Mapping[str, Done],
    earlier: Mapping[str, Done] | None = None,
    outcomes: OutcomesFile | None = None,
) -> Record:
    """Return the record of a task's result, with all that is needed to believe it.

    Args:
        stage: of a task.
        done: what it left.
        history: what the stages before it left, by kind (see `history_of`).
        earlier: what the pretrainings left that its own continues, by their titles (see `earlier_of`).
        outcomes: what the stage's folder has of each image.

    Raises StageFailed where something in these is not what a record can hold, as in damaged files of older versions.
    """
    try:
        return _record_of(stage, done, history, earlier or {}, outcomes)
    except (ValueError, TypeError) as error:  # pydantic's, too
        raise StageFailed(
            f"What {stage.title} returned, and its parents left, gives no record ({one_line(error, kind=True)}); "
            "correct its task if that is yours, or else remove their folders, then bench run."
        ) from error


def _record_of(
    stage: StageFile,
    done: Done,
    history: Mapping[str, Done],
    earlier: Mapping[str, Done],
    outcomes: OutcomesFile | None,
) -> Record:
    assert stage.task is not None
    assert stage.protocol is not None
    task, metrics = stage.task, dict(done.metrics)
    seed, task_seed = own_seeds(stage.seed, stage.trunk_seed)
    stages = {**history, stage.kind: done}
    chain = {**stages, **earlier}
    trained = history["pretrain"].metrics if "pretrain" in history else {}
    upstream, downstream = recorded_settings(stage.recipe), recorded_settings(task)
    # Paths would be of this machine; the fingerprints know the contents.
    for key in task.file_contents():
        downstream[key] = Path(downstream[key]).name
    for key in ("recipe", "checkpoint") if upstream["init"] is not None else ():
        if upstream["init"][key] is not None:
            upstream["init"][key] = Path(upstream["init"][key]).name
    records = Path(stage.results_dir) / "records"
    return Record(
        created=created_after(records, stage.recipe.name, task.name, seed, task_seed),
        pretrain=stage.recipe.name,
        pretrain_set=short_name(stage.recipe.dataset),
        arch=stage.recipe.arch,
        task=task.name,
        kind=stage.kind,
        columns={} if task.kind in KINDS else dict(task.metrics),
        dataset=short_name(task.dataset),
        profile=task.profile,
        seed=seed,
        task_seed=task_seed,
        trunk=history["convert"].metrics.get("trunk_hash"),
        images_skipped=int(metrics.pop("images_skipped", 0)) + int(trained.get("images_skipped", 0)),
        metrics=metrics,
        pretrain_metrics={
            name: float(value)
            for name, value in trained.items()
            if isinstance(value, int | float) and name not in NO_LOSS
        },
        fingerprints=Fingerprints(stage=stage.fingerprint, recipe=stage.recipe_fingerprint, protocol=stage.protocol),
        data={short_name(name): value for name, value in stage.lineage_data.items()},
        definitions=stage.definitions,
        load_proof=done.load_proof,
        curve=tuple(done.curve) if len(done.curve) > 1 else (),
        settings={"pretrain": upstream, "downstream": downstream},
        wall_seconds={kind: each.wall_seconds for kind, each in stages.items()},
        untimed={kind: each.untimed for kind, each in stages.items() if each.untimed},
        peak_memory_mib={
            kind if name == "process" else f"{kind} {name}": value
            for kind, each in stages.items()
            for name, value in each.peak_memory_mib.items()
        },
        data_wait_share={
            kind: each.data_wait_share for kind, each in stages.items() if each.data_wait_share is not None
        },
        precision={name: each.precision for name, each in chain.items() if each.precision is not None},
        chain=done.chain,
        code={name: each.code for name, each in chain.items() if each.code},
        outcomes=outcomes,
        weights=stage.inputs["convert"] + "/trunk.safetensors",
        command=command_of(stage.recipe, task, seed, task_seed, rendered=_rendered(stage)),
        **environment(gpu_names()),
    )


def created_after(records: Path, pretrain: str, task: str, seed: int, task_seed: int | None) -> str:
    """Return what a new record says of when it was made, in UTC: now, or a second after the newest of its cell.

    Tables take the newest record of a cell, which an earlier one would be for ever where the clock was set back.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    start = record_name(pretrain, task, seed, "", task_seed).removesuffix(".json")
    for file in records.glob(f"{glob.escape(start)}*.json"):
        with contextlib.suppress(TypeError, ValueError):  # of what is no record, or says no zone
            now = max(now, datetime.fromisoformat(str(read_json(file).get("created"))) + timedelta(seconds=1))
    return now.isoformat(timespec="seconds")


def _rendered(stage: StageFile) -> bool:
    """Whether a stage of profile smoke reads scenes that `--smoke` renders into the work folder."""
    roots = [Path(root) for root in stage.data_roots.values()]
    return stage.recipe.profile == "smoke" and bool(roots) and all(root.parent.name == RENDERED for root in roots)


def command_of(recipe: Recipe, task: Task, seed: int, task_seed: int | None = None, *, rendered: bool = False) -> str:
    """Return the command that gives a result anew: its configs, seeds, and what was set otherwise than in the configs.

    Configs are given by name, and those that are not found by name by their path from the working directory. `rendered`
    says that the data were scenes which `--smoke` renders.
    """
    sources = Path(recipe.source), Path(task.source)
    pretrain, downstream = _word_of("pretrain_configs", sources[0]), _word_of("downstream_configs", sources[1])
    urls = [url_of(source) for source in sources]
    told = [url or word for url, word in zip(urls, (pretrain, downstream), strict=True)]
    words = ["bench", "run", "--pretrain", told[0], "--downstream", told[1], "--seeds", str(seed)]
    words += ["--safe"] if any(urls) else []
    words += [] if task_seed is None else ["--task-seeds", str(task_seed)]
    words += ["--smoke"] if rendered else ["--profile", task.profile]
    changed: list[str] = []
    with contextlib.suppress(BadInput):  # a config that is no longer where it was: the settings are in the record
        shipped = recorded_settings(load_recipe(pretrain, recipe.profile))
        changed += changed_words("pretrain", recorded_settings(recipe), shipped)
        shipped = recorded_settings(load_task(downstream, task.profile))
        changed += changed_words("downstream", recorded_settings(task), shipped)
    return shlex.join([*words, *(["--set", *changed] if changed else [])])


def _word_of(folder: str, file: Path) -> str:
    """What names a config file on the command line."""
    if not file.is_file():
        return file.stem
    with contextlib.suppress(BadInput):
        if find(folder, file.stem).samefile(file):
            return file.stem
    return os.path.relpath(file)


def changed_words(key: str, value: Any, base: Any) -> list[str]:
    """Return `key=value` of each value, however deep, that `base` has not or has otherwise."""
    if isinstance(value, dict) and isinstance(base, dict):
        return [word for name, below in value.items() for word in changed_words(f"{key}.{name}", below, base.get(name))]
    if json.dumps(value) == json.dumps(base):  # a tuple is a list there
        return []
    plain = f"{key}={value}"  # a word needs no quotes, unless it could be read as something else
    return [plain if parse_assignments([plain])[key] == value else f"{key}={value!r}"]
