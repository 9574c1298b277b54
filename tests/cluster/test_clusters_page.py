"""The executor that docs/clusters.md shows works as it stands there, from a package of its own."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from bench import cli
from bench.import_path import command

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"

# In the place of PBS: jobs are kept as files, and all of them wait.
SCRIPTS = {
    "qsub": 'n=$(ls "$PLACE" | grep -c job); cat > "$PLACE/$n.job"; echo "$@" > "$PLACE/$n.words"; echo "$n.server"',
    "qstat": 'echo "Job Id: $2"; echo "    job_state = Q"',
    "qdel": 'echo "$@" >> "$PLACE/deleted"',
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's executor as an installed package, and commands of a PBS."""
    (code,) = re.findall(r"```python\n# (mine/pbs\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (entry,) = re.findall(r"entry-points\.\"(bench\.executors)\"\]\n +(pbs) = \"(mine\.pbs:PBS)\"", PAGE.read_text())
    site = tmp_path / "site"
    (site / "mine").mkdir(parents=True)
    (site / "mine" / "__init__.py").touch()
    (site / code[0]).write_text(code[1])
    installed = site / "mine-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[{entry[0]}]\n{entry[1]} = {entry[2]}\n")
    monkeypatch.syspath_prepend(site)
    for name in ("mine", "mine.pbs"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "bin").mkdir()
    for name, script in SCRIPTS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "pbs").mkdir()
    monkeypatch.setenv("PLACE", str(tmp_path / "pbs"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_executor_of_the_page(place: Path, rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = ["run", "--profile", "smoke", "--data-root", str(rendered), "--pretrain", "random_init"]
    grid += ["--downstream", "imagenet_knn", "--executor", "pbs"]
    assert cli.run(grid) == 0, capsys.readouterr().err
    told = [(place / "pbs" / f"{number}.words").read_text() for number in range(3)]
    assert ["depend=" in words for words in told] == [False, True, True]
    assert "-W depend=afterok:0.server" in told[1]
    assert "-W depend=afterok:1.server" in told[2]
    run = shlex.split((place / "pbs" / "0.job").read_text())
    (folder,) = (place / "runs" / "pretrain").iterdir()
    assert run == ["exec", *command("stage", str(folder))]

    capsys.readouterr()
    assert cli.run(grid) == 0
    assert capsys.readouterr().out.count("submitted before") == 3
    assert len(list((place / "pbs").glob("*.job"))) == 3

    assert cli.run(["status", "--json"]) == 0
    shown = {row["stage"]: (row["state"], row["job"]) for row in json.loads(capsys.readouterr().out)}
    assert shown["pretrain random_init-s0"] == ("waiting", "0.server")
    assert {state for state, _ in shown.values()} == {"waiting"}
    assert cli.run(["cancel", "--all"]) == 0
    assert sorted((place / "pbs" / "deleted").read_text().split()) == ["0.server", "1.server", "2.server"]
