"""LaTeX that compiles, whatever the names: braces, environments, columns of each line; and what it says."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from example_records import THREE, linear, pspnet

from bench.results.escapes import escape_latex
from bench.results.formats import render
from bench.results.look import Look
from bench.results.sections import Section
from bench.results.tables import build_tables

NONE = Path("no such folder")
REFERENCE = Path(__file__).parents[2] / "results" / "reference"
SHORT = Look(verdicts=False, caption="Ours & theirs", label="tab:ours", made_by="Made by bench table.")
HOSTILE = [
    r"\input{x}",
    "a_b",
    "100%",
    "x & y",
    "#1",
    "$x$",
    "a^b~c",
    "{",
    "}",
    "[1]",
    "*",
    "a--b",
    "<>|`",
    "\\",
    "\x1b[1m",
]

# What each macro that escaping makes prints.
PRINTED = {
    r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textbar{}": "|",
    r"\textasciigrave{}": "`", r"\&": "&", r"\%": "%", r"\$": "$", r"\#": "#", r"\_": "_", r"\{": "{", r"\}": "}",
    "$<$": "<", "$>$": ">", "-{}": "-",
}  # fmt: skip


def printed(text: str) -> str:
    """What TeX prints of escaped text; fails where a special character is left."""
    result = ""
    while text:
        macro = next((each for each in sorted(PRINTED, key=len, reverse=True) if text.startswith(each)), None)
        if macro is None:
            assert text[0] not in "\\{}$&#%_^~", text
        result, text = result + (PRINTED[macro] if macro else text[0]), text[len(macro or text[0]) :]
    return result


def check_structure(text: str) -> None:
    """Fail unless braces and environments close, and each line of a table has as many cells as it has columns."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)(?:\\\\)*%", code.replace("\\\\", "")), "a comment begins within a line"
    bare = re.sub(r"\\[\\{}&%$#_]", "", code)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0, "a brace closes that was not opened"
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert not set("#^_") & set(re.sub(r"\\label\{.*?\}", "", bare))
    stack: list[str] = []
    for step, name in re.findall(r"\\(begin|end)\{(\w+)\}", code):
        stack.append(name) if step == "begin" else None
        assert stack
        assert stack[-1] == name
        stack.pop() if step == "end" else None
    assert not stack
    for align, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", code, re.DOTALL):
        lines = [line for line in body.splitlines() if not re.match(r"\\(top|mid|bottom|cmid)rule", line)]
        assert lines
        for line in lines:
            assert line.endswith(r" \\"), line
            assert not line.startswith(("[", "*")), "read as an option of the line before"
            spans = re.findall(r"\\multicolumn\{(\d+)\}", line)
            cells = len(re.findall(r"(?<!\\)&", line)) + 1 - len(spans) + sum(map(int, spans))
            assert cells == len(align), line
        for start, end in re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", body):
            assert 1 <= int(start) <= int(end) <= len(align)


@pytest.mark.parametrize("look", [SHORT, Look()])
def test_it_compiles_whatever_the_names(look: Look) -> None:
    records = [linear(name, seed, 40.0 + seed) for name in HOSTILE for seed in (0, 1)]
    sections = [*build_tables([*records, *THREE], NONE), *build_tables([], REFERENCE)]
    text = render(sections, "latex", look=look)
    check_structure(text)
    for name in HOSTILE:
        assert escape_latex(name) in text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_line_may_begin_with_any_text(name: str) -> None:
    (section,) = build_tables([linear("coco", 0, 40.0)], NONE)
    row = replace(section.rows[0], leading=(name, name, name))
    check_structure(render([replace(section, rows=(row,))], "latex", look=SHORT))


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: text.replace(r"\midrule", "}", 1),
        lambda text: text.replace(r"coco\_two", "coco_two"),
        lambda text: text.replace(" & ", " ", 1),
        lambda text: text.replace(r"\bottomrule", "", 1).replace(r"\end{tabular}", "", 1),
        lambda text: text.replace(r"(\%)", "(%)", 1),
        lambda text: text.replace("$\\pm$", "$\\pm", 1),
    ],
)
def test_the_structural_check_finds_what_would_not_compile(broken: object) -> None:
    text = render(build_tables(THREE, NONE), "latex", look=SHORT)
    check_structure(text)
    with pytest.raises(AssertionError):
        check_structure(broken(text))  # type: ignore[operator]


