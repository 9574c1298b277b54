"""What is published: wheel and sdist, used outside a checkout; citation, changelog and forms."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from email import message_from_string
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import bench

ROOT = Path(__file__).parents[1]
SHIPPED = {  # where the wheel has what lies outside of the package
    "pretrain_configs": "bench/shipped/pretrain_configs",
    "downstream_configs": "bench/shipped/downstream_configs",
    "results/reference": "bench/shipped/reference",
}


class Built(NamedTuple):
    """A wheel, an sdist unpacked, and the wheel unpacked."""

    wheel: Path
    source: Path
    site: Path


def build_wheel(root: Path, to: Path) -> Path:
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(root)).build(directory=str(to), versions=["standard"])
    return Path(wheel)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    from hatchling.builders.sdist import SdistBuilder

    to = tmp_path_factory.mktemp("dist")
    wheel = build_wheel(ROOT, to)
    shutil.unpack_archive(wheel, to / "site", "zip")
    (sdist,) = SdistBuilder(str(ROOT)).build(directory=str(to), versions=["standard"])
    shutil.unpack_archive(sdist, to / "unpacked", filter="data")
    (source,) = (to / "unpacked").iterdir()
    return Built(wheel, source, to / "site")


def files(folder: Path) -> set[str]:
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {file.as_posix() for file in found if "__pycache__" not in file.parts and file.suffix != ".log"}


def test_the_wheel_has_the_package_whole_the_configs_and_the_published_rows_and_no_more(built: Built) -> None:
    inside = files(built.site)
    wanted = {f"bench/{name}" for name in files(ROOT / "bench")}
    for here, there in SHIPPED.items():
        wanted |= {f"{there}/{name}" for name in files(ROOT / here)}
    about = {name for name in inside if ".dist-info/" in name}
    assert inside - about == wanted
    assert {"bench/py.typed", "bench/shipped/reference/deck.toml", "bench/code/lock.json"} <= inside
    (place,) = {name.partition("/")[0] for name in about}
    assert (built.site / place / "entry_points.txt").read_text() == "[console_scripts]\nbench = bench.cli:main\n"
    metadata = message_from_string((built.site / place / "METADATA").read_text(encoding="utf-8"))
    assert metadata["Version"] == bench.__version__ == project()["version"]


def test_the_sdist_has_all_that_is_tracked_and_gives_the_same_wheel(built: Built, tmp_path: Path) -> None:
    again = build_wheel(built.source, tmp_path)
    contents = [
        {entry.filename: entry.CRC for entry in zipfile.ZipFile(file).infolist()} for file in (built.wheel, again)
    ]
    assert contents[0] == contents[1]
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout to compare with")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    assert {name for name in tracked if not name.startswith(".ci/")} <= files(built.source)


def test_commands_work_outside_a_checkout(built: Built, tmp_path: Path) -> None:
    """In a fresh interpreter that knows neither the checkout nor the environment's PYTHONPATH."""
    program = f"""
import os, sys
sys.path.insert(0, {str(built.site)!r})
for name in [name for name in os.environ if name.startswith("BENCH_")]:
    del os.environ[name]
import bench
print(bench.__file__, flush=True)
from bench.cli import run
for words in (
    ["list", "--json"],
    ["show", "coco_two_loss", "--profile", "mini"],
    ["plan", "--smoke", "--pretrain", "random_init", "--downstream", "imagenet_knn"],
    ["table", "--results-dir", "nowhere"],
):
    print("==", run(words), flush=True)
"""
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    where, *rest = done.stdout.split("\n", 1)
    assert where.startswith(str(built.site))
    listed, shown, planned, table, _ = rest[0].split("== 0\n")
    names = json.loads(listed)
    assert {"coco", "random_init"} <= set(names["pretrain"])
    assert "cityscapes_pspnet" in names["downstream"]
    assert json.loads(shown[shown.index("\n{") :])["profile"] == "mini"
    assert "3 stages: 3 to do" in planned
    assert "There are no records" in table


CLIENT = """
import bench

grid = bench.run("coco", seeds=range(2), set={"epochs": 1}, profile="mini", data_root={"coco": "here"})
reveal_type(grid)
reveal_type(grid.records)
reveal_type(bench.records("results"))
network = bench.load_trunk(grid.trunks["coco-s0"])
reveal_type(network.trunk_hash)
try:
    pass
except bench.BadInput as error:
    reveal_type(error)
"""
WRONG = 'import bench\nbench.run("coco", profile="huge")\nbench.run(seeds=0)\nbench.records(3)\nbench.nothing()\n'
# What the client does not see is not followed: checking torch and the whole package takes a minute.
FOLLOWED = """
[mypy]
strict = true
[mypy-torch.*,torchvision.*,numpy.*,pydantic.*]
follow_imports = skip
ignore_missing_imports = true
[mypy-bench.config.*,bench.data.*,bench.execute.*,bench.record.*,bench.results.*,bench.objectives.*,bench.convert.proof]
follow_imports = skip
"""


