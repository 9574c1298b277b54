"""The committed lock of the code: an edit that may change results has a version, or an entry in same.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from forked import Forks

from bench.cli_code import lines
from bench.code import lock as locks
from bench.code import same as sames
from bench.code.modules import OURS
from bench.config.code_of import CodeOf, builds_objective
from bench.config.kinds import STEPS
from bench.config.objective_source import objectives
from bench.config.tasks import KINDS
from bench.data.sets import DATA_SETS
from bench.errors import BadInput
from bench.execute.code_lock import entries_for, moved_units, units_of
from bench.hashing import VIEW_VERSIONS


def test_no_code_moved_without_a_version_or_a_reason() -> None:
    lock, units = locks.read(), units_of(CodeOf())
    assert lock is not None, "there is no lock: bench code --lock"
    moved = moved_units(units, lock)
    assert not moved, "\n".join(lines(moved))
    assert set(units) == set(lock.units), "bench code --lock: what there is to lock is not what is locked"
    versions = {name: unit.version for name, unit in units.items()}
    assert versions == {name: unit.version for name, unit in lock.units.items()}, "bench code --lock, after the version"
    assert lock.views == VIEW_VERSIONS, "bench code --lock, after the version of a back end"


def test_no_entry_of_same_is_without_its_reason() -> None:
    for entry in sames.entries():
        assert entry.why
        assert entry.was != entry.now


def test_a_definition_has_one_digest_in_units_and_in_stages() -> None:
    """So that an entry of same.toml, which is found within units, holds in stages, too."""
    code = CodeOf()
    units = units_of(code)
    stages = [
        (code.stage(STEPS["pretrain"], name, dataset), ("pretrain", f"objective {name}", f"data {dataset}"))
        for name in objectives()
        for dataset in ("coco", "imagenet")
    ]
    for name, kind in KINDS.items():
        objective = "byol" if builds_objective(kind) else None
        stages += [
            (code.stage(kind, objective, dataset), (name, f"data {dataset}", "objective byol")) for dataset in DATA_SETS
        ]
    for stage, names in stages:
        for title, digest in stage.each.items():
            assert digest in {units[name].code.each.get(title) for name in names}, (title, names)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(OURS, tmp_path / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "bench"


def edit(tree: Path, file: str, old: str, new: str) -> None:
    text = (tree / file).read_text(encoding="utf-8")
    assert old in text
    (tree / file).write_text(text.replace(old, new), encoding="utf-8")


def lock_of(tree: Path) -> locks.Lock:
    return locks.lock_of(units_of(CodeOf(mapping={}, tree=tree)), VIEW_VERSIONS)


def test_an_edit_is_named_with_both_remedies(tree: Path) -> None:
    lock = lock_of(tree)
    edit(tree, "losses/variance_covariance.py", "F.relu(1.0 -", "F.relu(2.0 -")
    moved = moved_units(units_of(CodeOf(mapping={}, tree=tree)), lock)
    assert {each.unit for each in moved} == {"objective vicreg", "objective vicregl", "objective two_loss"}
    text = "\n".join(lines(moved))
    assert "bench/losses/variance_covariance.py (variance)" in text
    assert "definition of two_loss's class" in text
    assert 'bench code --same "why"' in text


def test_a_version_accounts_for_an_edit_of_its_unit_alone(tree: Path) -> None:
    lock = lock_of(tree)
    edit(tree, "losses/variance_covariance.py", "F.relu(1.0 -", "F.relu(2.0 -")
    units = units_of(CodeOf(mapping={}, tree=tree))
    units["objective vicreg"] = locks.Unit(2, units["objective vicreg"].code)
    open_ = {each.unit for each in moved_units(units, lock) if not each.accounted}
    assert open_ == {"objective vicregl", "objective two_loss"}
    units["pretrain"] = locks.Unit(2, units["pretrain"].code)  # another fingerprint for every pretraining
    assert not [each for each in moved_units(units, lock) if not each.accounted]


def test_the_version_of_a_back_end_accounts_for_its_pixels_alone(tree: Path) -> None:
    lock = lock_of(tree)
    edit(tree, "data/views/opencv.py", "NEGLIGIBLE = ", "NEGLIGIBLE = 2 * ")
    units = units_of(CodeOf(mapping={}, tree=tree))
    assert [each for each in moved_units(units, lock) if not each.accounted]
    raised = lock.model_copy(update={"views": {"fast": VIEW_VERSIONS["fast"] - 1}})
    assert not [each for each in moved_units(units, raised) if not each.accounted]
    edit(tree, "data/views/draw.py", "(width - w) // 2", "(width - w) // 3")
    units = units_of(CodeOf(mapping={}, tree=tree))
    assert [each for each in moved_units(units, raised) if not each.accounted]


def test_an_entry_makes_an_edit_count_as_what_it_was(tree: Path) -> None:
    lock = lock_of(tree)
    edit(tree, "losses/variance_covariance.py", "F.relu(1.0 -", "F.relu(-z.new_tensor(-1.0) -")
    edit(tree, "stages/knn.py", "dim=1), torch.cat([", "dim=-1), torch.cat([")
    code = CodeOf(mapping={}, tree=tree)
    entries = entries_for(code, lock, units_of(code), "the same number", [])
    assert {entry.definition for entry in entries} == {
        "bench.losses.variance_covariance:variance",
        "bench.stages.knn:nearest",
    }
    same = sames.mapping(entries)
    assert not moved_units(units_of(CodeOf(mapping=same, tree=tree)), lock)
    edit(tree, "stages/knn.py", "dim=-1), torch.cat([", "dim=0), torch.cat([")  # another edit is not meant
    moved = moved_units(units_of(CodeOf(mapping=same, tree=tree)), lock)
    assert {each.unit for each in moved} == {"knn"}


def test_a_helper_that_is_new_needs_no_entry_of_its_own(tree: Path) -> None:
    lock = lock_of(tree)
    edit(
        tree,
        "losses/variance_covariance.py",
        "    return F.mse_loss(x, y)",
        "    return _mean_square(x, y)\n\n\ndef _mean_square(x, y):\n    return F.mse_loss(x, y)",
    )
    code = CodeOf(mapping={}, tree=tree)
    entries = entries_for(code, lock, units_of(code), "a function of its own", [])
    assert [entry.definition for entry in entries] == ["bench.losses.variance_covariance:invariance"]


def test_what_is_written_is_read_again(tmp_path: Path, tree: Path) -> None:
    lock = lock_of(tree)
    locks.write(lock, tmp_path / "lock.json")
    assert locks.read(tmp_path / "lock.json") == lock
    entry = sames.Entry(definition="a:b", was="0" * 16, now="1" * 16, why='"quoted" \\ reason')
    sames.write([entry], tmp_path / "same.toml")
    assert sames.entries(tmp_path / "same.toml") == [entry]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"units": {}}', '{"units": {}, "views": {}, "definitions": {"a": 3}}']
)
def test_a_broken_lock_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"lock\.json is not as bench code --lock writes it .*; restore it"):
        locks.read(tmp_path / "lock.json")


@pytest.mark.parametrize(
    "text",
    ["[", "[[same]]\ndefinition = 'a'", "[[same]]\ndefinition='a'\nwas='0'\nnow='1'\nwhy='because'", "other = 1"],
)
def test_broken_entries_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "same.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"same\.toml is not as bench code --same writes it .*; restore it"):
        sames.entries(tmp_path / "same.toml")


def test_a_digest_that_counts_as_two_is_refused() -> None:
    entry = sames.Entry(definition="a:b", was="0" * 16, now="1" * 16, why="reason")
    with pytest.raises(BadInput, match="says twice what a:b"):
        sames.mapping([entry, entry.model_copy(update={"was": "2" * 16})])


@pytest.mark.slow
def test_the_command_lists_an_edit_and_accounts_for_it(tree: Path, forks: Forks) -> None:
    def bench(*words: str) -> subprocess.CompletedProcess[str]:
        environ = os.environ | {"PYTHONPATH": str(tree.parent), "XDG_CACHE_HOME": str(tree.parent / "cache")}
        return forks.run(["-m", "bench", "code", *words], tree.parent, environ)

    (tree / "code" / "lock.json").unlink()
    (tree / "code" / "same.toml").unlink(missing_ok=True)  # of edits since the lock that is taken away
    none = bench()
    assert (none.returncode, none.stderr) == (2, "bench: There is no lock of the code; bench code --lock writes it.\n")
    assert bench("--lock").returncode == 0
    assert bench().stdout == "nothing has moved since the lock\n"

    edit(tree, "losses/variance_covariance.py", "F.relu(1.0 -", "F.relu(2.0 - 1.0 -")
    listed = bench().stdout
    assert "bench/losses/variance_covariance.py (variance)" in listed
    assert "objective vicreg" in listed
    refused = bench("--lock")
    assert refused.returncode == 2
    assert "moved and has no new version; raise the definition of" in refused.stderr
    for words in (("--same", "  "), ("--same", "the same", "--lock")):
        refused = bench(*words)
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1

    said = bench("--same", "the same number")
    assert said.returncode == 0, said.stderr
    assert "bench.losses.variance_covariance:variance: " in said.stdout
    assert bench().stdout == "nothing has moved since the lock\n"
    (entry,) = sames.entries(tree / "code" / "same.toml")
    assert (entry.definition, entry.why) == ("bench.losses.variance_covariance:variance", "the same number")

    edit(tree, "objectives/vicregl.py", "definition: ClassVar[int] = 2", "definition: ClassVar[int] = 3")
    assert "a version was raised: bench code --lock" in bench().stdout
    assert bench("--lock").returncode == 0
    assert bench().stdout == "nothing has moved since the lock\n"
