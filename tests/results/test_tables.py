"""The transfer table: values worked out by hand, protocols that never mix, published rows, the folder of tables."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from example_records import THREE, linear, lines_of, make, pspnet

from bench.config.studies import tables_of
from bench.errors import BadInput
from bench.record import Record, write
from bench.results import definitions
from bench.results.formats import SUFFIXES, render
from bench.results.published import read_published
from bench.results.sections import Section
from bench.results.tables import build_tables, check_tables, pages_of, write_tables

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
NONE = Path("no such folder")


def cells(sections: list[Section], key: str = "mini") -> dict[str, dict[str, str]]:
    """{row: {column: text}} of a section."""
    return {line["Pretrain"]: line for line in lines_of(sections, key)}


def test_a_table_by_hand() -> None:
    # coco: mean 65, deviation 1; random_init: 61 and 1; so t = 4 / sqrt(2/3) = 4.9 at 4 degrees of freedom, p = .008.
    # coco_two_loss: (64.5 + 65.5 + 65.6) / 3 = 65.2; squares .49 + .09 + .16 = .74, / 2 = .37, root .6083. It is not
    # told from coco, so that both are bold; one seed is never.
    table = cells(build_tables(THREE, NONE))
    assert list(table) == ["random_init", "coco", "coco_two_loss"]
    heads = ["Pretrain set", "Pretrain", "Backbone", "aAcc", "mIoU", "mAcc", "ImageNet acc"]
    assert list(table["coco"]) == heads
    assert table["random_init"]["mIoU"] == "61.00 ± 1.00 (3)"
    assert table["coco"]["mIoU"] == "**65.00** ± 1.00 (3) +4.00 ↑"
    assert table["coco_two_loss"]["mIoU"] == "**65.20** ± 0.61 (3) +4.20 ↑"
    assert table["coco"]["ImageNet acc"] == "42.12 (1) +32.12 ?"
    assert table["coco_two_loss"]["ImageNet acc"] == "–"


def test_the_notes_say_which_rows_differ() -> None:
    (section,) = build_tables(THREE, NONE)
    line = next(note for note in section.notes if note.startswith("By mIoU"))
    # Of three pairs coco_two_loss has the lowest p (.0062), which counts three times, and coco's (.0080) no less.
    assert "p < 0.05 after Holm's correction over 3 pairs" in line
    assert "coco > random_init (p = 0.019)" in line
    assert "not distinguishable: coco ≈ coco_two_loss" in line
    assert "Seeds a cell: 1 to 3." in section.notes
    protocol = THREE[0].fingerprints.protocol
    assert any(f"protocol {protocol} (About cityscapes_pspnet; epochs=4)" in note for note in section.notes)
    assert any(f"data {'d' * 16}" in note for note in section.notes)


def computed(pretrain: str, seed: int, trained_in: str, measured_in: str) -> Record:
    """A record whose settings leave the precision to the machine."""
    settings = {"pretrain": {"precision": "auto"}, "downstream": {"summary": "About.", "precision": "auto"}}
    precision = {"pretrain": trained_in, "segmentation": measured_in} if pretrain != "random_init" else {}
    return pspnet(pretrain, seed, 60.0 + seed, settings=settings, precision=precision | {"segmentation": measured_in})


def test_notes_say_what_precision_auto_was() -> None:
    (section,) = build_tables([computed("coco", 0, "bf16", "bf16"), computed("random_init", 0, "", "bf16")], NONE)
    (protocol,) = [note for note in section.notes if "protocol" in note]
    assert "precision=auto" in protocol
    assert protocol.endswith(f"data {'d' * 16}. Computed in bf16.")
    assert "Pretrained in bf16." in section.notes


def test_notes_say_which_rows_of_a_column_mix_precisions() -> None:
    records = [computed("coco", 0, "bf16", "bf16"), computed("coco", 1, "float32", "float32")]
    (section,) = build_tables([*records, computed("random_init", 0, "", "float32")], NONE)
    (protocol,) = [note for note in section.notes if "protocol" in note]
    assert "Mixed precision: computed in bf16: coco seed 0; in float32: coco seed 1, random_init seed 0." in protocol
    assert "Mixed precision: pretrained in bf16: coco seed 0; in float32: coco seed 1." in section.notes


def defined(definitions: dict[str, int], **changes: Any) -> list[Record]:
    """Two seeds of a row whose pretraining had these definitions."""
    settings = {"pretrain": {"objective": {"name": "densecl"}}, "downstream": {"summary": "About."}}
    changes = {"settings": settings, "recipe": repr(definitions), "definitions": definitions} | changes
    return [pspnet("coco_densecl", seed, 60.0 + seed, **changes) for seed in (0, 1)]


def test_rows_of_an_older_definition_are_marked_and_stay_in_their_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "definition_of", {"densecl": 3, "byol": 2, "moco": 1}.__getitem__)
    old, now = defined({}), defined({"densecl": 3, "moco": 1, "mine.py:Mine": 4})
    continued = defined({"densecl": 3, "byol": 1})
    (section,) = build_tables([*old, *now, *continued, pspnet("random_init", 0, 60.0)], NONE)
    table = cells([section])
    marked = {name for name in table if name.endswith(" ‡")}
    of = {
        name: next(row for row in table if row.startswith(f"coco_densecl @{one[0].fingerprints.recipe[:8]}"))
        for name, one in (("old", old), ("now", now), ("continued", continued))
    }
    assert marked == {of["old"], of["continued"]}
    assert [column for column in table[of["old"]] if "mIoU" in column] == ["mIoU"]  # one column, as before
    (note,) = [note for note in section.notes if note.startswith("‡")]
    labels = {name: word.removesuffix(" ‡") for name, word in of.items()}
    assert f"{labels['old']} (densecl: as of definition 1, today's is 3)" in note
    assert f"{labels['continued']} (byol: as of definition 1, today's is 2)" in note
    assert labels["now"] not in note


def test_every_format_marks_an_older_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "definition_of", lambda name: 2)
    sections = build_tables(defined({}), NONE)
    assert "| coco_densecl ‡ |" in render(sections, "markdown")
    assert r"coco\_densecl\textsuperscript{$\ddagger$}" in render(sections, "latex")
    assert "coco_densecl ‡<" in render(sections, "html")
    for records, word in ((defined({}), "densecl: as of definition 1, today's is 2"), (defined({"densecl": 2}), "")):
        (line,) = csv.DictReader(io.StringIO(render(build_tables(records, NONE), "csv")))
        assert line["older definition"] == word


@pytest.mark.parametrize("format", ["markdown", "latex", "html"])
def test_the_header_of_a_column_says_that_it_mixes_precisions(format: str) -> None:
    mixed = [computed("coco", 0, "bf16", "bf16"), computed("coco", 1, "bf16", "float32")]
    assert "mIoU (mixed precision)" in render(build_tables(mixed, NONE), format)
    assert "(mixed precision)" not in render(build_tables(mixed[:1], NONE), format)
    # Records whose config names the precision have columns by protocol, with their headers as they were.
    settings = {"pretrain": {}, "downstream": {"precision": "bf16"}}
    chosen = [record.model_copy(update={"settings": settings}) for record in mixed]
    assert "(mixed precision)" not in render(build_tables(chosen, NONE), format)


def test_the_header_of_a_column_says_that_its_pretrainings_mixed_precisions() -> None:
    mixed = [computed("coco", 0, "bf16", "bf16"), computed("coco_two_loss", 0, "float32", "bf16")]
    assert "mIoU (mixed precision of pretraining)" in render(build_tables(mixed, NONE), "markdown")
    both = [mixed[0], computed("coco_two_loss", 0, "float32", "float32")]
    assert "mIoU (mixed precision)" in render(build_tables(both, NONE), "markdown")
    control = [mixed[0], computed("random_init", 0, "", "bf16")]  # in nothing
    assert "(mixed" not in render(build_tables(control, NONE), "markdown")


def test_a_pretraining_that_continues_one_in_another_precision_is_mixed() -> None:
    record = computed("coco", 0, "bf16", "bf16")
    same, other = (
        record.model_copy(update={"precision": record.precision | {"pretrain imagenet_0-s0": precision}})
        for precision in ("bf16", "float32")
    )
    assert "(mixed" not in render(build_tables([same], NONE), "markdown")
    (section,) = build_tables([other], NONE)
    assert "mIoU (mixed precision of pretraining)" in render([section], "markdown")
    assert "Pretrained in bf16 and float32." in section.notes


def test_the_columns_of_a_csv_file_are_named_alike_whatever_the_precision() -> None:
    def lines(*records: Record) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(render(build_tables(records, NONE), "csv"))))

    coco = [computed("coco", 0, "bf16", "bf16"), computed("coco", 1, "bf16", "float32")]
    random = computed("random_init", 0, "", "bf16")
    (plain, mixed), (alone,) = lines(*coco, random), lines(coco[0])
    assert [mixed["mIoU precision"], plain["mIoU precision"]] == ["bf16 and float32", "bf16"]
    assert list(mixed) == list(alone)
    assert (mixed["mIoU"], alone["mIoU"]) == ("60.5", "60.0")


def test_only_diagnostics_have_the_note_on_their_units() -> None:
    theirs = make("coco", "imagenet_norm", 0, kind="norm.py:Norm", metrics={"norm": 1.0}, columns={"norm": "norm"})
    ours = make("coco", "diagnostics", 0, kind="diagnostics", metrics={"backbone_rankme": 3.0})
    for records, said in (([theirs], False), ([theirs, ours], True)):
        (section,) = build_tables(records, NONE)
        assert any("RankMe" in note for note in section.notes) == said


def test_one_seed_is_never_judged() -> None:
    (section,) = build_tables([pspnet("coco", 0, 65.0), pspnet("random_init", 0, 60.0)], NONE)
    assert cells([section])["coco"]["mIoU"] == "65.00 (1) +5.00 ?"
    assert any("no pair judged" in note for note in section.notes)
    assert any("One seed a cell" in note for note in section.notes)


def test_differences_are_to_the_chosen_baseline() -> None:
    table = cells(build_tables(THREE, NONE, baseline="coco"))
    assert table["random_init"]["mIoU"] == "61.00 ± 1.00 (3) −4.00 ↓"
    assert table["coco_two_loss"]["mIoU"] == "**65.20** ± 0.61 (3) +0.20 ≈"
    assert table["coco"]["mIoU"] == "**65.00** ± 1.00 (3)"
    without = cells(build_tables([r for r in THREE if r.pretrain != "random_init"], NONE))
    assert without["coco"]["mIoU"] == "**65.00** ± 1.00 (3)"


def test_an_unknown_baseline_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"'coco_twoloss'.*did you mean coco_two_loss"):
        build_tables(THREE, NONE, baseline="coco_twoloss")


def test_rows_that_look_alike_are_both_bold_and_a_single_row_is_not() -> None:
    rows = [pspnet(name, seed, 65.0 + seed + more) for name, more in (("a", 0), ("b", 0.001)) for seed in (0, 1)]
    table = cells(build_tables(rows, NONE))
    assert table["a"]["mIoU"] == table["b"]["mIoU"] == "**65.50** ± 0.71 (2)"
    alone = cells(build_tables(rows[:2], NONE))
    assert alone["a"]["mIoU"] == "65.50 ± 0.71 (2)"


# ------------------------------------------------------------------------------------- never mixing


def test_two_protocols_of_a_task_have_a_column_each() -> None:
    records = [linear("coco", 0, 40.0, protocol="p"), linear("coco", 1, 60.0, protocol="q")]
    table = cells(build_tables(records, NONE))
    hashes = [record.fingerprints.protocol for record in records]
    assert table["coco"][f"ImageNet acc \\[{hashes[0]}\\]"] == "40.00 (1)"
    assert table["coco"][f"ImageNet acc \\[{hashes[1]}\\]"] == "60.00 (1)"
    assert "ImageNet acc" not in table["coco"]


def test_two_versions_of_the_data_have_a_column_each() -> None:
    records = [linear("coco", 0, 40.0), linear("coco", 1, 60.0, data={"imagenet": "e" * 16})]
    heads = [head for head in cells(build_tables(records, NONE))["coco"] if head.startswith("ImageNet")]
    assert len(heads) == 2
    assert "data dddddddd" in heads[0]
    assert "data eeeeeeee" in heads[1]


def test_two_recipes_of_a_name_have_a_row_each() -> None:
    records = [linear("coco", 0, 40.0), linear("coco", 0, 60.0, recipe="other"), linear("random_init", 0, 10.0)]
    table = cells(build_tables(records, NONE))
    labels = sorted(f"coco @{record.fingerprints.recipe[:8]}" for record in records[:2])
    assert list(table) == ["random_init", *labels]
    assert sorted(table[label]["ImageNet acc"] for label in labels) == ["40.00 (1) +30.00 ?", "60.00 (1) +50.00 ?"]
    with pytest.raises(BadInput, match=f"ambiguous; say one of {labels[0]}, {labels[1]}"):
        build_tables(records, NONE, baseline="coco")
    assert cells(build_tables(records, NONE, baseline=labels[0]))[labels[0]]["ImageNet acc"].count("?") == 0


def test_profiles_have_a_section_each() -> None:
    records = [
        linear("coco", 0, 40.0),
        linear("coco", 0, 60.0, profile="full"),
        linear("coco", 0, 9.0, profile="smoke"),
    ]
    sections = build_tables(records, NONE)
    assert [section.key for section in sections] == ["full", "mini", "smoke"]
    assert [cells(sections, key)["coco"]["ImageNet acc"] for key in ("full", "mini", "smoke")] == [
        "60.00 (1)",
        "40.00 (1)",
        "9.00 (1)",
    ]


@pytest.mark.parametrize("stage", ["f" * 64, "0" * 64])  # which of two is newer is in no fingerprint
def test_a_seed_counts_once(stage: str) -> None:
    again = {"fingerprints": linear("coco", 0, 0.0).fingerprints.model_copy(update={"stage": stage})}
    newer = linear("coco", 0, 50.0, **again, created="2025-02-01T00:00:00+00:00")
    (section,) = build_tables([newer, linear("coco", 0, 40.0)], NONE)
    assert cells([section])["coco"]["ImageNet acc"] == "50.00 (1)"
    assert any("1 older records" in note for note in section.notes)


def test_further_tasks_get_columns_after_the_decks() -> None:
    records = [
        make("coco", "imagenet_knn", 0, metrics={"top1_percent": 30.0, "top5_percent": 60.0}),
        linear("coco", 0, 41.0, task="imagenet_linear_sweep"),
        linear("coco", 0, 70.0, task="imagenet100_linear"),
        linear("coco", 0, 40.0),
    ]
    table = cells(build_tables(records, NONE))
    assert list(table["coco"])[3:] == [
        "ImageNet acc",
        "ImageNet-100 acc",
        "imagenet_knn top-1",
        "imagenet_linear_sweep top-1",
    ]


# ------------------------------------------------------------------------------------- published rows


def test_what_older_records_of_an_edited_kind_measured_keeps_its_column() -> None:
    def norm(pretrain: str, protocol: str, **changes: Any) -> Record:
        values = {"kind": "norm.py:Norm", "dataset": "imagenet", "protocol": protocol, **changes}
        return make(pretrain, "imagenet_norm", 0, **values)

    records = [
        norm("coco", "old", metrics={"norm": 1.0, "std": 2.0}, columns={"norm": "norm", "std": "spread"}),
        norm("random_init", "new", metrics={"norm": 3.0}, columns={"norm": "length"}, created="2025-02-01T00:00:00"),
        norm("coco", "older", metrics={"share_percent": 4.0}, created="2024-02-01T00:00:00"),  # said no columns
    ]
    for order in (records, records[::-1]):
        coco, random = sorted(lines_of(build_tables(order, REFERENCE), "mini"), key=lambda line: line["Pretrain"])
        cells = {column: text for column, text in coco.items() if column.startswith("imagenet_norm ")}
        assert len(cells) == 4, cells
        assert {text.split(" ")[0].strip("*") for text in cells.values()} == {"1.00", "2.00", "4.00", "–"}
        assert any(text.startswith("3.00") for column, text in random.items() if "length" in column)


def test_published_values_are_the_decks() -> None:
    tables = tables_of(REFERENCE)
    rows = {row.texts["pretrain"]: row.values for row in read_published(tables["transfer"], REFERENCE)}
    assert len(rows) == 7
    assert rows["coco_two_loss"]["cityscapes_pspnet", "miou_percent"] == 65.19
    assert rows["imagenet_1"]["imagenet100_linear", "top1_percent"] == pytest.approx(78.28)
    assert ("imagenet_linear", "top1_percent") not in rows["imagenet_1"]
    small = read_published(tables["small_images"], REFERENCE)
    assert len(small) == 8
    # The deck's total is the plain sum of its two losses.
    for row in small:
        if ("", "loss1") in row.values:
            loss, loss1, loss2 = (row.values["", name] for name in ("loss", "loss1", "loss2"))
            assert loss1 + loss2 == pytest.approx(loss, abs=1.1e-4), row.texts


def test_published_rows_stand_beside_measured_ones_and_do_not_compete() -> None:
    records = [pspnet("coco", s, 20.0 + s, profile="full") for s in (0, 1)]
    records.append(pspnet("random_init", 0, 10.0, profile="full"))
    sections = build_tables(records, REFERENCE)
    assert [section.key for section in sections] == ["full", "small_images"]  # nothing is subtracted from transfer rows
    table = cells(sections, "full")
    assert table["coco †"]["mIoU"] == "64.97"
    assert table["coco †"]["ImageNet acc"] == "42.14"
    assert table["imagenet_1 †"]["ImageNet-100 acc"] == "78.28"
    assert table["coco"]["mIoU"].startswith("20.50 ± 0.71 (2) +10.50")
    assert any("not stated. No difference is computed" in note for note in sections[0].notes)
    assert [row.published for row in sections[0].rows] == [False] * 2 + [True] * 7


def test_with_several_measured_protocols_published_values_get_their_own_column() -> None:
    records = [linear("coco", 0, 40.0, profile="full"), linear("coco", 0, 60.0, protocol="q", profile="full")]
    table = cells(build_tables(records, REFERENCE), "full")
    assert table["coco †"]["ImageNet acc \\[published\\]"] == "42.14"
    assert table["coco"]["ImageNet acc \\[published\\]"] == "–"
    assert [text for head, text in table["coco †"].items() if head.startswith("ImageNet acc \\[")].count("–") == 2


def test_the_full_section_stands_without_measured_rows_and_small_images_have_their_own() -> None:
    sections = build_tables([], REFERENCE)
    assert [section.key for section in sections] == ["full", "small_images"]
    text = render(sections, "markdown")
    assert (
        "| stl10     | 96           | byol+two-loss † | 2000     | resnet18   | 4096         |  91.08 (−0.66) |" in text
    )
    assert "probably a copy error" in text


# ------------------------------------------------------------------------------------------ folders


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for record in THREE:
        write(record, tmp_path / "records")
    return tmp_path


def test_written_tables_check_and_do_not_depend_on_the_order_of_records(results: Path) -> None:
    files = write_tables(results)
    assert [file.name for file in files] == [
        f"{page}.{suffix}" for page in ("transfer", "resources") for suffix in ("md", "csv", "tex", "html")
    ]
    assert check_tables(results) == []
    assert sorted(path.name for path in (results / "tables").iterdir()) == sorted(file.name for file in files)
    assert render(build_tables(THREE[::-1], NONE), "markdown") == files[0].read_text()
    assert pages_of(results)[0].text("markdown") == files[0].read_text()


@pytest.mark.parametrize("suffix", ["md", "csv", "tex", "html"])
def test_check_finds_a_changed_digit(results: Path, suffix: str) -> None:
    write_tables(results)
    file = results / "tables" / f"transfer.{suffix}"
    text = file.read_text()
    assert "65.2" in text
    file.write_text(text.replace("65.2", "66.2", 1))
    (difference,) = check_tables(results)
    assert f"transfer.{suffix} differs: line " in difference
    assert "66.2" in difference


def test_check_finds_a_new_record_a_missing_file_and_a_changed_line_end(results: Path) -> None:
    write_tables(results)
    file = results / "tables" / "transfer.md"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert len(check_tables(results)) == 1
    file.unlink()
    assert check_tables(results) == [f"{file} is missing"]
    write_tables(results)
    write(pspnet("coco", 7, 80.0), results / "records")
    assert len(check_tables(results)) == 4


def test_published_rows_are_not_shown_where_nothing_full_was_measured(results: Path) -> None:
    assert "†" not in pages_of(results)[0].text("markdown").split("## ", 1)[1]
    write(pspnet("coco", 0, 65.0, profile="full"), results / "records")
    assert "coco_two_loss †" in pages_of(results)[0].text("markdown")


def test_skipped_images_are_reported(results: Path) -> None:
    write(linear("coco", 5, 40.0, images_skipped=3), results / "records")
    assert "Unreadable images that were skipped: coco imagenet_linear seed 5: 3." in pages_of(results)[0].text(
        "markdown"
    )


def test_tables_folder_that_cannot_be_written(results: Path) -> None:
    (results / "tables").write_text("a file, not a folder")
    with pytest.raises(BadInput, match=r"Cannot write to .*tables"):
        write_tables(results)


def test_no_records_is_no_error(tmp_path: Path) -> None:
    for format in ("markdown", "csv", "latex", "html"):
        assert pages_of(tmp_path)[0].text(format).endswith("\n")


@pytest.mark.slow
def test_tables_do_without_torch(results: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bench.results.tables import write_tables;"
        f"write_tables(Path({str(results)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_each_cell_of_a_sweep_has_a_row_for_itself(tmp_path: Path) -> None:
    for temperature, top1 in ((0.07, 60.0), (0.3, 62.0)):
        for seed in (0, 1):
            record = linear(f"imagenet_simclr[temperature={temperature}]", seed, top1 + seed, recipe=str(temperature))
            write(record, tmp_path / "records")
    write_tables(tmp_path)
    assert not check_tables(tmp_path)
    table = "\n".join(file.read_text(encoding="utf-8") for file in (tmp_path / "tables").glob("*.md"))
    rows = [line for line in table.splitlines() if "imagenet_simclr" in line]
    for name, mean in (
        (r"imagenet_simclr\[temperature=0.07\]", "60.50"),
        (r"imagenet_simclr\[temperature=0.3\]", "62.50"),
    ):
        assert [line for line in rows if name in line and mean in line]


def test_a_section_may_have_no_column(tmp_path: Path) -> None:
    records = [make("coco", "count", seed, kind="count", metrics={"seconds": 1.0}) for seed in (0, 1)]
    (section,) = build_tables(records, tmp_path)
    assert not section.columns
    assert not any(note.startswith("Seeds") for note in section.notes)
    for format in SUFFIXES:
        assert "coco" in render([section], format)