@pytest.mark.slow
def test_a_client_is_type_checked_against_the_installed_package(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mypy import api

    monkeypatch.chdir(tmp_path)  # mypy looks into the working directory first, which may be the checkout
    home = tmp_path / "venv"
    venv.EnvBuilder(symlinks=True, with_pip=False).create(home)
    (place,) = home.glob("lib/python*/site-packages")
    shutil.copytree(built.site, place, dirs_exist_ok=True)
    (stubs,) = (path for path in map(Path, sys.path) if (path / "pandas-stubs").is_dir())
    shutil.copytree(stubs / "pandas-stubs", place / "pandas-stubs")
    (place / "pandas").symlink_to(stubs / "pandas")
    (tmp_path / "mypy.ini").write_text(FOLLOWED)
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--python-executable", str(home / "bin" / "python")]
    options += ["--cache-dir", str(tmp_path / "cache"), "--no-error-summary", "--hide-error-codes"]
    outputs = []
    for name, text in (("client.py", CLIENT), ("wrong.py", WRONG)):
        (tmp_path / name).write_text(text)
        outputs.append(api.run([*options, str(tmp_path / name)])[0])
    right, wrong = outputs
    assert "error:" not in right
    revealed = [word.rpartition(".")[2] for word in re.findall(r'Revealed type is "([^"]+)"', right)]
    assert revealed == ["GridResult", "DataFrame", "DataFrame", "str", "BadInput"]
    assert sorted(int(line) for line in re.findall(r"wrong\.py:(\d+): error", wrong)) == [2, 3, 4, 5]


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def test_the_citation_is_of_this_version_and_has_what_its_form_asks_for() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    allowed = {"cff-version", "message", "type", "title", "abstract", "version", "license", "authors", "keywords"}
    assert cited.keys() <= allowed
    assert str(cited["version"]) == project()["version"] == bench.__version__
    assert cited["license"] == project()["license"]
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in project()["authors"]]
    assert all(author.keys() <= {"name", "website", "email"} for author in cited["authors"])  # an entity, no person


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        titles = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert set(titles) <= kinds
        assert len(titles) == len(set(titles))


FORMS = sorted(file for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if file.name != "config.yml")
KEYS = {  # of GitHub's form elements: those that must be there, and those that may
    "markdown": ({"value"}, set()),
    "textarea": ({"label"}, {"description", "placeholder", "value", "render"}),
    "input": ({"label"}, {"description", "placeholder", "value"}),
    "dropdown": ({"label", "options"}, {"description", "multiple", "default"}),
    "checkboxes": ({"label", "options"}, {"description"}),
}


@pytest.mark.parametrize("file", FORMS, ids=lambda file: file.stem)
def test_issue_forms_are_what_github_takes(file: Path) -> None:
    form = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys() <= {"name", "description", "body", "title", "labels"}
    assert all(isinstance(form[key], str) for key in ("name", "description"))
    assert any(element["type"] != "markdown" for element in form["body"])
    ids = [element["id"] for element in form["body"] if element["type"] != "markdown"]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[\w-]+", name) for name in ids)
    labels = [element["attributes"].get("label") for element in form["body"] if element["type"] != "markdown"]
    assert len(labels) == len(set(labels))
    for element in form["body"]:
        assert element.keys() <= {"type", "id", "attributes", "validations"}
        needed, more = KEYS[element["type"]]
        assert needed <= element["attributes"].keys() <= needed | more
        assert element.get("validations", {}).keys() <= {"required"}
        if element["type"] == "dropdown":
            options = element["attributes"]["options"]
            assert len(options) == len(set(options))
            assert all(isinstance(option, str) and option.lower() != "none" for option in options)
        if element["type"] == "checkboxes":
            assert all(option.keys() <= {"label", "required"} for option in element["attributes"]["options"])


def test_there_are_forms_for_a_fault_a_number_and_an_objective() -> None:
    assert [file.stem for file in FORMS] == ["bug", "objective", "wrong_number"]
    settings = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml").read_text(encoding="utf-8"))
    assert settings.keys() <= {"blank_issues_enabled", "contact_links"}
