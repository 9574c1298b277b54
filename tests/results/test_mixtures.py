"""Notes on cells and chains that mix commits, torch versions or hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from example_records import linear

from bench.made import Git, Hardware, Made, Part
from bench.record import Record
from bench.results.mixtures import mixture_notes
from bench.results.tables import build_tables

A, B = "a" * 40, "b" * 40


def made(commit: str = A, torch: str = "2.15.0", cpu: str = "EPYC", gpus: tuple[str, ...] = (), **more: Any) -> Made:
    part = Part(
        git=Git(commit=commit, dirty="changes" in more, changes=more.get("changes")),
        versions={"torch": torch},
        hardware=Hardware(cpu=cpu, cores=2, memory_gib=8, gpus=gpus),
        machine="avx2",
        limits=more.get("limits", {}),
    )
    return Made(fingerprint="f" * 64, parts=(part,), whole=more.get("whole", True))


def result(seed: int, pretrain: Made, convert: Made, task: Made, **more: Any) -> Record:
    own = {f"pretrain coco-s{seed}": pretrain, f"convert coco-s{seed}": convert}
    return linear(
        "coco", seed, 50.0, chain=more.get("earlier", {}) | own | {f"linear coco--imagenet_linear-s{seed}": task}
    )


def test_what_is_all_the_same_has_no_note() -> None:
    assert mixture_notes([result(seed, made(), made(), made()) for seed in (0, 1)]) == []


def test_stages_of_a_chain_that_differ_are_named() -> None:
    notes = mixture_notes([result(0, made(B), made(), made(torch="2.16.0", gpus=("H200", "H200")))])
    assert notes == [
        "Mixed commits between the stages of a result: coco imagenet_linear seed 0 (bbbbbbbb: pretrain; aaaaaaaa: "
        "convert, linear).",
        "Mixed torch versions between the stages of a result: coco imagenet_linear seed 0 (2.15.0: pretrain, convert; "
        "2.16.0: linear).",
        "Mixed hardware between the stages of a result: coco imagenet_linear seed 0 (EPYC: pretrain, convert; "
        "2 × H200: linear).",
    ]


def test_sittings_of_one_stage_and_the_pretraining_that_it_continues_count() -> None:
    both = Made(fingerprint="f" * 64, parts=(*made(A).parts, *made(B).parts))
    (note,) = mixture_notes([result(0, both, made(), made())])
    assert "(aaaaaaaa: pretrain, convert, linear; bbbbbbbb: pretrain)" in note
    (note,) = mixture_notes([result(0, made(), made(), made(), earlier={"pretrain imagenet-s0": made(cpu="Xeon")})])
    assert note.startswith("Mixed hardware")
    assert "(Xeon: pretrain imagenet-s0; EPYC: pretrain, convert, linear)" in note


def test_instructions_that_were_left_unused_are_other_hardware() -> None:
    limited = made(limits={"ATEN_CPU_CAPABILITY": "avx2"})
    (note,) = mixture_notes([result(0, made(), made(), limited)])
    assert "EPYC: pretrain, convert; EPYC ATEN_CPU_CAPABILITY=avx2: linear" in note


def test_seeds_of_a_cell_that_differ_are_named() -> None:
    old = made(torch="2.14.0")
    notes = mixture_notes([result(0, made(), made(), made()), result(1, old, old, old), result(2, old, old, old)])
    assert notes == ["Mixed torch versions within a cell: coco imagenet_linear (2.15.0: seed 0; 2.14.0: seed 1, 2)."]


def test_a_cell_whose_seeds_mix_alike_is_mixed_between_stages_alone() -> None:
    (note,) = mixture_notes([result(seed, made(B), made(), made()) for seed in (0, 1)])
    assert "between the stages" in note


def test_code_that_was_not_committed_is_named_and_is_another() -> None:
    changed, other = made(changes="1" * 64), made(changes="2" * 64)
    notes = mixture_notes([result(0, changed, changed, changed), result(1, other, other, other)])
    assert notes[0].endswith("(aaaaaaaa with changes 11111111: seed 0; aaaaaaaa with changes 22222222: seed 1).")
    assert notes[1:] == [
        "Made by code with changes that were not committed: coco imagenet_linear seed 0, coco imagenet_linear seed 1."
    ]


def test_of_many_some_are_named() -> None:
    (note,) = mixture_notes([result(seed, made(B), made(), made()) for seed in range(9)])
    assert note.count("seed") == 3
    assert note.endswith("and 6 more (bench trace RECORD shows each).")


def test_older_records_count_by_what_they_know() -> None:
    old = [
        linear("coco", seed, 50.0, git=Git(commit=commit, dirty=False), versions={"torch": "2.15.0"})
        for seed, commit in enumerate((A, B))
    ]
    notes = mixture_notes(old)
    assert notes[0] == "Mixed commits within a cell: coco imagenet_linear (aaaaaaaa: seed 0; bbbbbbbb: seed 1)."
    assert notes[1].startswith("The records of these results do not say")
    (note,) = mixture_notes([old[0], result(1, made(), made(), made(whole=False)), result(2, made(), made(), made())])
    assert note.startswith("The records of 2 of these 3 results do not")


def test_the_notes_stand_below_the_table() -> None:
    (section,) = build_tables([result(0, made(B), made(), made())], Path("no such folder"))
    assert any(note.startswith("Mixed commits between the stages") for note in section.notes)
