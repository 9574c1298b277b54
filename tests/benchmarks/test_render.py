"""The page of made-up results: figures by hand, goals met and missed, and files that are broken."""

from __future__ import annotations

import json
import re

import pytest
import render
from made_up import comparison, contender, curve

from bench.errors import BadInput


@pytest.fixture
def folder(tmp_path):
    """A folder of results, filled by calling what is returned."""

    def fill(*contents):
        for content in contents:
            (tmp_path / f"{content['benchmark']}.json").write_text(json.dumps(content))
        return tmp_path

    return fill


def row(page: str, start: str) -> list[str]:
    """The cells of the first table row that starts so."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_figures_of_a_comparison(folder):
    page = render.render(folder(comparison()))["performance.md"]
    assert row(page, "shipped") == [
        "shipped (baseline, peer)", "3 (2 to 4)", "1.00 (1.00 to 1.00)", "0.50 (0.50 to 0.67)", "–", "–", "2,469", "1.2"
    ]  # fmt: skip
    assert row(page, "tuned")[:4] == ["tuned (best peer)", "6 (4 to 6)", "2.00 (1.50 to 2.00)", "1.00 (1.00 to 1.00)"]
    assert row(page, "ours") == [
        "ours", "12 (12 to 12)", "4.00 (3.00 to 6.00)", "2.00 (2.00 to 3.00)", "3.5×", "met", "1,234", "1.2"
    ]  # fmt: skip
    assert row(page, "Title of views") == ["Title of views", "ours", "4.00", "2.00", "3.5×", "met"]
    assert "- ours: What it is." in page
    assert "- A note \\| with a bar." in page
    assert "Memory is not shown" not in page
    assert "3 rounds. Measured 2026-01-02 at commit 0123456789ab on A CPU, 2 cores, 8 GiB (avx2);" in page
    assert "python 3.11.1, torch 2.0; peers: lightly 1.6.0." in page


def test_memory_against_the_baseline_and_the_best_peer(folder):
    page = render.render(folder(comparison(), comparison("harness_checkpoint")))["performance.md"]
    table = page.partition("## Memory\n")[2].partition("## ")[0]
    assert [line for line in table.splitlines() if "Title" in line] == [  # 1234.5 of 2469, and of 1000
        "| Title of views | ours | 1,234 | 0.50 | 1.23 |"
    ]


@pytest.mark.parametrize("name", ["ranks", "gpu_ranks", "harness_commands", "views"])
def test_memory_that_is_not_that_of_the_work_is_not_shown(folder, name):
    content = comparison(name)
    if name == "views":
        for one in content["contenders"].values():
            one["peak_mib"] = 85.9
    page = render.render(folder(content))["performance.md"]
    assert "## Memory" not in page
    assert row(page, "shipped")[-2:] == ["–", "1.2"]
    assert "- Memory is not shown" in page


@pytest.mark.parametrize(
    ("goals", "expected"),
    [
        ({"goals": {"ours": 4.0}}, ["4×", "met"]),
        ({"goals": {"ours": 4.01}}, ["4.01×", "**missed**"]),
        ({"goals": {}, "goals_best_peer": {"ours": 2}}, ["2× best peer", "met"]),
        ({"goals": {"ours": 1}, "goals_best_peer": {"ours": 2.5}}, ["1×, 2.5× best peer", "**missed**"]),
        ({"goals": {}}, ["–", "–"]),
    ],
)
def test_goals_are_judged_by_the_median_of_ratios(folder, goals, expected):
    page = render.render(folder(comparison(**goals)))["performance.md"]
    assert row(page, "ours")[4:6] == expected
    assert row(page, "Title of views")[4:] == expected


def test_goals_that_are_no_ratios(folder):
    checks = [
        {"what": "the whole bank", "found": 61, "goal": 60, "unit": "s", "at_most": True},
        {"what": "two views", "found": 25_000.4, "goal": 20_000, "unit": "images/s"},
    ]
    page = render.render(folder(comparison(checks=checks)))["performance.md"]
    assert "- Goal: the whole bank, at most 60 s: missed, 61 s." in page
    assert "- Goal: two views, at least 20,000 images/s: met, 25,000 images/s." in page


def test_the_short_table_has_our_fastest_where_no_goal_was_set(folder):
    contenders = comparison()["contenders"] | {"ours, slow": contender(2, 2, 2)}
    page = render.render(folder(comparison(goals={}, contenders=contenders)))["performance.md"]
    assert row(page, "Title of views")[1] == "ours"
    page = render.render(folder(comparison(goals={"ours, slow": 1}, contenders=contenders)))["performance.md"]
    assert row(page, "Title of views")[1] == "ours, slow"


def test_a_curve_has_its_exponents(folder):
    files = render.render(folder(curve()))
    page = files["performance.md"]
    assert row(page, "1,000") == ["1,000", "500", "500,000"]
    assert row(page, "**exponent**") == ["**exponent**", "**1.00 ± 0.00**", "**2.00 ± 0.00**"]
    assert "- Above linear: square." in page
    assert "![Title of pack_growth](performance/pack_growth.svg)" in page
    assert "square (exponent 2.00 ± 0.00)" in files["performance/pack_growth.svg"]


def test_a_curve_of_rates(folder):
    page = render.render(folder(curve(y="images/s")))["performance.md"]
    assert row(page, "**exponent**")[1:] == ["**0.00 ± 0.00**", "**-1.00 ± 0.00**"]
    assert "Above linear" not in page


def test_sizes_of_nothing_are_shown_and_not_fitted(folder):
    content = curve(y="images/s")
    content["curve"]["series"] = {"w": [{"x": x, "samples": [{"seconds": 1, "units": x + 1}]} for x in (0, 1)]}
    page = render.render(folder(content))["performance.md"]
    assert row(page, "0 ") == ["0", "1"]
    assert row(page, "**exponent**") == ["**exponent**", "–"]


def test_figures_that_are_no_speeds(folder):
    known = comparison()
    checks = [{"what": "mIoU in bf16", "found": 0.06, "goal": 0.05, "unit": "points", "at_most": True}]
    content = {"benchmark": "precision", "title": "Scores", "taken": known["taken"], "checks": checks}
    content["figures"] = {"float32": {"mIoU": 12.34567}, "bf16": {"mIoU": 12.29, "to float32": -0.06}}
    page = render.render(folder(known, content))["performance.md"]
    assert row(page, "float32") == ["float32", "12.35", "–"]
    assert row(page, "bf16") == ["bf16", "12.29", "-0.06"]
    assert "- Goal: mIoU in bf16, at most 0.05 points: missed, 0.06 points." in page
    assert page.index("### Title of views") < page.index("## Do results stay the same?") < page.index("### Scores")


def test_any_subset_of_files_will_do(folder, tmp_path):
    empty = render.render(tmp_path / "none")
    assert list(empty) == ["performance.md"]
    assert render.NOTHING in empty["performance.md"]
    assert render.NO_GPU in empty["performance.md"]
    gpu = render.render(folder(comparison("gpu_step", device={"name": "A GPU", "driver": 550})))
    assert list(gpu) == ["performance.md"]
    page = gpu["performance.md"]
    assert render.NO_GPU not in page
    assert render.NOTHING in page
    assert page.index("## On a GPU") < page.index("### Title of gpu_step")
    assert "name A GPU; driver 550" in page


def test_order_of_the_page(folder):
    page = render.render(folder(comparison("zebra"), comparison("step_threads"), comparison("views")))["performance.md"]
    assert re.findall("### Title of (.*)", page) == ["views", "step_threads", "zebra"]


def test_the_same_results_give_the_same_bytes(folder):
    results = folder(comparison(), curve())
    first = render.render(results)
    assert sorted(first) == ["performance.md", "performance/pack_growth.svg", "performance/ratios.svg"]
    assert render.render(results) == first
    for name in ("performance/pack_growth.svg", "performance/ratios.svg"):
        assert "<svg" in first[name]
        assert "dc:date" not in first[name]
    assert ">ours " in first["performance/ratios.svg"]


def change(content, *path, to):
    """A copy of a result with one value replaced, or removed where `to` is None."""
    content = json.loads(json.dumps(content))
    at = content
    for key in path[:-1]:
        at = at[key]
    if to is None:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            change(comparison(), "contenders", "ours", "samples", 0, "seconds", to=0),
            "contenders.ours.samples.0.seconds",
        ),
        (change(comparison(), "baseline", to="nobody"), "there is no contender 'nobody'"),
        (change(comparison(), "goals", to={"their": 1}), "there is no contender 'their'"),
        (change(comparison(), "contenders", "ours", to=contender(1)), "differ in their number of samples"),
        (change(comparison(), "unit", to=None), "unit: Field required"),
        (change(curve(), "curve", "series", to={}), "curve.series"),
        (change(comparison(), "benchmark", to="other"), "it holds the benchmark 'other'"),
        ([1], "valid dictionary"),
    ],
)
def test_a_broken_file_gives_one_sentence(tmp_path, content, reason, capsys):
    (tmp_path / "views.json").write_text(json.dumps(content))
    with pytest.raises(BadInput, match=r"; measure it anew, or delete it\.$") as error:
        render.render(tmp_path)
    assert reason in str(error.value)
    assert str(tmp_path / "views.json") in str(error.value)
    assert render.main(["--results", str(tmp_path), "--docs", str(tmp_path / "docs")]) == 2
    assert capsys.readouterr().err == f"{error.value}\n"


def test_a_file_that_is_no_json(tmp_path):
    (tmp_path / "views.json").write_text('{"benchmark": ')
    with pytest.raises(BadInput, match="not a benchmark that this version reads"):
        render.render(tmp_path)


def test_check_tells_what_differs(folder, tmp_path, capsys):
    results, docs = folder(comparison(), curve()), tmp_path / "docs"
    words = ["--results", str(results), "--docs", str(docs)]
    assert render.main([*words, "--check"]) == 1
    assert "performance.md is missing" in capsys.readouterr().err
    assert render.main(words) == 0
    assert render.main([*words, "--check"]) == 0
    (results / "pack_growth.json").unlink()
    assert render.main([*words, "--check"]) == 1
    said = capsys.readouterr().err
    assert "performance.md differs from what the results give (line " in said
    assert "pack_growth.svg belongs to no result" in said
    assert render.main(words) == 0
    assert render.main([*words, "--check"]) == 0
    page = docs / "performance.md"
    page.write_text(page.read_text().replace("4.00", "5.00"))
    assert render.main([*words, "--check"]) == 1


def test_the_committed_page_is_what_the_results_give(capsys):
    assert render.main(["--check"]) == 0, capsys.readouterr().err
