"""The page of made-up results: figures by hand, goals met and missed, and files that are broken."""

from __future__ import annotations

import json
import math
import re

import everyday
import page
import pandas as pd
import pytest
from comparisons import COMPARISONS
from emulation import without_bf16
from made_up import comparison, contender, curve
from measurements import Compared, Measurement, exponent, read, save

from bench.errors import BadInput


@pytest.fixture
def rendered(tmp_path):
    """The page of these results."""

    def render(*contents):
        for content in contents:
            file = tmp_path / Measurement.model_validate(content).machine.name / f"{content['benchmark']}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(content))
        return page.render(tmp_path)

    return render


def row(text: str, start: str) -> list[str]:
    """The cells of the first table row that starts so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_figures_of_a_comparison(rendered):
    text = rendered(comparison())
    assert row(text, "shipped") == [
        "shipped (baseline, peer)", "3 (2 to 4)", "1.00 (1.00 to 1.00)", "0.50 (0.50 to 0.67)", "–", "–", "2,469", "1.2"
    ]  # fmt: skip
    assert row(text, "tuned")[:4] == ["tuned (best peer)", "6 (4 to 6)", "2.00 (1.50 to 2.00)", "1.00 (1.00 to 1.00)"]
    assert row(text, "ours") == [
        "ours", "12 (12 to 12)", "4.00 (3.00 to 6.00)", "2.00 (2.00 to 3.00)", "3.5×", "met", "1,234", "1.2"
    ]  # fmt: skip
    short = "4.00 (3.00 to 6.00), best peer 2.00, memory 0.50; 3.5×: met"
    assert row(text, "Title of views") == ["Title of views", "ours", short]
    assert "- ours: What it is." in text
    assert "- A note \\| with a bar." in text
    assert "Memory is not shown" not in text
    assert "- Rounds: 3." in text
    assert "- Measured 2026-01-02 at commit 0123456789ab on A CPU, 2 cores, 8 GiB (avx2);" in text
    assert "python 3.11.1, torch 2.0; peers: lightly 1.6.0." in text


def test_ratios_are_taken_within_rounds(rendered):
    # Rates 2, 4, 3 and 6, 8, 12 have the ratios 3, 2, 4, of which 3 is the median; their medians 3 and 8 say 2.67.
    text = rendered(comparison(contenders={"shipped": contender(6, 3, 4), "ours": contender(2, 1.5, 1)}))
    assert row(text, "ours")[1:3] == ["8 (6 to 12)", "3.00 (2.00 to 4.00)"]


def test_a_library_is_a_peer_by_its_name_wherever_it_runs():
    contenders = {"mmseg as shipped": contender(2), "mmseg, bf16": contender(1), "ours": contender(0.5)}
    content = comparison(contenders=contenders, baseline="ours", goals={})
    assert Compared.model_validate(content).best_peer() == "mmseg, bf16"
    del contenders["mmseg as shipped"], contenders["mmseg, bf16"]
    assert Compared.model_validate(content).best_peer() is None


@pytest.mark.parametrize("name", ["ranks", "gpu_ranks", "harness_commands", "views"])
def test_memory_that_is_not_that_of_the_work_is_not_shown(rendered, name):
    content = comparison(name)
    if name == "views":
        for one in content["contenders"].values():
            one["peak_mib"] = 85.9
    text = rendered(content)
    assert row(text, "shipped")[-2:] == ["–", "1.2"]
    assert "- Memory is not shown" in text


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
def test_goals_are_judged_by_the_median_of_ratios(rendered, goals, expected):
    text = rendered(comparison(**goals))
    assert row(text, "ours")[4:6] == expected
    aims, verdict = expected
    judged = row(text, "Title of views")[2].partition("memory 0.50")[2]
    assert judged == ("" if aims == "–" else f"; {aims}: {verdict}")


def test_goals_that_are_no_ratios(rendered):
    checks = [
        {"what": "the whole bank", "found": 61, "goal": 60, "unit": "s", "at_most": True},
        {"what": "two views", "value": 25_000.4, "goal": 20_000, "unit": "images/s"},
    ]
    text = rendered(comparison(checks=checks))
    assert "- Goal: the whole bank, at most 60 s: missed, 61 s." in text
    assert "- Goal: two views, at least 20,000 images/s: met, 25,000 images/s." in text
    assert row(text, "two views") == ["two views", "25,000 images/s; ≥ 20,000: met"]


def test_the_short_table_has_our_fastest_where_no_goal_was_set(rendered):
    contenders = comparison()["contenders"] | {"ours, slow": contender(2, 2, 2)}
    assert row(rendered(comparison(goals={}, contenders=contenders)), "Title of views")[1] == "ours"
    text = rendered(comparison(goals={"ours, slow": 1}, contenders=contenders))
    assert row(text, "Title of views")[1] == "ours, slow"


def test_a_curve_has_its_exponents(rendered):
    text = rendered(curve())
    assert row(text, "1,000") == ["1,000", "500", "500,000"]
    assert row(text, "**exponent**") == ["**exponent**", "**1.00 ± 0.00**", "**2.00 ± 0.00**"]
    assert "- Above linear: square." in text
    text = rendered(curve(y="images/s"))
    assert row(text, "**exponent**")[1:] == ["**0.00 ± 0.00**", "**-1.00 ± 0.00**"]
    assert "Above linear" not in text


def test_exponents_by_hand():
    # Logarithms (base e) at 0, 1, 2: heights 0, 1, 1. Slope 1/2, residuals -1/6, 1/3, -1/6, their squares' sum 1/6,
    # one degree of freedom, sum of squares of x 2: error √(1/12).
    slope = exponent(pd.Series({1: 1, math.e: math.e, math.e**2: math.e}))
    assert slope == pytest.approx((0.5, math.sqrt(1 / 12)))
    assert str(slope) == "0.50 ± 0.29"
    assert exponent(pd.Series({0: 5.0, 1: 2.0})) is None  # 0 has no logarithm
    assert exponent(pd.Series({0: 9.0, 1: 2.0, 2: 4.0})) == (pytest.approx(1), None)


def test_figures_that_are_no_speeds(rendered):
    checks = [{"what": "mIoU in bf16", "found": 0.06, "goal": 0.05, "unit": "points", "at_most": True}]
    content = {"benchmark": "precision", "title": "Scores", "taken": comparison()["taken"], "checks": checks}
    content["figures"] = {"float32": {"mIoU": 12.34567}, "bf16": {"mIoU": 12.29, "to float32": -0.06}}
    text = rendered(content, comparison("step"), comparison())
    assert row(text, "float32") == ["float32", "12.35", "–"]
    assert row(text, "bf16") == ["bf16", "12.29", "-0.06"]
    assert "- Goal: mIoU in bf16, at most 0.05 points: missed, 0.06 points." in text
    headings = ("# Title of views", "# Title of step", " Measured once", "# Scores")
    places = [text.index(f"##{words}") for words in headings]
    assert places == sorted(places)


def test_any_subset_of_files_will_do(rendered, tmp_path):
    empty = page.render(tmp_path / "none")
    assert page.NOTHING in empty
    assert page.NO_GPU in empty
    text = rendered(comparison("gpu_step", device={"device": "A GPU", "driver": 550}))
    assert page.NO_GPU not in text
    assert page.NOTHING not in text
    assert text.index("### `a-gpu`: A GPU") < text.index("## Measured on `a-gpu`") < text.index("### Title of gpu_step")
    assert "device A GPU; driver 550" in text


SIMULATED = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


def of(content, features, **limits):
    """A copy of a result as a machine with these instructions would have given it."""
    return change(content, "taken", "hardware", to=content["taken"]["hardware"] | {"bf16": features, "limits": limits})


def test_each_class_of_machine_has_its_column(rendered):
    wide = {"shipped": contender(3, 3, 3, peer=True), "ours, bf16": contender(1, 1.5, 1)}
    plain = {"shipped": contender(4, 4, 4, peer=True), "ours, float32": contender(3, 2, 2.5)}
    check = {"what": "two views", "value": 5, "goal": 4, "unit": "s", "at_most": True}
    text = rendered(
        of(comparison(contenders=plain, goals={"ours, float32": 2}, checks=[check]), "avx2 avx512f", **SIMULATED),
        of(comparison(contenders=wide, goals={"ours, bf16": 2}), "avx2 avx512f avx512_bf16"),
        of(comparison("step"), "avx2"),
        of(comparison("gpu_step", device={"device": "A GPU"}), "avx2"),
    )
    head = ["comparison", "ours", "`avx512-bf16`", "`avx2`", "`avx2-on-avx512`", "`a-gpu`"]
    assert row(text, "comparison") == head
    met, missed = "3.00 (2.00 to 3.00), best peer 3.00; 2×: met", "1.60 (1.33 to 2.00), best peer 1.60; 2×: **missed**"
    assert row(text, "Title of views") == ["Title of views", "ours, bf16", met, "–", missed, "–"]
    assert [cell != "–" for cell in row(text, "Title of step")[2:]] == [False, True, False, False]
    assert [cell != "–" for cell in row(text, "Title of gpu_step")[2:]] == [False] * 3 + [True]
    assert row(text, "two views") == ["two views", "–", "–", "5 s; ≤ 4: **missed**", "–"]
    for name in ("avx512-bf16", "avx2", "avx2-on-avx512", "a-gpu"):
        assert text.index(f"### `{name}`: ") < text.index("## In short") < text.index(f"## Measured on `{name}`")
    (missing,) = (line for line in text.splitlines() if line.startswith("Not measured yet: "))
    assert re.findall("`(.+?)`", missing) == ["amx", "avx512", "arm-bf16", "arm"]
    start = text.index("### `avx2-on-avx512`: AVX2 kernels on a processor of the class avx512, by ATEN_CPU_CAPABILITY=")
    assert text.index("Simulated: ") > start
    assert text.count("Simulated: ") == 1
    said = "A CPU, 2 cores, 8 GiB (avx2 avx512f, ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2)"
    assert text.count(said) == text.count("ONEDNN_MAX_CPU_ISA=AVX2)") == 1


def test_the_first_screen_says_how_long_work_takes(rendered):
    # 8 images a second: 10,000 take 1,250 s, ImageNet's 160,146 s. A quarter of a step a second: 5,950 s for 1,487.5.
    contenders = {"lightly as shipped": contender(6, units=12), "ours, default": contender(1.5, units=12)}
    mmseg = {"mmseg as shipped": contender(8, 8, units=1), "ours, bf16": contender(4, 4, units=1)}
    neighbours = {
        "lightly knn_predict": contender(1, 1, 2), "ours": contender(0.5, 0.25, 0.5, arguments={"bank": 5000})
    }  # fmt: skip
    text = rendered(
        comparison("step_from_files", goals={}, contenders=contenders, baseline="lightly as shipped"),
        comparison("segmentation_training", goals={}, contenders=mmseg, baseline="mmseg as shipped", unit="steps"),
        comparison("knn", goals={}, contenders=neighbours, baseline="lightly knn_predict", unit="queries"),
    )
    assert row(text, "Pretraining: BYOL, ResNet-50")[1:] == [
        "8 images/s", "10,000 images: 21 min; ImageNet's 1,281,167: 44 h 29 min",
        "4.00 × lightly as shipped, one round only",
    ]  # fmt: skip
    assert row(text, "PSPNet, ResNet-50")[1:] == [
        "0.25 steps/s", "Cityscapes' 2,975 images: 1 h 39 min",
        "2.00 (2.00 to 2.00) × mmseg as shipped, two rounds only",
    ]  # fmt: skip
    assert row(text, "Nearest neighbours")[2:] == [
        "10,000 queries against 5,000 features: 7 min",
        "4.00 (2.00 to 4.00) × lightly knn_predict",
    ]
    assert row(text, "Pretraining: BYOL, ResNet-18")[1:] == ["–", "–", "–"]
    assert row(text, "Title of step_from")[2].startswith("4.00 (one round), best peer 4.00")


@pytest.mark.parametrize("work", everyday.WORK, ids=lambda one: f"{one.benchmark}, {one.names[0]}")
def test_the_first_screen_names_what_comparisons_have(work):
    table = {one.name: one for one in COMPARISONS}
    compared = table.get(work.benchmark) or table[f"gpu_{work.benchmark}"]
    names = {one.name for one in (*compared.contenders, *without_bf16(compared).contenders)}
    assert set(work.names) <= names
    arguments = {**compared.common, **compared.contenders[-1].arguments}
    assert all(words.format_map(arguments) and units > 0 for words, units in work.amounts)


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
        (change(comparison(), "contenders", "ours", "samples", to=[]), "contenders.ours.samples"),
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
    file = tmp_path / "avx2" / "views.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=r"; measure it anew, or delete it\.$") as error:
        page.render(tmp_path)
    assert reason in str(error.value)
    assert str(file) in str(error.value)
    assert page.main(["--results", str(tmp_path), "--docs", str(tmp_path / "docs")]) == 2
    assert capsys.readouterr().err == f"{error.value}\n"


def test_a_file_of_another_class_is_refused(tmp_path):
    for folder in ("avx512", "."):
        file = tmp_path / folder / "views.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(comparison()))
        with pytest.raises(BadInput, match=r"on a machine of the class avx2; move it to a folder avx2\.$"):
            page.render(tmp_path)
        file.unlink()


def test_a_file_that_is_no_json(tmp_path):
    (tmp_path / "avx2").mkdir()
    (tmp_path / "avx2" / "views.json").write_text('{"benchmark": ')
    with pytest.raises(BadInput, match="not a benchmark that this version reads"):
        page.render(tmp_path)


def test_what_is_saved_is_read_again(tmp_path):
    compared = Compared.model_validate(comparison())
    file = save(compared, tmp_path)
    assert read(file) == compared
    assert [*tmp_path.glob("**/*.json*")] == [tmp_path / "avx2" / "views.json"]


def test_check_says_what_differs(rendered, tmp_path, capsys):
    rendered(comparison(), curve())
    words = ["--results", str(tmp_path), "--docs", str(tmp_path / "docs")]
    assert page.main([*words, "--check"]) == 1
    assert page.main(words) == 0
    assert page.main([*words, "--check"]) == 0
    capsys.readouterr()
    (tmp_path / "avx2" / "pack_growth.json").unlink()
    assert page.main([*words, "--check"]) == 1
    assert "performance.md is not what the results give; run make performance" in capsys.readouterr().err


def test_the_committed_page_is_what_the_results_give(capsys):
    assert page.main(["--check"]) == 0, capsys.readouterr().err
