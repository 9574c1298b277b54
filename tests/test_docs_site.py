"""The site: which pages its navigation has, which links are broken, and the pages that are derived for it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import typer

from bench.cli import app
from bench.execute.inventory import inventory

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return module("reference")


def test_every_page_is_in_the_navigation_once_and_one_that_nobody_named_comes_last() -> None:
    conf = module("conf")
    pages = {file.stem for file in DOCS.glob("*.md")}
    placed = [page for named in conf.navigation(pages).values() for page in named]
    assert sorted(placed) == sorted(pages - {"index"})
    assert conf.navigation({"tutorial", "new", "index"}) == {"Start": ["tutorial"], "More": ["new"]}
    named = [page for section in conf.NAVIGATION.values() for page in section]
    assert len(named) == len(set(named))


def test_what_the_site_adds_to_its_pages() -> None:
    conf = module("conf")
    start = ["# bench"]
    conf._added(None, "index", start)
    assert "```{toctree}" in start[0]
    assert ":caption: Start" in start[0]
    other = ["See [the log](../LOG.md#part), [numbers](../results/x.json) and [here](tutorial.md)."]
    conf._added(None, "canary", other)
    assert other == ["See [the log](path:../LOG.md), [numbers](../results/x.json) and [here](tutorial.md)."]


def test_the_reference_has_what_the_package_names(monkeypatch: pytest.MonkeyPatch) -> None:
    conf = module("conf")
    stable = SimpleNamespace(__all__=["run", "Result", "__version__", "number"], run=print, Result=Path, number=3)
    monkeypatch.setattr(conf.importlib, "import_module", lambda _name: stable)
    text = conf._reference()
    assert re.findall(r"^\.\. (\S+) (\S+)$", text, re.MULTILINE) == [
        ("autofunction::", "bench.run"),
        ("autoclass::", "bench.Result"),
    ]


def test_broken_links_and_what_is_loaded_from_a_network_are_named(tmp_path: Path) -> None:
    site = module("build_site")
    (tmp_path / "below").mkdir()
    (tmp_path / "a.html").write_text(
        '<a href="below/b.html#there">1</a> <a href="#here">2</a> <p id="here"></p> <a href="https://example.com">3</a>'
        '<img src="data:image/png;base64,x"> <link rel="canonical" href="https://example.com/a">'
    )
    (tmp_path / "below" / "b.html").write_text('<p id="there"></p> <a href="../a.html">1</a>')
    assert list(site.broken(tmp_path)) == []
    (tmp_path / "a.html").write_text(
        '<a href="below/b.html#gone">1</a> <a href="no.html">2</a> <script src="https://example.com/x.js"></script>'
        '<link rel="stylesheet" href="//example.com/x.css"> <img src="no.png"> <a href="#lost">3</a>'
    )
    assert [sentence.partition("html ")[2] for sentence in site.broken(tmp_path)] == [
        "links to below/b.html#gone, and b.html has no such anchor",
        "links to no.html, which does not exist",
        "links to #lost, and a.html has no such anchor",
        "loads https://example.com/x.js from a network",
        "loads //example.com/x.css from a network",
        "links to no.png, which does not exist",
    ]


def test_every_command_and_option_is_on_the_page(reference: ModuleType) -> None:
    page = reference.commands()
    sections = dict(re.findall(r"^## (bench [\w ]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    command = typer.main.get_command(app)
    assert "bench serve-stages" not in sections  # hidden
    for name, section in sections.items():
        found = command
        for word in name.split()[1:]:
            found = found.commands[word]
        for parameter in found.params:
            assert all(f"`{option}`" in section for option in parameter.opts if option.startswith("--")), name
    visible = {f"bench {name}" for name, each in command.commands.items() if not each.hidden and name != "data"}
    assert set(sections) == visible | {f"bench data {name}" for name in command.commands["data"].commands}
    assert "| `--stale` | `refuse\\|keep\\|redo` | `refuse` |" in sections["bench run"]
    assert "    bench compare A B [OPTIONS]" in sections["bench compare"]
    assert "Environment: `BENCH_WORK_DIR`." in sections["bench status"]


def test_every_config_and_protocol_is_on_its_page(reference: ModuleType) -> None:
    configs, protocols = reference.configs(), reference.protocols()
    frozen = json.loads((ROOT / "tests" / "frozen_plan.json").read_text())
    for folder in ("pretrain", "downstream"):
        for name in frozen["names"][folder]:
            assert f"[{name}](../{folder}_configs/{name}.py)" in configs
            assert re.search(rf"^- `{name}`: \S.* \*Source:\* \S", configs, re.MULTILINE), name
    assert "| full, mini, smoke |" in configs
    for name, hashes in frozen["protocol"].items():
        assert f"`{hashes['full']}`" in protocols, name
        (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", protocols, re.MULTILINE | re.DOTALL)
        assert "**Source:** " in section, name
        assert "**Source:** –" not in section, name
        assert "**Settings:** `" in section, name
    assert set(frozen["names"]["downstream"]) <= inventory()["downstream"].keys()


def test_a_page_that_differs_is_named(
    reference: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reference.main(["--check"]) == 0
    assert reference.main(["--folder", str(tmp_path)]) == 0
    assert reference.main(["--folder", str(tmp_path), "--check"]) == 0
    file = tmp_path / "protocols.md"
    file.write_text(file.read_text().replace("200 by cosine", "100 by cosine"))
    (tmp_path / "configs.md").unlink()
    assert reference.main(["--folder", str(tmp_path), "--check"]) == 1
    said = capsys.readouterr().err
    assert "protocols.md differs" in said
    assert "configs.md differs" in said
    assert "commands.md differs" not in said


def test_markup_in_texts_is_escaped(reference: ModuleType) -> None:
    assert reference.escaped("a*b c_d `e_*` <f> [g]") == r"a\*b c\_d `e_*` \<f\> \[g\]"


@pytest.mark.slow
def test_neither_pages_nor_navigation_need_torch() -> None:
    program = (
        f"import runpy, sys\nrunpy.run_path({str(DOCS / 'conf.py')!r})['_trees']()\n"
        f"pages = runpy.run_path({str(DOCS / 'reference.py')!r})['PAGES']\n"
        "assert all(page() for page in pages.values())\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True)


def test_the_glossary_explains_each_word_once() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\*\*(.+?)\*\*\n: \S", text, re.MULTILINE)
    assert len(words) >= 60
    assert len({word.lower() for word in words}) == len(words)
