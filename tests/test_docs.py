"""The page of objectives is what objectives, configs and tests give, and says when it isn't."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bench.config.objective_settings import settings_of
from bench.config.objective_source import objectives
from bench.errors import BadInput

ROOT = Path(__file__).parents[1]


@pytest.fixture
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_objectives", ROOT / "docs" / "objectives.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_objective_is_on_the_page_with_its_settings_and_claim(docs: ModuleType) -> None:
    page = docs.page()
    for name in objectives():
        (section,) = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
        assert "**Claim:**" in section, name
        assert "**Recipe**" in section, name
        assert "**Departs from the paper:**" in section, name
        assert "Departs from it" not in section
        assert all(f"| `{key}` |" in section for key in settings_of(name)), name
    assert "| `tau0` | `float`, within 0 and 1 | `0.99` |" in page
    assert "| `gate_temperature` | `float \\| None`, above 0 | `None` |" in page
    assert "| `sampling` | `str`, of `grid`, `random` | `'grid'` |" in page
    assert "- Each view has its own batch statistics" in page
    assert page.count("**Expected:**") >= len(objectives())


@pytest.mark.slow
def test_a_page_that_differs_is_named_with_its_line(
    docs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "objectives.md"
    assert docs.main(["--check", "--page", str(file)]) == 1
    assert "is missing" in capsys.readouterr().err
    assert docs.main(["--page", str(file)]) == 0
    assert docs.main(["--check", "--page", str(file)]) == 0
    file.write_text(file.read_text().replace("74.3 %", "75.3 %"))
    assert docs.main(["--check", "--page", str(file)]) == 1
    assert re.search(r"differs from what the objectives give \(line \d+\)\nRun make docs", capsys.readouterr().err)


def test_the_page_of_recipes_is_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("docs_recipes", ROOT / "docs" / "recipes.py")
    assert spec is not None
    assert spec.loader is not None
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    assert docs.main(["--check"]) == 0
    file = tmp_path / "recipes.md"
    assert docs.main(["--page", str(file)]) == 0
    row = "| network | resnet50, norms over 32 images | main\\_moco.py:174, README.md:42 (8 GPUs) |"
    assert row in file.read_text()
    file.write_text(file.read_text().replace("over 32 images", "over 64 images"))
    assert docs.main(["--check", "--page", str(file)]) == 1
    assert "differs from what tests/recipes gives" in capsys.readouterr().err


@pytest.mark.parametrize("group", [(), ("byol", "patch_byol", "byol", "patch_byol")])
def test_an_objective_in_no_group_or_in_two_fails(
    docs: ModuleType, group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [name for name in docs.GROUPS["Without negatives"] if name not in ("byol", "patch_byol")]
    others += ["patch_byol"] if not group else []
    monkeypatch.setattr(docs, "GROUPS", docs.GROUPS | {"Without negatives": (*others, *group)})
    with pytest.raises(BadInput, match=r"byol is in no group" if not group else r"byol, patch_byol is in two groups"):
        docs.page()
    assert docs.main(["--check"]) == 2
    assert "docs/objectives.py" in capsys.readouterr().err


def test_fields_keep_their_lines_and_unknown_words_belong_to_them(docs: ModuleType) -> None:
    lead, fields = docs.parsed(
        "One.\n\nMore of it.\n\nClaim:     none: really.\n"
        "Equation:  a = b\n             c  d\n           Note: e\nPaper: X."
    )
    assert lead == "One.\n\nMore of it."
    assert fields == {"Claim": "none: really.", "Equation": "a = b\n  c  d\nNote: e", "Paper": "X."}


def test_a_file_belongs_to_the_longest_name_and_others_to_those_that_they_name(docs: ModuleType) -> None:
    files = {
        "test_moco": ast.parse("def test_a_queue(): pass"),
        "test_moco_v3": ast.parse("def test_no_queue(): pass\ndef helper(): pass"),
        "test_family": ast.parse(
            "from bench.objectives.moco_v3 import MoCoV3\n"
            "def test_by_class(): MoCoV3(1)\ndef test_by_name(make): make('moco')\ndef test_neither(): pass"
        ),
        "test_every_objective": ast.parse("def test_all(): 'moco'"),
    }
    names = ["moco", "moco_v3"]
    assert docs.tests_of("moco", files, names) == ["A queue", "By name"]
    assert docs.tests_of("moco_v3", files, names) == ["No queue", "By class"]


def test_terms_are_the_docstrings_or_what_is_returned(docs: ModuleType) -> None:
    def terms(body: str) -> str:
        preset, base = ast.parse(f"class A(B): pass\nclass B:\n    def forward(self, batch):\n{body}").body
        return docs.terms(preset, base)

    assert terms('        """Terms: loss,\n        loss1 (a part).\n\n        More."""') == "loss, loss1 (a part)"
    assert terms("        if x:\n            return {'loss': a}\n        return {'loss': a, 'b': c}") == "loss, b"


def test_markup_is_escaped_and_code_is_not(docs: ModuleType) -> None:
    assert docs.escape("a*b _c_ d_e `f*_g` h|i") == r"a\*b \_c\_ d_e `f*_g` h\|i"
    assert docs.escape("one ` alone") == r"one \` alone"


@pytest.mark.slow
def test_the_page_is_made_without_torch() -> None:
    program = (
        "import runpy, sys\nsys.argv = ['objectives.py', '--page', '/dev/null']\n"
        f"try:\n    runpy.run_path({str(ROOT / 'docs' / 'objectives.py')!r}, run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True)


def test_the_example_of_the_guide_trains(tmp_path: Path) -> None:
    import torch

    from bench.config.load import load_recipe
    from bench.data.views import Batch
    from bench.nn.encoder import build_encoder
    from bench.objectives import build

    text = (ROOT / "docs" / "adding_an_objective.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        name = re.match(r"# mine/(\S+)", block)
        assert name is not None
        (tmp_path / name[1]).write_text(block.partition("\n")[2], encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "coco_pull.py"), "smoke")
    objective = build(recipe.objective, build_encoder("resnet18", 0))
    assert len(objective.views(64)) == 2
    boxes = [torch.zeros(4, 5)] * 2
    terms = objective(Batch([torch.randn(4, 3, 64, 64) for _ in range(2)], boxes, None, torch.arange(4)))
    terms["loss"].backward()
    assert objective.encoder.conv1.weight.grad is not None
    assert set(objective.outputs(torch.randn(2, 3, 64, 64))) == {"backbone", "projector"}
    variant = build({"name": f"{tmp_path / 'narrow_byol.py'}:NarrowBYOL", "tau0": 0.9}, build_encoder("resnet18", 0))
    assert (variant.projector[0].out_features, variant.tau0) == (1024, 0.9)
    settings = {"hidden_dim": 1024, "projection_dim": 256, "tau0": 0.99}
    read = settings_of(f"{tmp_path / 'narrow_byol.py'}:NarrowBYOL")
    assert {key: read[key].default for key in settings} == settings
    for word in ("OBJECTIVES", "tests/objectives/families/", "bench.objectives", "make docs"):
        assert word in text


SAID = "not measured; `bench plan --estimate` says it for your machine."


def test_no_config_states_hours_that_were_not_measured():
    """How long something takes is the machine's: a header points to the command that times it there."""
    said = {}
    for folder in ("pretrain_configs", "downstream_configs"):
        for file in (ROOT / folder).glob("*.py"):
            words = re.search(r"^Hours: +((?:.*\n)(?: {6,}.*\n)*)", file.read_text(encoding="utf-8"), re.MULTILINE)
            if words is not None:
                said[file.stem] = " ".join(words[1].split())
    assert len(said) > 70
    others = {name: words for name, words in said.items() if not words.startswith(SAID)}
    assert others == {"random_init": "none, as nothing is trained."}
    stated = {name: words for name, words in said.items() if re.search(r"\d (h|hours|min|minutes)\b|A100", words)}
    assert stated == {}


def test_the_pictures_of_a_page_are_all_there_and_all_shown() -> None:
    docs = ROOT / "docs"
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (docs / "looking.md").read_text(encoding="utf-8"))
    assert {docs / name for name in named} == set((docs / "images" / "looking").iterdir())


README = ROOT / "README.md"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_and_pictures_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", README.read_text(encoding="utf-8"))
    assert len(links) > 50
    assert [name for name, _ in links if not (ROOT / name).exists()] == []
    assert [link for link in links if link[1] and link[1] not in anchors(ROOT / link[0])] == []


def test_the_readme_begins_with_two_commands_and_is_short() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert [line.split("#")[0].split() for line in lines[2:4]] == [["make", "demo"], ["make", "test"]]
    assert len(lines) < 200


def test_results_in_the_readme_are_those_of_the_page_that_is_derived_from_records() -> None:
    def rows(page: Path) -> list[list[str]]:
        return [line.split() for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| cifar10 ")]

    shown, measured = rows(README), rows(ROOT / "docs" / "positive_control.md")
    assert len(shown) >= 5
    assert [row for row in shown if row not in measured] == []
