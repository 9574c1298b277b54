"""Configs as plain data: what is read, what is refused and at which line, and that nothing of a config is run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bench.config.config_files import config_files, find, read
from bench.config.load import load_recipe, load_task, recipe_values
from bench.config.plain_limits import DEEPEST, MOST_BYTES, MOST_VALUES, NotPlain
from bench.config.plain_python import parse_python
from bench.config.plain_text import parse_json, parse_yaml
from bench.errors import BadInput
from bench.hashing import hashed_settings
from bench.safe_mode import safe_mode

PLAIN = '''"""First line.

More.
"""

sizes = (128, 96)
rate = 0.3 * 4080 / 256 - 1e-3
norm = dict(type="SyncBN", requires_grad=True)
model = dict(a=norm, b={"norm": norm, 3: None}, c=[-1, +2.5, "x" "y"], d=list((1, 2)), e=tuple([sizes]), f=7 // 2)
scales = [dict(size=size, pair=(size, rate)) for size in sizes]
again = [[other * size for other in (1, 2)] for size in scales_of]
'''.replace("scales_of", "range(0, 6, 2)")


def test_python_that_is_data_means_what_python_makes_of_it() -> None:
    ran: dict[str, Any] = {}
    exec(compile(PLAIN, "config", "exec"), ran)
    values, docstring = parse_python(PLAIN)
    assert docstring == "First line.\n\nMore."
    assert values == {name: value for name, value in ran.items() if not name.startswith("__")}
    assert repr(values["model"]) == repr(ran["model"])  # a list is no tuple, and 1 is not 1.0
    assert values["model"]["a"] is not values["model"]["b"]["norm"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import os", r"import os is no assignment"),
        ("from os import system", r"no assignment"),
        ("x = __import__('os')", r"__import__\('os'\) is no plain data"),
        ("x = open('y').read()", r"is no plain data"),
        ("x = ().__class__", r"is no plain data"),
        ("x = dict(**y)", r"\*\* is no plain data"),
        ("x = {**{}}", r"\*\* is no plain data"),
        ("x = dict([('a', 1)])", r"is no plain data"),
        ("x = lambda: 0", r"is no plain data"),
        ("x = f'{1}'", r"is no plain data"),
        ("x = '{{ fileDirname }}'", r"is a template"),
        ("x = b'a'", r"is no plain data"),
        ("x = 1j", r"is no plain data"),
        ("x = 2 ** 9", r"is no plain data"),
        ("x = 'a' * 9", r"'a' is no number to calculate with"),
        ("x = True + 1", r"True is no number"),
        ("x = 1 / 0", r"cannot be calculated \(division by zero\)"),
        ("x = 1e999", r"not finite"),
        ("x = 1e200 * 1e200", r"not finite"),
        ("x = 4611686018427387904 * 2", r"more than 63 bits"),
        ("x = y", r"the name 'y' is not assigned above"),
        ("x = [y for y in (1, 2) if y]", r"is no plain data"),
        ("x = [y for y in 3]", r"3 is no list"),
        ("x = range(0, 9, 0)", r"is no plain data"),
        ("x = range(1e9)", r"is no plain data"),
        ("x = range(10 * 10 * 1000000)", rf"more than {MOST_VALUES} values"),
        ("x = x.y = 1", r"no assignment"),
        ("x, y = 1, 2", r"no assignment"),
        ("x: int = 1", r"no assignment"),
        ("x += 1", r"no assignment"),
        ("for x in (1, 2): pass", r"no assignment"),
        ("class X: pass", r"no assignment"),
        ("print(1)", r"no assignment"),
        ("a = 2", r"'a' is assigned twice"),
        ("x = dict(b=1, b=2)", r"the key 'b' is there twice"),
        ("x = {'b': 1, 'b': 2}", r"the key 'b' is there twice"),
        ("x = {(1,): 2}", r"is no key"),
        ("x = (", r"it is no Python"),
        ("x = " + "[" * 60 + "]" * 60, rf"more than {DEEPEST} levels deep"),
        ("x = " + "-" * 3000 + "1", r"levels deep|too deep"),
        ("x = " + "1+" * 3000 + "1", r"levels deep|too deep"),
        (f"x = range(-{2**62}, {2**62})", r"more than 20000 values"),
    ],
)
def test_python_that_is_no_data_is_refused_with_its_line(line: str, reason: str) -> None:
    with pytest.raises(NotPlain, match=reason) as caught:
        parse_python(f'"""Doc."""\na = 1\n{line}\n')
    assert caught.value.line in (3, None)
    assert caught.value.line == 3 or "too deep" in str(caught.value)


def test_names_that_repeat_names_cannot_grow_without_limit() -> None:
    lines = ["a0 = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n} = [{', '.join([f'a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(NotPlain, match=rf"more than {MOST_VALUES} values"):
        parse_python("\n".join(lines))
    nested = ["a0 = [1]", *(f"a{n} = [a{n - 1}]" for n in range(1, 200))]
    with pytest.raises(NotPlain, match=rf"more than {DEEPEST} levels deep"):
        parse_python("\n".join(nested))
    loops = "x = " + "[" * 6 + "[]" + "".join(f" for a{n} in range(10)]" for n in range(6))
    with pytest.raises(NotPlain, match=rf"more than {MOST_VALUES} values"):
        parse_python(loops)


def test_yaml_means_what_version_1_2_of_it_says() -> None:
    values, comment = parse_yaml(
        "# First line.\n#\n# More.\n\na: 1e-4\n"
        "b: [no, on, 2020-01-01, 1:30, '1', ~, null, true, 0x]\nc:\n  d: -3\n  e:\n"
    )
    assert comment == "First line.\n\nMore."
    assert values == {
        "a": 0.0001,
        "b": ["no", "on", "2020-01-01", "1:30", "1", None, None, True, "0x"],
        "c": {"d": -3, "e": None},
    }
    assert parse_yaml("")[0] == {}
    read_json, _ = parse_json('{"a": [1, 2.5, null, "x"], "b": {"a": true}}')
    assert read_json == {"a": [1, 2.5, None, "x"], "b": {"a": True}}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: &x [1]\nc: *x\n", 2, r"anchors and aliases"),
        ("a: 1\nb: *x\n", 2, r"anchors and aliases"),
        ("a: 1\nb: !!python/object/apply:os.system [x]\n", 2, r"the tag .*os\.system is no plain data"),
        ("a: 1\nb: !!float 1\n", 2, r"the tag"),
        ("a: 1\n\na: 2\n", 3, r"the key 'a' is there twice"),
        ("a: 1\n<<: {b: 2}\n", 2, r"'<<' is no key"),
        ("a: 1\n2: 3\n", 2, r"2 is no key"),
        ("a: 1\n? [b]\n: 3\n", 2, r"is no key"),
        ("a: 1\n--- \nb: 2\n", 2, r"a second document"),
        ("a: 1\nb: [\n", 3, r"it is no YAML"),
        ("a: 1\n\tb: 1\n", 2, r"it is no YAML"),
        ("a: 1\nb: \x07\n", None, r"it is no YAML"),
        ("- a\n", 1, r"holds no keys"),
        ("a\n", 1, r"holds no keys"),
        ("a: 1\nb: 1e999\n", 2, r"not finite"),
        ("a: 1\nb: 0x1f\n", 2, r"0x1f is no number in decimals, nor a string in quotes"),
        ("a: 1\nb: [0o17]\n", 2, r"0o17 is no number in decimals"),
        ("a: 1\nb: -.inf\n", 2, r"-\.inf is no number in decimals"),
        ("a: 1\nb: .NaN\n", 2, r"\.NaN is no number in decimals"),
        (f"a: 1\nb: {'9' * 5000}\n", 2, r"63 bits"),
        ("a: 1\nb: " + "[" * 9000, 2, rf"more than {DEEPEST} levels deep"),
        ("a: 1\nb: [" + "1," * (MOST_VALUES + 1) + "]", 2, rf"more than {MOST_VALUES} values"),
    ],
)
def test_yaml_that_is_no_data_is_refused_with_its_line(text: str, line: int | None, reason: str) -> None:
    with pytest.raises(NotPlain, match=reason) as caught:
        parse_yaml(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('{"a": 1,\n "b": }', 2, r"it is no JSON"),
        ('{"a": 1,\n "b": {"a": 1},\n "\\u0061": 2}', 3, r"the key 'a' is there twice"),
        ('{"a":\n NaN}', None, r"NaN is no JSON"),
        ('{"a":\n 1e999}', 2, r"not finite"),
        ('{"a":\n 99999999999999999999}', 2, r"63 bits"),
        ('{"a":\n ' + "9" * 5000 + "}", None, r"63 bits"),
        ('{"a":\n ' + "[" * 60 + "]" * 60 + "}", 2, rf"more than {DEEPEST} levels deep"),
        ("[" * 100_000, None, r"levels deep"),
        ('{"a":\n [' + "1," * MOST_VALUES + "1]}", 2, rf"more than {MOST_VALUES} values"),
        ("[1]", 1, r"holds no keys"),
        ('"' + '\\"' * 100_000, 1, r"it is no JSON"),
    ],
)
def test_json_that_is_no_data_is_refused_with_its_line(text: str, line: int | None, reason: str) -> None:
    with pytest.raises(NotPlain, match=reason) as caught:
        parse_json(text)
    assert caught.value.line == line


# ---------------------------------------------------------------------------------------------- files


def as_yaml(values: Any) -> str:
    """Values in YAML's block form, as a person would write them; leaves are as in JSON, which YAML contains."""
    lines: list[str] = []

    def write(node: dict[str, Any], indent: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict) and value:
                lines.append(f"{indent}{key}:")
                write(value, indent + "  ")
            else:
                lines.append(f"{indent}{key}: {json.dumps(value)}")

    write(values, "")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["coco_two_loss", "imagenet_swav", "cifar10_byol_loss1"])