def test_escaped_names_print_as_they_are() -> None:
    letters, draw = "ab_-%&#$^~\\{}|<>`[]*", random.Random(0)
    for _ in range(300):
        name = "".join(draw.choices(letters, k=draw.randrange(1, 9)))
        assert printed(escape_latex(name)) == name
    assert "--" not in escape_latex("a---b")  # which TeX would make one dash of


def lines(section: Section, look: Look = SHORT) -> list[str]:
    return render([section], "latex", look=look).splitlines()


def test_a_table_by_hand() -> None:
    # Means and spreads as in test_tables; the same two rows are bold.
    text = lines(build_tables(THREE, NONE)[0])
    start = text.index(r"\toprule")
    assert text[start + 1 : start + 9] == [
        r" &  &  & \multicolumn{3}{c}{cityscapes\_pspnet} & \multicolumn{1}{c}{imagenet\_linear} \\",
        r"\cmidrule(lr){4-6} \cmidrule(lr){7-7}",
        r"Pretrain set & Pretrain & Backbone & aAcc (\%) & mIoU (\%) & mAcc (\%) & ImageNet acc (\%) \\",
        r"\midrule",
        r"none & random\_init & resnet50 & 90.00 $\pm$ 0.00 & 61.00 $\pm$ 1.00 & 50.00 $\pm$ 0.00 & 10.00 \\",
        r"coco & coco & resnet50 & 90.00 $\pm$ 0.00 & \textbf{65.00} $\pm$ 1.00 & 50.00 $\pm$ 0.00 & 42.12 \\",
        r"coco & coco\_two\_loss & resnet50 & 90.00 $\pm$ 0.00 & \textbf{65.20} $\pm$ 0.61 & 50.00 $\pm$ 0.00 "
        r"& \textendash{} \\",
        r"\bottomrule",
    ]
    assert r"\caption{Ours \& theirs}" in text
    assert r"\label{tab:ours}" in text
    assert text[0] == "% Transfer results. Made by bench table."
    assert "% Needs \\usepackage{booktabs}." in text
    below = text[text.index(r"\end{tabular}") : text.index(r"\end{table}")]
    said = "\n".join(below)
    assert "Trunks a cell: n = 3; 1 for random\\_init (ImageNet acc), coco (ImageNet acc)." in said
    assert "sample standard deviation over pretrained trunks" in said
    assert "Bold: the highest mean" in said
    assert any(line.startswith("% By mIoU: distinguishable") for line in text)  # nothing is lost


def test_verdicts_and_counts_stand_in_cells_only_when_asked_for() -> None:
    (section,) = build_tables(THREE, NONE)
    short, whole = ("\n".join(lines(section, look)) for look in (SHORT, Look()))
    body = short[short.index(r"\midrule") : short.index(r"\bottomrule")]
    assert not re.search(r"\(|arrow|approx|\?|\\P|\\S", body)
    assert r"\textbf{65.20} $\pm$ 0.61 (3) +4.20 $\uparrow$" in whole


def test_a_doubt_that_no_cell_shows_is_said_below() -> None:
    trunk = {"trunk": "a" * 64}
    records = [pspnet("one", 0, 60.0 + seed, task_seed=seed, **trunk) for seed in (0, 1, 2)]
    records += [pspnet("other", 0, 50.0 + seed, task_seed=seed, trunk="b" * 64) for seed in (0, 1, 2)]
    text = "\n".join(lines(build_tables(records, NONE)[0]))
    assert r"n = 1$\times$3 (trunks $\times$ task seeds)" in text
    assert "over seeds of the task on a single trunk" in text
    assert "Bold rests on a single trunk: one (mIoU)." in text


def test_published_rows_are_marked() -> None:
    section = next(each for each in build_tables([], REFERENCE) if each.key == "full")
    text = "\n".join(lines(section))
    assert r"coco\textsuperscript{$\dagger$} & resnet50 & 93.95 & 64.97 & 72.18 & 42.14 & \textendash{} \\" in text
    assert r"$\dagger$ published, not measured here." in text


def test_labels_differ_where_there_are_several_tables() -> None:
    text = render(build_tables([*THREE, pspnet("coco", 0, 1.0, profile="smoke")], NONE), "latex", look=SHORT)
    assert re.findall(r"\\label\{(.*?)\}", text) == ["tab:ours-mini", "tab:ours-smoke"]
