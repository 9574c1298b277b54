"""The page as text: what is escaped, what it may do, how large it is."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from example_records import pspnet
from pages import END, HOSTILE, IMAGE, SCRIPT, SVG, TEMPLATE, drawing, hostile, report_of, usual, with_pictures

from bench.errors import BadInput
from bench.results.report import page as pages_module
from bench.results.report.drawings import checked_svg
from bench.results.report.page import rendered
from bench.results.report.shown import Report


class _Elements(HTMLParser):
    """All elements and their attributes, and the text of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._script = dict(attrs).get("id") or "" if tag in {"script", "style"} else None

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script or ("css" if "--paper" in data else "script")] = data
        else:
            self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    place = tmp_path_factory.mktemp("hostile")
    return report_of([*usual(), *hostile()], place / "results", with_pictures(place / "work"), title=END + TEMPLATE)


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return rendered(report)


@pytest.fixture(scope="module")
def elements(html: str) -> _Elements:
    return _Elements(html)


def test_words_of_records_stay_words(html: str, elements: _Elements) -> None:
    for hurt in (SCRIPT, IMAGE, "<svg onload"):
        assert hurt not in html
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", html)[0]
    for name in HOSTILE:
        assert name.replace("/", "") in elements.text.replace("\xad", "")
    for tag, attributes in elements.elements:
        assert not [key for key in attributes if key.startswith("on")], tag
        assert attributes.get("src") != "x"
    runs = [attributes for tag, attributes in elements.elements if tag == "script" and "type" not in attributes]
    assert len(runs) == 1


def test_records_stand_in_the_page_as_their_files_are(elements: _Elements, report: Report) -> None:
    for each in report.evidence:
        assert json.loads(elements.scripts[f"x-{each.key}"]) == each.text
        assert "<" not in elements.scripts[f"x-{each.key}"]


def test_the_policy_lets_this_script_and_this_style_alone(elements: _Elements) -> None:
    policy = next(a["content"] for _, a in elements.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = {name: rest for name, _, rest in (rule.partition(" ") for rule in policy.split("; "))}
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for rule, text in (("script-src", "script"), ("style-src", "css")):
        digest = base64.b64encode(hashlib.sha256(elements.scripts[text].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_nothing_is_loaded_from_elsewhere(elements: _Elements) -> None:
    for tag, attributes in elements.elements:
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(key) or "#"
            assert value.startswith(("#", "data:")), (tag, key, value)
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", elements.scripts["css"] + elements.scripts["script"])


def test_the_same_records_give_the_same_page(report: Report, html: str) -> None:
    assert rendered(report) == html


def test_names_of_elements_are_unique(elements: _Elements) -> None:
    names = [attributes["id"] for _, attributes in elements.elements if "id" in attributes]
    assert len(names) == len(set(names))


def test_a_page_of_a_hundred_records_is_small(tmp_path: Path) -> None:
    records = [
        record.model_copy(
            update={
                "pretrain": f"{record.pretrain}_{i}",
                "fingerprints": record.fingerprints.model_copy(
                    update={
                        "stage": hashlib.sha256(f"{i} {record.fingerprints.stage}".encode()).hexdigest(),
                        "recipe": hashlib.sha256(f"{i} {record.fingerprints.recipe}".encode()).hexdigest(),
                    }
                ),
            }
        )
        for i in range(8)
        for record in usual()
    ]
    assert len(records) >= 100
    report = report_of(records, tmp_path)
    html = rendered(report)
    assert len(html.encode()) < 5_000_000
    assert report.left_out == ()
    assert f"<dd>{len(records)}</dd>" in html


def test_what_makes_a_page_too_large_is_left_out(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(rendered(report).encode())
    bare = replace(report, evidence=tuple(replace(each, text=None) for each in report.evidence))
    monkeypatch.setattr(pages_module, "MOST_BYTES", whole)
    without_records = rendered(report)
    assert "All records as they are, which would make this page too large" in without_records
    assert "data:image/webp" in without_records
    monkeypatch.setattr(pages_module, "MOST_BYTES", len(rendered(bare).encode()))
    without_pictures = rendered(report)
    assert "data:image/webp" not in without_pictures
    assert drawing().title in without_pictures
    monkeypatch.setattr(pages_module, "MOST_BYTES", 1)
    least = rendered(report)
    assert drawing().title not in least
    assert least.count("would make this page too large") == 3


def test_figures_of_one_page_do_not_share_names() -> None:
    one, other = (checked_svg(SVG, name) for name in ("one", "other"))
    assert 'id="one-t"' in one
    assert 'aria-labelledby="one-t"' in one
    assert 'id="other-t"' in other
    clipped = SVG.replace("<path", '<clipPath id="c"><rect/></clipPath><path clip-path="url(#c)"')
    assert 'clip-path="url(#one-c)"' in checked_svg(clipped, "one")


@pytest.mark.parametrize(
    "inside",
    [
        "<script>1</script>",
        "<a href='https://example.org'><path/></a>",
        "<path onclick='hurt()'/>",
        "<use href='https://example.org/x.svg#y'/>",
        "<image href='data:image/png;base64,AAAA'/>",
        "<foreignObject/>",
        "<style>body { display: none }</style>",
        "<rect style='fill: url(https://example.org/x)'/>",
        "<set attributeName='onclick' to='hurt()'/>",
    ],
)
def test_a_figure_that_does_more_than_draw_is_refused(inside: str) -> None:
    with pytest.raises(BadInput, match="The figure 'curves'"):
        checked_svg(SVG.replace("</svg>", f"{inside}</svg>"), "curves")


@pytest.mark.parametrize("svg", ["", "<p>No SVG</p>", SVG[:-6], "<!DOCTYPE svg [<!ENTITY a 'b'>]>" + SVG])
def test_what_is_no_figure_is_refused(svg: str) -> None:
    with pytest.raises(BadInput, match="The figure 'curves'"):
        checked_svg(svg, "curves")


def test_the_numbers_behind_a_figure_are_there(html: str) -> None:
    assert drawing().title in html
    assert '<td class="number">0.5</td>' in html
    assert "<code>bench plot curves</code>" in html


def test_no_name_turns_the_numbers_after_it(tmp_path: Path) -> None:
    turned = "a\u202eb\u2067_c"
    records = [pspnet(name, seed, value + seed) for name, value in ((turned, 50.0), ("plain", 60.0)) for seed in (0, 1)]
    html = rendered(report_of(records, tmp_path, title=turned))
    shown = re.sub(r"<script .*?</script>", "", html, flags=re.DOTALL)  # but in records as they are
    assert "a\\u202eb\\u2067_" in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", shown)