def test_a_pretraining_is_the_same_in_each_dialect(name: str, tmp_path: Path) -> None:
    values = read(find("pretrain_configs", name))[0]
    (tmp_path / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    (tmp_path / f"{name}.yml").write_text("# As shipped.\n" + as_yaml(values), encoding="utf-8")
    for profile in ("full", "mini"):
        shipped = hashed_settings(load_recipe(name, profile))  # type: ignore[arg-type]
        for suffix in ("json", "yml"):
            recipe = load_recipe(str(tmp_path / f"{name}.{suffix}"), profile)  # type: ignore[arg-type]
            assert json.dumps(hashed_settings(recipe)) == json.dumps(shipped)
            assert recipe.summary == ("As shipped." if suffix == "yml" else "")


@pytest.mark.parametrize("name", ["imagenet_linear_sweep", "stl10_knn5", "cityscapes_pspnet"])
def test_a_task_is_the_same_in_each_dialect(name: str, tmp_path: Path) -> None:
    values = read(find("downstream_configs", name))[0]
    (tmp_path / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    (tmp_path / f"{name}.yaml").write_text(as_yaml(values), encoding="utf-8")
    shipped = json.dumps(hashed_settings(load_task(name, "smoke")))
    for suffix in ("json", "yaml"):
        assert json.dumps(hashed_settings(load_task(str(tmp_path / f"{name}.{suffix}"), "smoke"))) == shipped


@pytest.mark.parametrize(
    "name",
    [
        "imagenet_bigan",
        "imagenet_dino",
        "cifar100_byol_two_loss",
        "clips_taco",
        "cityscapes_pspnet",
        "stl10_linear_adam",
        "pspnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    ],
)
def test_shipped_configs_say_the_same_read_and_run(name: str) -> None:
    """Those that calculate, make lists by `for`, or inherit twice; tests/test_frozen_plan.py has all fingerprints."""
    file = config_files("pretrain_configs").get(name) or find("downstream_configs", name)
    run = read(file)
    with safe_mode():
        assert repr(read(file)) == repr(run)


MERGED = {
    "base.py": "optimizer = dict(name='sgd', lr=0.1, momentum=0.9)\nepochs = 3\nbetas = (1, 2)\n",
    "other.py": "dataset = 'coco'\n",
    "mine.py": "_base_ = ['./base.py', './other.py']\noptimizer = dict(lr=0.2)\nepochs = 4\n",
    "anew.py": "_base_ = './base.py'\noptimizer = dict(_delete_=True, name='lars')\nmore = dict(a=dict(b=1))\n",
    "third.py": "_base_ = './mine.py'\noptimizer = dict(extra=dict(a=1), lr=None)\n",
}


@pytest.mark.parametrize("name", ["mine", "anew", "third"])
def test_inheritance_is_that_of_mmengine(name: str, tmp_path: Path) -> None:
    for file, text in MERGED.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    run = read(tmp_path / f"{name}.py")
    with safe_mode():
        assert repr(read(tmp_path / f"{name}.py")) == repr(run)


def test_each_dialect_inherits_each(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "_base_: coco\nbatch_size: 64\noptimizer: {weight_decay: 1e-5}\n", encoding="utf-8"
    )
    (tmp_path / "b.json").write_text('{"_base_": ["a.yaml"], "optimizer": {"lr": 0.5}}', encoding="utf-8")
    (tmp_path / "c.py").write_text("import math\n_base_ = 'b.json'\nepochs = math.floor(7.5)\n", encoding="utf-8")
    values = recipe_values(str(tmp_path / "c.py"), "full")
    assert (values["epochs"], values["batch_size"], values["dataset"]) == (7, 64, "coco")
    assert values["optimizer"]["weight_decay"] == 1e-5
    assert values["optimizer"]["lr"] == 0.5
    # What is data itself runs nothing by what it inherits.
    (tmp_path / "d.yaml").write_text("_base_: c.py\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"c\.py, line 1: import math .*, which YAML and JSON cannot inherit"):
        read(tmp_path / "d.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("_base_: [x.yaml]\n", r"Cannot read .*x\.yaml \(No such file or directory\)"),
        ("_base_: self.yaml\n", r"inherits itself by _base_"),
        ("_base_: 3\n", r"_base_ in .* is 3, but should be a path or a name"),
        ("_base_: [[a]]\n", r"_base_ in .* should be a path or a name, or a list of them"),
        ("_base_: cocoo\n", r"_base_ names 'cocoo', which is no config; did you mean coco"),
        ("_base_: ./x.txt\n", r"x\.txt is no config, which ends in \.py, \.yaml, \.yml, \.json"),
        ("_base_: mmseg::pspnet\n", r"'mmseg::pspnet', which plain data cannot inherit"),
        ("_base_: https://example.com/a.yaml\n", r"which plain data cannot inherit"),
        ("_base_: [coco, coco]\n", r"inherits the key '\w+' from two files"),
        ("_base_: coco\nepochs: {a: 1}\n", r"'epochs' is a dictionary, but what it inherits there is none"),
        ("_base_: pipe.yaml\n", r"pipe\.yaml is no file"),
        ("_base_: large.yaml\n", rf"more than {MOST_BYTES // 1024} KiB"),
        ("_base_: latin.yaml\n", r"latin\.yaml is not UTF-8"),
        (
            '_base_: "a\\0b.yaml"\n',
            r"_base_ in .* is 'a\\x00b\.yaml', which names no file \(embedded null byte\); corr",
        ),
        ("_base_: " + "x" * 300 + "\n", r"_base_ in .* is 'xxx.*', which names no file \(.*File name too long"),
    ],
)
def test_what_cannot_be_inherited_is_refused_in_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "x.txt").write_text("a", encoding="utf-8")
    (tmp_path / "large.yaml").write_bytes(b"a" * (MOST_BYTES + 1))
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    (tmp_path / "self.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=message) as caught:
        read(tmp_path / "self.yaml")
    assert "\n" not in str(caught.value)


def test_a_config_cannot_inherit_files_without_limit(tmp_path: Path) -> None:
    (tmp_path / "a0.yaml").write_text("{}\n", encoding="utf-8")
    for n in range(1, 30):  # each level twice: a billion in all
        (tmp_path / f"a{n}.yaml").write_text(f"_base_: [a{n - 1}.yaml, a{n - 1}.yaml]\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"a29\.yaml inherits more than 100 files"):
        read(tmp_path / "a29.yaml")


def test_two_configs_of_one_name_in_a_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pretrain_configs").mkdir()
    (tmp_path / "pretrain_configs" / "mine.yaml").write_text("_base_: coco\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("mine").dataset == "coco"
    (tmp_path / "pretrain_configs" / "mine.json").write_text('{"_base_": "coco"}', encoding="utf-8")
    with pytest.raises(BadInput, match=r"mine\.json and mine\.yaml beside it are two configs of one name"):
        load_recipe("mine")
