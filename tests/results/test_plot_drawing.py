"""Figures as they come to the reader: marks lie where numbers say, names are shown as they are, equal bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from example_logs import everything, log, sources
from example_records import linear, pspnet

from bench.cli import run
from bench.record import write
from bench.results.plots import NARROW, PLOTS, WIDE, Drawn, draw, drawn
from bench.results.plots.files import FORMATS, as_bytes
from bench.results.plots.style import VARIABLES, columns_and_lines, drawing, literal, look, number

HOSTILE = ("$x^2$", "<b>&\"'</b>", "_hidden", "url(#p1) %s {0}", "a\x00b\x1b\n]]>-->", "<script>alert(1)</script>")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> list[Drawn]:
    """Every figure, of rows with names that markup and mathtext would take for something else."""
    return drawn(everything(tmp_path_factory.mktemp("work"), HOSTILE))


def texts(svg: str) -> list[str]:
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_there_is_every_figure(figures: list[Drawn]) -> None:
    assert [each.name for each in figures] == list(PLOTS)
    assert all(each.rows and each.caption.endswith(".") for each in figures)


@pytest.mark.parametrize("name", PLOTS)
def test_an_element_stands_alone(figures: list[Drawn], name: str) -> None:
    svg = next(each.svg for each in figures if each.name == name)
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    first, second = list(root)[:2]
    assert (first.tag, first.text, second.tag) == (f"{SVG}title", PLOTS[name].title, f"{SVG}desc")
    assert root.get("aria-labelledby") == f"{first.get('id')} {second.get('id')}"
    for text in root.iter(f"{SVG}text"):
        assert "font-family: inherit;" in f"{text.get('style')};"
    tags = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert tags <= {"svg", "title", "desc", "g", "defs", "path", "use", "text", "clipPath", "rect", "pattern"}
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    assert all(one.startswith(f"plot-{name}-") for one in ids if one)
    for element in root.iter():
        for key, value in element.attrib.items():
            assert not key.startswith("on")
            for found in re.findall(r"url\(([^)]*)\)", value) + ([value] if key.endswith("href") else []):
                assert found.startswith("#")
                assert found[1:] in ids


def test_ids_of_figures_differ(figures: list[Drawn]) -> None:
    ids = [found for each in figures for found in re.findall(r'\bid="([^"]*)"', each.svg)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", PLOTS)
def test_names_are_shown_as_they_are(figures: list[Drawn], name: str) -> None:
    said = texts(next(each.svg for each in figures if each.name == name))
    words = " ".join(said)
    shown = [literal(one) for one in HOSTILE]
    assert shown[4] == "a�b��]]>-->"
    for one in shown:
        assert any(one in each for each in said) or one.replace(" ", "") in words.replace(" ", ""), one
    assert "\N{MULTIPLICATION SIGN}" not in words  # what mathtext would make of them


def test_colours_are_variables_of_the_page_or_plain(figures: list[Drawn]) -> None:
    svg = next(each.svg for each in figures if each.name == "transfer")
    for colour, variable in VARIABLES.items():
        assert not re.search(rf"(?<!, ){colour}", svg)
        if colour in svg:
            assert f"var({variable}, {colour})" in svg
    assert "var(--plot-1, #0072b2)" in svg
    assert "var(--plot-ink, #1b1b1b)" in svg
    content = PLOTS["transfer"].content(sources(linear("coco", 0, 60.0)))
    assert content is not None
    plain = as_bytes(PLOTS["transfer"], content, "svg", WIDE).decode()
    assert plain.startswith("<?xml")
    assert "var(" not in plain
    assert "inherit" not in plain
    assert plain.count("font-family: sans-serif") == plain.count("<text")
    assert "#0072b2" in plain


def test_marks_lie_where_the_numbers_say() -> None:
    records = [linear("coco", seed, value) for seed, value in enumerate((60.0, 62.0, 64.0))]
    content = PLOTS["transfer"].content(sources(*records, linear("byol", 0, 40.0)))
    assert content is not None
    svg = ElementTree.fromstring(draw(PLOTS["transfer"], content).svg)
    ticks = dict(sorted(_ticks(svg)))
    (low, at_low), *_, (high, at_high) = ticks.items()
    scale = (at_high - at_low) / (high - low)

    def value(x: float) -> float:
        return low + (x - at_low) / scale

    means = [value(x) for part in _parts(svg, "mean") for x in _uses(part)]
    assert means == pytest.approx([62.0, 40.0], abs=0.05)
    trunks = [value(x) for part in _parts(svg, "trunks") for x in _uses(part)]
    assert trunks == pytest.approx([60.0, 62.0, 64.0], abs=0.05)
    (bar,) = [part.find(f"{SVG}path") for part in _parts(svg, "interval")]
    assert bar is not None
    ends = [value(float(word)) for word in re.findall(r"[ML] (\S+) \S+", bar.get("d") or "")]
    row = next(row for row in content.rows if row["pretrain"] == "coco")
    assert ends == pytest.approx([row["low"], row["high"]], abs=0.05)


def _parts(svg: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """The groups of artists of this name."""
    return (each for each in svg.iter(f"{SVG}g") if re.fullmatch(rf"plot-transfer-{name}(_\d+)?", each.get("id") or ""))


def _uses(part: ElementTree.Element) -> list[float]:
    return [float(each.get("x") or "nan") for each in part.iter(f"{SVG}use")]


def _ticks(svg: ElementTree.Element) -> Iterator[tuple[float, float]]:
    """(number, place) of the ticks of the first x axis."""
    for each in svg.iter(f"{SVG}g"):
        if re.fullmatch(r"plot-transfer-xtick_\d+", each.get("id") or ""):
            (words,) = ["".join(text.itertext()) for text in each.iter(f"{SVG}text")]
            yield float(words), _uses(each)[0]


def test_a_bar_beyond_the_axes_is_cut_and_said() -> None:
    wide = [linear("coco", seed, value) for seed, value in enumerate((60.0, 60.5))]
    content: Any = PLOTS["transfer"].content(sources(*wide, linear("byol", 0, 59.0)))
    assert "An arrow marks" in content.caption
    with drawing("test"):
        (axes,) = content.figure(WIDE).axes
    low, high = axes.get_xlim()
    row = next(row for row in content.rows if row["pretrain"] == "coco")
    assert row["low"] < low < 59.0 < 60.5 < high < row["high"]
    assert [line.get_marker() for line in axes.lines if line.get_marker() in "<>"] == ["<", ">"]


def test_curves_lie_where_the_numbers_say(tmp_path: Path) -> None:
    log(tmp_path, "byol", 0, [{"step": step, "loss": 1.0 / step} for step in range(1, 9)])
    content = PLOTS["losses"].content(sources(work=tmp_path))
    assert content is not None
    with drawing("test"):
        (axes,) = content.figure(NARROW).axes
    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[row["step"], row["value"]] for row in content.rows]  # type: ignore[union-attr]
    assert axes.get_xlabel() == "Optimizer step"


def test_equal_numbers_give_equal_bytes_whatever_matplotlib_is_set_to(tmp_path: Path) -> None:
    import matplotlib

    plot, records = PLOTS["transfer"], [linear("coco", seed, 60.0 + seed) for seed in range(2)]
    before = []
    for again in (False, True):
        content = plot.content(sources(*(reversed(records) if again else records)))
        assert content is not None
        with matplotlib.rc_context({"font.size": 30, "xtick.direction": "in", "axes.xmargin": 0.4} if again else {}):
            made = [as_bytes(plot, content, ending, WIDE) for ending in FORMATS] + [draw(plot, content).svg.encode()]
            assert matplotlib.rcParams["font.size"] == (30 if again else matplotlib.rcParamsDefault["font.size"])
        before = before or made
    assert made == before
    assert [each[:4] for each in made] == [b"<?xm", b"%PDF", b"\x89PNG", b"<svg"]
    assert b"CreationDate" not in made[1]


def test_numbers_of_axes() -> None:
    assert [number(value) for value in (0, 0.5, 20000, 1e-5, 2.5e-5, -2.0, 1e9, -1e-4, -2e7)] == [
        *("0", "0.5", "20,000", "10⁻⁵", "2.5e−05", "−2", "10⁹", "−0.0001", "−2e+07"),
    ]
    assert len({(look(place).colour, look(place).marker) for place in range(63)}) == 63
    assert len({(look(place).colour, str(look(place).dashes)) for place in range(35)}) == 35


# ------------------------------------------------------------------------------------------------ sizes


def test_long_curves_are_a_small_figure(tmp_path: Path) -> None:
    lines = [{"step": 9 * step, **{f"loss{n}": step * 7919 % 1000 / (n + 1) for n in range(3)}} for step in range(2000)]
    for name in ("byol", "two_loss"):
        for seed in range(3):
            log(tmp_path, name, seed, lines)
    content = PLOTS["losses"].content(sources(work=tmp_path))
    assert content is not None
    assert 30_000 < len(draw(PLOTS["losses"], content).svg) < 60_000


def test_means_of_one_epoch_stand_side_by_side(tmp_path: Path) -> None:
    content: Any = PLOTS["transfer-over-epochs"].content(everything(tmp_path, ["byol", "simclr"]))
    assert "drawn side by side" in content.caption
    with drawing("test"):
        (axes,) = content.figure(WIDE).axes
    means = [line for line in axes.lines if line.get_gid() == "mean"]
    drawn_at = [(line.get_xdata()[0], line.get_ydata()[0]) for line in means]
    assert len({x for x, _ in drawn_at}) == len(drawn_at) == 4
    wanted = [(row["epochs"], row["mean"]) for row in content.rows]
    assert drawn_at == [(pytest.approx(x, abs=0.01), y) for x, y in wanted]


@pytest.mark.slow
def test_all_figures_of_a_hundred_records_fit_a_page(tmp_path: Path) -> None:
    of = everything(tmp_path, [f"pretraining_{number}" for number in range(13)])
    assert len(of.records) > 100
    assert sum(len(each.svg) for each in drawn(of)) < 1_500_000


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for record in [linear("coco", 0, 60.0), linear("byol", 0, 50.0), pspnet("coco", 0, 40.0)]:
        write(record, folder / "records")
    return folder


def test_the_command_writes_files(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["plot", "transfer", "--results-dir", str(results), "--rows", "coco", "--width", "column"]
    assert run(words) == 0
    assert "wrote transfer.svg" in capsys.readouterr().out
    said = texts((tmp_path / "transfer.svg").read_text())
    assert "coco" in said
    assert "byol" not in said
    assert ElementTree.parse(tmp_path / "transfer.svg").getroot().get("width") == "237.6pt"  # 3.3 inches
    assert run([*words, "--to", "a/b.pdf", "c.png"]) == 0
    assert (tmp_path / "a" / "b.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_the_list_says_what_is_lacking(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log(tmp_path, "byol", 0, [{"step": 1, "loss": 2.0}])
    assert run(["plot", "--list", "--results-dir", str(results), "--work-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    after = {line.partition(":")[0]: lines[place + 1] for place, line in enumerate(lines[:-1]) if line[0] != " "}
    assert list(after)[:2] == ["transfer", "trade-off"]
    assert not after["transfer"].startswith("  not here")
    assert not after["losses"].startswith("  not here")
    assert after["trade-off"].startswith("  not here: No two rows here")
    assert after["spectra"].startswith("  not here: No record here has a spectrum")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trnasfer"], "There is no figure 'trnasfer'; did you mean transfer"),
        ([], "bench plot needs the name of a figure: transfer, trade-off"),
        (["transfer", "--to", "a.jpg"], "A figure is written as .svg, .pdf, .png, and a.jpg is none of them"),
        (["transfer", "--rows", "coca"], "Neither a record nor a log is of the row 'coca'; did you mean coco"),
        (["losses"], "No pretraining in these work folders has logged a loss; give the --work-dir"),
        (["losses", "--work-dir", "/nowhere"], "There is no work folder /nowhere; give the --work-dir"),
        (["transfer", "--to", "/dev/null/a.svg"], "Cannot write /dev/null/a.svg"),
    ],
)
def test_refused(results: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plot", *words, "--results-dir", str(results)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"bench: {message}")
    assert said.count("\n") == 1


def test_panels_leave_few_places_empty() -> None:
    assert [columns_and_lines(count, 3) for count in (1, 2, 3, 4, 5, 7, 10)] == [
        *((1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (3, 3), (3, 4)),
    ]
