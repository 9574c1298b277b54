"""What a page shows of records: tables of one architecture, what is believed, what stands behind a cell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from example_records import pspnet
from pages import behind, folder_of, report_of, usual, with_pictures

from bench import cli
from bench.errors import BadInput
from bench.record import Record, write
from bench.results.report import gathering
from bench.results.report.gathering import gathered
from bench.results.report.shown import Report, ShownCell, ShownTable
from bench.results.tables import build_tables


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report_of(usual(), tmp_path_factory.mktemp("usual"))


def _cells(table: ShownTable, header: str) -> dict[str, ShownCell | None]:
    place = next(i for i, column in enumerate(table.columns) if column.header == header)
    return {row.name: row.cells[place] for row in table.rows}


def _cell(table: ShownTable, header: str, name: str) -> ShownCell:
    cell = _cells(table, header)[name]
    assert cell is not None
    return cell


def test_one_architecture_a_table_and_diagnostics_apart(report: Report) -> None:
    assert [table.arch for table in report.results] == ["resnet18", "resnet50"]
    assert [[row.name for row in table.rows] for table in report.results] == [
        ["coco"],
        ["random_init", "coco", "coco_two_loss"],
    ]
    assert [table.arch for table in report.diagnostics] == ["resnet50"]
    assert not any(group == "diagnostics" for table in report.results for group, _ in table.groups)
    assert dict(report.counts)["records"] == "14"
    assert report.filters["dataset"] == ("cityscapes", "imagenet")


def test_cells_say_what_tables_say(report: Report, tmp_path: Path) -> None:
    records = [record for record in usual() if record.arch == "resnet50" and record.kind != "diagnostics"]
    (section,) = build_tables(records, tmp_path)
    table = report.results[1]
    assert [len(row.cells) for row in table.rows] == [len(section.columns)] * 3
    for row, shown in zip(section.rows, table.rows, strict=True):
        for cell, one in zip(row.cells, shown.cells, strict=True):
            assert (cell is None) == (one is None)
            if cell is not None and one is not None:
                assert one.best == cell.best
                assert one.symbol == (cell.verdict.symbol if cell.verdict else "")
                assert one.sort == cell.summary.mean
    cell = _cell(table, "mIoU", "coco")
    assert (cell.text, cell.spread, cell.count, cell.difference) == ("65.00", "± 1.00", "3 trunks", "+4.00")
    assert (cell.symbol, cell.verdict) == ("↑", "higher")
    assert {name for name, cell in _cells(table, "mIoU").items() if cell and cell.best} == {"coco", "coco_two_loss"}


def test_what_stands_behind_a_cell(report: Report) -> None:
    cell = _cell(report.results[1], "mIoU", "coco")
    facts = dict(cell.facts)
    assert facts["Values"] == "64.00; 65.00; 66.00"
    # Welch by hand: 4 ± 2.776 · √(1/3 + 1/3), of 4 degrees of freedom
    assert facts["95 % interval of it"].startswith("[+1.73, +6.27]")
    assert facts["Verdict"].startswith("higher; p = ")
    assert "Holm" in facts["Verdict"]
    assert facts["With intervals by images"].startswith("bench compare 'coco @")
    assert [seeds for _, seeds, _ in cell.records] == ["seed 0", "seed 1", "seed 2"]
    assert [value for *_, value in cell.records] == ["64", "65", "66"]
    evidence = {each.key: each for each in report.evidence}
    first = evidence[cell.records[0][0]]
    assert first.behind.command == "bench run --pretrain coco"
    assert first.load_proof == (("C2", "2.5e-07"), ("C5 bf16", "0.004"))
    assert [stage.title for stage in first.chain] == ["pretrain coco-s0", "segmentation coco-s0"]
    assert dict(first.chain[0].facts)["Code"] == f"commit {'c' * 40}"
    assert "A processor, 2 cores" in dict(first.chain[0].facts)["Machine"]
    sides = dict(report.settings[first.settings])
    assert dict(sides["Task"])["epochs"] == "4"
    two_loss = evidence[_cell(report.results[1], "mIoU", "coco_two_loss").records[0][0]]
    assert dict(two_loss.facts)["Hash of the weights"] == "a0" * 16


def test_what_is_believed(report: Report) -> None:
    findings = {finding.about: finding for finding in report.results[1].findings}
    miou = findings["cityscapes_pspnet, mIoU"]
    assert miou.judged
    assert miou.sentences[0] == "coco_two_loss has the highest mean, 65.20, and coco cannot be told from it."
    assert miou.sentences[1].startswith("Higher than random_init: coco by +4.00 [+1.73, +6.27], p\u00a0=")
    single = findings["imagenet_linear, ImageNet acc"]
    assert not single.judged
    assert "none has two values or more" in single.sentences[0]
    assert not report.results[0].findings  # a single row


def test_what_mars_a_comparison(tmp_path: Path) -> None:
    control = [pspnet("random_init", s, 60.0 + s, images_skipped=3) for s in range(2)]
    records = [*control, *(pspnet("coco", s, 64.0 + s) for s in range(2))]
    (table,) = report_of(records, tmp_path).results
    assert table.marred == ("random_init: 6 unreadable images were skipped.",)
    assert _cell(table, "mIoU", "coco").marred == table.marred
    assert _cell(table, "mIoU", "random_init").marred == ()


def test_verdicts_are_of_one_architecture(tmp_path: Path) -> None:
    """A much better row of another architecture takes neither bold nor a verdict away."""
    small = [pspnet("coco", s, 20.0 + s, recipe="small", arch="resnet18") for s in range(3)]
    small += [pspnet("random_init", s, 10.0 + s, recipe="small", arch="resnet18") for s in range(3)]
    large = [pspnet("coco_two_loss", s, 80.0 + s) for s in range(3)]
    report = report_of([*small, *large], tmp_path)
    cell = _cell(report.results[0], "mIoU", "coco")
    assert cell.best
    assert (cell.difference, cell.symbol) == ("+10.00", "↑")


STUDY = """
source = "a paper"
[tables.printed]
file = "printed.csv"
gap = false
rows = [{ column = "data", field = "pretrain_set" }, { column = "pretrain", field = "pretrain" },
        { column = "backbone", field = "backbone" }]
