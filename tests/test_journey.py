"""The whole path in smoke form: pretrain, convert, prove, transfer, record, table; and again, as a no-op.

It follows docs/tutorial.md: its commands run here, and what they print agrees with what the page shows.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from docs_pages import ROOT, agrees, session
from safetensors import safe_open

Run = Callable[..., "CompletedProcess[str]"]

GRID = ("run", "--smoke", "--pretrain", "coco_two_loss", "random_init")
TASKS = ("--downstream", "cityscapes_pspnet", "imagenet_linear", "imagenet_knn")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_path_then_a_no_op_then_one_stage(
    bench: Run, bench_here: Run, fresh_bench: Run, tmp_path: Path
) -> None:
    steps = iter(session(ROOT / "docs" / "tutorial.md"))

    def next_of_tutorial(run: Run) -> CompletedProcess[str]:
        """Run the tutorial's next command, as a shell would."""
        command, shown = next(steps)
        _, *words = shlex.split(command)
        said = run(*(each for word in words for each in (sorted(tmp_path.glob(word)) if "*" in word else [word])))
        assert said.returncode == 0, said.stdout + said.stderr
        assert agrees(shown, said.stdout, numbers=False), f"{command}\n{said.stdout}"
        return said

    next_of_tutorial(bench_here)  # the plan
    done = next_of_tutorial(fresh_bench)
    assert done.args[-len(GRID + TASKS) :] == [*GRID, *TASKS]
    runs, results = tmp_path / "runs", tmp_path / "runs" / "smoke" / "results"

    # Records: one for each cell, with all that is needed to believe it.
    records = [json.loads(file.read_text()) for file in sorted((results / "records").glob("*.json"))]
    assert len(records) == 6
    by_cell = {(record["pretrain"], record["task"]): record for record in records}
    segmentation = by_cell["coco_two_loss", "cityscapes_pspnet"]
    assert {"aacc_percent", "miou_percent", "macc_percent"} <= set(segmentation["metrics"])
    assert len(segmentation["metrics"]["iou_percent"]) == 19
    assert 0 <= by_cell["coco_two_loss", "imagenet_linear"]["metrics"]["top1_percent"] <= 100
    for record in records:
        assert record["profile"] == "smoke"
        assert len(record["fingerprints"]["protocol"]) == 12
        assert record["versions"]["torch"]
        assert set(record["wall_seconds"]) == {"pretrain", "convert", record["kind"]}
        assert [title.partition(" ")[0] for title in record["chain"]] == ["pretrain", "convert", record["kind"]]
        assert all(made["parts"] and made["whole"] for made in record["chain"].values())
    assert by_cell["random_init", "imagenet_knn"]["data"].keys() == {"imagenet"}
    assert by_cell["coco_two_loss", "imagenet_knn"]["data"].keys() == {"coco", "imagenet"}

    # The weights arrived, provably, and both terms of the loss were logged apart.
    (proof,) = runs.glob("convert/coco_two_loss-*/proof.json")
    proven = json.loads(proof.read_text())
    assert proven["matched"] == proven["of"] == 318
    with safe_open(proof.parent / "trunk.safetensors", "pt") as trunk:  # type: ignore[no-untyped-call]
        assert "layer4.2.conv3.weight" in trunk.keys()  # noqa: SIM118
    (metrics,) = runs.glob("pretrain/coco_two_loss-*/metrics.jsonl")
    line = json.loads(metrics.read_text().splitlines()[-1])
    assert line["loss"] == pytest.approx(line["loss1"] + line["loss2"], abs=1e-4)

    # The table has both rows, and the command printed it.
    table = (results / "tables" / "transfer.md").read_text()
    assert "coco_two_loss" in table
    assert "random_init" in table
    assert "mIoU" in done.stdout
    assert bench("table", "--check", "--results-dir", results).returncode == 0

    # The command for its row is the one that ran.
    stage = segmentation["fingerprints"]["stage"]
    traced = bench("trace", stage, "--results-dir", results, "--json")
    assert json.loads(traced.stdout)["same_row"]
    assert "--pretrain coco_two_loss --downstream cityscapes_pspnet --seeds 0 --smoke" in traced.stdout

    # Again: nothing runs, nothing changes.
    before = {file: file.stat().st_mtime_ns for file in runs.rglob("*.json")}
    again = next_of_tutorial(bench)
    assert again.stdout.count("recorded already") == 6
    assert "[1/" not in again.stdout
    assert {file: file.stat().st_mtime_ns for file in runs.rglob("*.json")} == before

    for name in ("status", "compare", "trace"):
        assert next_of_tutorial(bench_here).args[0] == name
    assert "The number stands to the digit." in next_of_tutorial(fresh_bench).stdout  # its weights give it again
    assert next(steps, None) is None

    # A record that was deleted, or is wanted elsewhere, is written as it was; nothing is measured again.
    lost, *_ = sorted((results / "records").glob("coco_two_loss__imagenet_knn*.json"))
    kept = lost.read_text()
    lost.unlink()
    assert bench(*GRID, *TASKS).returncode == 0
    assert lost.read_text() == kept
    elsewhere = bench(*GRID, *TASKS, "--results-dir", tmp_path / "other")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert elsewhere.stdout.count("done already") == 6
    assert {file.name: file.read_text() for file in (tmp_path / "other" / "records").glob("*.json")} == {
        file.name: file.read_text() for file in (results / "records").glob("*.json")
    }

    # Without the stage's own copy, as earlier versions left it, it is measured again.
    lost.unlink()
    (copy,) = runs.glob("knn/coco_two_loss-*/record.json")
    copy.unlink()
    assert bench(*GRID, *TASKS).returncode == 0
    assert json.loads(lost.read_text())["metrics"] == json.loads(kept)["metrics"]

    # Another downstream setting: that stage alone runs, once for each pretraining.
    changed = bench(*GRID, *TASKS, "--set", "k=3")
    assert changed.returncode == 0, changed.stderr
    ran = [line for line in changed.stdout.splitlines() if line.startswith("[")]
    assert ran == ["[1/2] knn coco_two_loss--imagenet_knn-s0", "[2/2] knn random_init--imagenet_knn-s0"]

    # Two protocols of one task never share a column.
    header = (results / "tables" / "transfer.md").read_text()
    hashes = {json.loads(file.read_text())["fingerprints"]["protocol"] for file in results.glob("records/*knn*.json")}
    assert len(hashes) == 2
    assert all(protocol in header for protocol in hashes)

    # A trunk that was tampered with is refused.
    trunk_file = proof.parent / "trunk.safetensors"
    raw = bytearray(trunk_file.read_bytes())
    raw[-1] ^= 1
    trunk_file.write_bytes(raw)
    refused = bench(*GRID, *TASKS, "--set", "k=7")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "trunk.safetensors was changed after it was written (its sha256 is not that in done.json)" in refused.stderr
    assert "Traceback" not in refused.stderr
