"""Nothing that a stored result is known by may change unnoticed: names, fingerprints, protocols of all shipped configs.

`frozen_plan.json` holds them. Where a change is meant, write it anew and say in the commit message what it invalidates:

    python tests/test_frozen_plan.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.config.config_files import config_files
from bench.config.load import load_recipe, load_task
from bench.config.recipe import Profile
from bench.execute.inventory import inventory
from bench.execute.resolve import with_parents
from bench.plan import Planner, protocol_hash

FILE = Path(__file__).with_suffix(".json").with_name("frozen_plan.json")
PROFILES: tuple[Profile, ...] = ("full", "mini", "smoke")


def now(profiles: Sequence[Profile] = PROFILES) -> dict[str, Any]:
    """{"pretrain": {config: {profile: hash}}, "downstream": …, "protocol": …, "names": …} of what is shipped.

    The fingerprint of a task is that of its stage on the trunk of `random_init`; data are known by their names alone.
    """
    pretrain: dict[str, dict[str, str]] = {}
    downstream: dict[str, dict[str, str]] = {}
    protocol: dict[str, dict[str, str]] = {}
    for profile in profiles:
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
    complaints = [complaint for part in frozen for complaint in complaints_of(part, frozen[part], current[part])]
    assert not complaints, "\n".join(complaints)


def test_all_shipped_configs_are_plain_data_of_the_same_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """None has to be run to be read, the mmseg configs that they name included."""
    monkeypatch.setenv("BENCH_SAFE", "1")
    frozen, plain = json.loads(FILE.read_text(encoding="utf-8")), now(["full"])
    for part in ("pretrain", "downstream", "protocol"):
        assert {name: hashes["full"] for name, hashes in plain[part].items()} == {
            name: hashes["full"] for name, hashes in frozen[part].items()
        }


def complaints_of(part: str, frozen: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """What is wrong with a part of the frozen plan: results are lost, or it only lacks what was added."""
    if part == "names":  # {title: names}
        frozen, current = (
            {f"{title} {name}": True for title in each for name in each[title]} for each in (frozen, current)
        )
    changed = sorted(name for name in frozen if current.get(name) != frozen[name])
    added = sorted(current.keys() - frozen.keys())
    complaints = [f"{part}: {changed} changed; results stored under the old ones are lost"] if changed else []
    return complaints + ([f"{part}: {added} added; run python tests/test_frozen_plan.py"] if added else [])


def test_what_was_added_is_told_from_what_changed() -> None:
    assert complaints_of("pretrain", {"coco": 1, "moco": 1}, {"coco": 1, "moco": 1}) == []
    (added,) = complaints_of("pretrain", {"coco": 1}, {"coco": 1, "new": 1})
    assert "['new'] added; run python tests/test_frozen_plan.py" in added
    for current in ({"coco": 2}, {}):
        (changed,) = complaints_of("pretrain", {"coco": 1}, current)
        assert "['coco'] changed; results stored under the old ones are lost" in changed
    (added,) = complaints_of("names", {"pretrain": ["coco"]}, {"pretrain": ["coco", "new"]})
    assert "['pretrain new'] added" in added


if __name__ == "__main__":
    FILE.write_text(json.dumps(now(), indent=1) + "\n", encoding="utf-8")