columns = [
  { column = "miou", task = "cityscapes_pspnet", metric = "miou_percent", header = "mIoU" },
  { column = "acc", task = "imagenet100_linear", metric = "top1_percent", header = "acc" },
]
published_notes = ["† From a paper."]
"""
PRINTED = "data,pretrain,backbone,miou,acc\nimagenet,coco,resnet50,70.0,80.0\ncoco,coco,resnet18,50.0,60.0\n"


def test_published_rows_stand_beside_the_same_task_alone(tmp_path: Path) -> None:
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "study.toml").write_text(STUDY)
    (tmp_path / "reference" / "printed.csv").write_text(PRINTED)
    report = report_of([pspnet("coco", s, 64.0 + s, profile="full") for s in range(2)], tmp_path)
    (table,) = report.results
    assert [(row.name, row.published) for row in table.rows] == [("coco", False), ("coco", True)]
    assert "acc" not in [column.header for column in table.columns]  # was measured by nobody here
    printed = table.rows[1]
    assert printed.differs == "pretrain set imagenet, here coco; its protocol is not known to be this one"
    shown = [cell for cell in printed.cells if cell is not None]
    assert [cell.text for cell in shown] == ["70.00"]
    facts = dict(shown[0].facts)
    assert facts["Source"] == "From a paper."
    assert facts["What differs"] == printed.differs


def test_a_number_less_a_published_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "study.toml").write_text(STUDY.replace("gap = false", "gap = true"))
    (tmp_path / "reference" / "printed.csv").write_text(PRINTED)
    _, gap = report_of([pspnet("coco", 0, 64.0, profile="full", pretrain_set="imagenet")], tmp_path).results
    cell = _cell(gap, "mIoU", "coco")
    assert (cell.text, cell.title) == ("−6.00", "coco: mIoU, measured less published")
    assert dict(cell.facts)["What the numbers are"].startswith("what a record says less the published value")
    assert cell.records[0][2] == "64"


def test_what_has_no_room_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(usual(), tmp_path)
    monkeypatch.setattr(gathering, "MOST_TEXT", 3000)
    monkeypatch.setattr(gathering, "MOST_RECORDS", 4)
    report = gathered(tmp_path, (), behind)
    assert len(report.evidence) == 4
    missing = sum(each.text is None for each in report.evidence)
    assert 0 < missing < 4
    assert report.left_out[0].startswith(f"{missing} records as they are")
    assert report.left_out[1].startswith("What stands behind 10 records")


def test_no_records_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"There are no records in .*records to report on"):
        gathered(tmp_path, (), behind)


def test_the_command_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = Path(__file__).parents[2] / "results" / "records"
    (tmp_path / "records").mkdir()
    for file in sorted(source.glob("cifar10_byol_loss*__cifar10_knn5__*.json")):
        shutil.copy(file, tmp_path / "records")
    to = tmp_path / "pages" / "page.html"
    command = ["report", "--results-dir", str(tmp_path), "--work-dir", str(tmp_path), "--to", str(to)]
    assert cli.run([*command, "--title", "Two & more"]) == 0
    assert f"{to}: 2 tables from 2 records" in capsys.readouterr().out
    html = to.read_text()
    assert "<h1>Two &amp; more</h1>" in html
    assert "bench run --pretrain cifar10_byol_loss1 --downstream cifar10_knn5" in html
    assert str(tmp_path) not in html


def test_the_work_folder_is_runs_unless_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of([pspnet("coco", 0, 60.0)], tmp_path / "results")
    with_pictures(tmp_path / "runs")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    for words, drawn in (([], True), (["--work-dir", "other"], False)):
        assert cli.run(["report", *words]) == 0
        assert ('alt="An overlay"' in Path("report.html").read_text()) == drawn


def test_a_title_of_a_shell_with_another_encoding_is_written(tmp_path: Path) -> None:
    to = tmp_path / "page.html"
    folder_of([pspnet("coco", 0, 1.0)], tmp_path)
    assert cli.run(["report", "--results-dir", str(tmp_path), "--to", str(to), "--title", "Caf\udce9"]) == 0
    assert "<h1>Caf?</h1>" in to.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "{folder}"], "is a folder; give --to the name of a file"),
        (["--work-dir", "{folder}/none"], "There is no work folder"),
        (["--to", "{folder}/file/page.html"], "Cannot write to"),
        ([], "There are no records in"),
    ],
)
def test_bad_input_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    (tmp_path / "file").touch()
    if options:
        write(pspnet("coco", 0, 1.0), tmp_path / "records")
    given = [each.format(folder=tmp_path) for each in options]
    assert cli.run(["report", "--results-dir", str(tmp_path), "--to", str(tmp_path / "page.html"), *given]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_stages_of_cells_are_those_of_their_values(tmp_path: Path) -> None:
    records: list[Record] = usual()
    for section in build_tables([one for one in records if one.kind != "diagnostics"], tmp_path):
        for row in section.rows:
            for column, cell in zip(section.columns, row.cells, strict=True):
                if cell is not None:
                    by_stage = {record.fingerprints.stage: record for record in records}
                    values = [by_stage[stage].metrics[column.metric] for stage in cell.stages]
                    assert values == [value for trunk in cell.values for value in trunk]
                    assert {by_stage[stage].pretrain for stage in cell.stages} == {row.name}
