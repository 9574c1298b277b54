"""Nothing that a stored result is known by may change unnoticed: names, fingerprints, protocols of all shipped configs.

`frozen_plan.json` holds them. Where a change is meant, write it anew and say in the commit message what it invalidates:

    python tests/test_frozen_plan.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.config.config_files import config_files
from bench.config.load import load_recipe, load_task
from bench.execute.inventory import inventory
from bench.execute.resolve import with_parents
from bench.plan import Planner, protocol_hash

FILE = Path(__file__).with_suffix(".json").with_name("frozen_plan.json")
PROFILES = ("full", "mini", "smoke")


def now() -> dict[str, Any]:
    """{"pretrain": {config: {profile: hash}}, "downstream": …, "protocol": …, "names": …} of what is shipped.

    The fingerprint of a task is that of its stage on the trunk of `random_init`; data are known by their names alone.
    """
    pretrain: dict[str, dict[str, str]] = {}
    downstream: dict[str, dict[str, str]] = {}
    protocol: dict[str, dict[str, str]] = {}
    for profile in PROFILES:
        recipes = with_parents(
            [load_recipe(name, profile) for name in config_files("pretrain_configs")],
            lambda name, profile=profile: load_recipe(name, profile),
        )
        planner = Planner(lambda name: f"data of {name}", recipes)
        control = planner.convert(load_recipe("random_init", profile), 0)
        for name in config_files("pretrain_configs"):
            stage = planner.convert(load_recipe(name, profile), 0)
            pretrain.setdefault(name, {})[profile] = stage.fingerprint[:16]
        for name in config_files("downstream_configs"):
            task = load_task(name, profile)
            recipe = control.recipe if task.kind != "segmentation" or control.recipe.stem == "imagenet" else None
            assert recipe is not None
            downstream.setdefault(name, {})[profile] = planner.task(task, recipe, control, 0).fingerprint[:16]
            protocol.setdefault(name, {})[profile] = protocol_hash(task)
    names = {title: list(entries) for title, entries in inventory().items()}
    return {"pretrain": pretrain, "downstream": downstream, "protocol": protocol, "names": names}


def test_names_fingerprints_and_protocols_are_as_they_were() -> None:
    frozen = json.loads(FILE.read_text(encoding="utf-8"))
    current = json.loads(json.dumps(now()))
    assert current.keys() == frozen.keys()
    for part in frozen:
        differing = [
            name for name in {*current[part], *frozen[part]} if _of(current[part], name) != _of(frozen[part], name)
        ]
        assert not differing, f"{part}: {sorted(differing)} changed; results stored under the old ones are lost"


def _of(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, dict) else name in part


if __name__ == "__main__":
    FILE.write_text(json.dumps(now(), indent=1) + "\n", encoding="utf-8")
