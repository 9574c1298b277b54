"""What a task's stage and its record are called: by the pretraining, the task and their seeds."""

from __future__ import annotations


def own_seeds(seed: int, trunk_seed: int | None) -> tuple[int, int | None]:
    """Return (seed of the pretraining, seed of the task where that is another), of a stage and the seed of its trunk.

    `trunk_seed` is None where the stage has the same.
    """
    return (seed, None) if trunk_seed is None else (trunk_seed, seed)


def task_label(pretrain: str, task: str, seed: int, task_seed: int | None = None) -> str:
    """Return the label of a task's stage: `coco--imagenet_knn-s0`, with another seed of its own `…-s0-t3`."""
    return f"{pretrain}--{task}-s{seed}" + ("" if task_seed is None else f"-t{task_seed}")


def record_name(pretrain: str, task: str, seed: int, fingerprint: str, task_seed: int | None = None) -> str:
    """Return the file name of a record: `coco__imagenet_knn__s0__0123456789ab.json`, or `…__s0t3__…`."""
    return f"{pretrain}__{task}__{record_seeds(seed, task_seed)}__{fingerprint[:12]}.json"


def record_seeds(seed: int, task_seed: int | None = None) -> str:
    """Return the part of a record's name that tells its seeds: `s0`, or `s0t3` where the task has one of its own."""
    return f"s{seed}" + ("" if task_seed is None else f"t{task_seed}")
