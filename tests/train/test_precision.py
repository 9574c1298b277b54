"""What `precision=auto` becomes, on which machine, and that a run goes on in what it began in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config.load import load_recipe, load_task
from bench.config.recipe import Recipe
from bench.config.tasks import KnnTask, LinearTask, SegmentationTask
from bench.execute.stage import settled
from bench.execute.stage_file import read_stage, write_stage
from bench.plan import Planner
from bench.train import precision
from bench.train.precision import automatic, is_bf16, native_bf16, resolve, without_tf32

CPU = torch.device("cpu")


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("coco", "smoke")


def on_a_machine(monkeypatch: pytest.MonkeyPatch, *, native: bool) -> None:
    monkeypatch.setattr(precision, "native_bf16", lambda device: native)


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "float32")])
def test_auto_follows_the_machine(
    recipe: Recipe, native: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_machine(monkeypatch, native=native)
    assert recipe.precision == "auto"
    assert resolve(recipe, tmp_path).precision == expected
    knn = load_task("imagenet_knn", "smoke")
    assert isinstance(knn, KnnTask)
    chosen = resolve(knn, tmp_path)
    assert (chosen.precision, chosen.search) == (expected, expected)


@pytest.mark.parametrize("begun_in", ["bf16", "float32"])
def test_a_run_goes_on_in_the_precision_that_it_began_in(
    recipe: Recipe, begun_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_machine(monkeypatch, native=begun_in == "bf16")
    resolve(recipe, tmp_path)
    on_a_machine(monkeypatch, native=begun_in != "bf16")
    other = {"bf16": "float32", "float32": "bf16"}[begun_in]
    assert resolve(recipe, tmp_path).precision == other  # nothing had been trained: it begins anew
    on_a_machine(monkeypatch, native=begun_in == "bf16")
    resolve(recipe, tmp_path)
    (tmp_path / "last.ckpt").touch()
    on_a_machine(monkeypatch, native=begun_in != "bf16")
    capsys.readouterr()
    assert resolve(recipe, tmp_path).precision == begun_in
    assert ("it began in bf16" in capsys.readouterr().out) == (begun_in == "bf16")


def test_ranks_take_what_their_launcher_chose(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_machine(monkeypatch, native=True)
    resolve(recipe, tmp_path)
    on_a_machine(monkeypatch, native=False)
    assert resolve(recipe, tmp_path, starting=False).precision == "bf16"
    assert capsys.readouterr().out == ""  # the launcher has said it
    (tmp_path / precision.FILE).write_text("{")
    assert resolve(recipe, tmp_path, starting=False).precision == "float32"


def test_the_first_rank_that_a_cluster_launched_keeps_its_choice_for_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("coco", "smoke")
    work = tmp_path / "work"
    [stage, *_] = Planner(lambda name: f"data of {name}").grid([recipe], [], [0])
    folder = write_stage(stage, work, {}, tmp_path / "results", "fail")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "theirs")
    on_a_machine(monkeypatch, native=True)
    monkeypatch.setenv("RANK", "1")
    assert settled(read_stage(folder), folder).precision == "bf16"
    assert not (folder / precision.FILE).exists()
    monkeypatch.setenv("RANK", "0")
    assert settled(read_stage(folder), folder).precision == "bf16"
    (folder / "last.ckpt").touch()
    on_a_machine(monkeypatch, native=False)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert settled(read_stage(folder), folder).precision == "bf16"
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert settled(read_stage(folder), folder).precision == "bf16"


@pytest.mark.parametrize("progress", ["last.ckpt", "heads.safetensors"])
def test_whatever_a_stage_goes_on_from_keeps_its_precision(
    recipe: Recipe, progress: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_machine(monkeypatch, native=True)
    resolve(recipe, tmp_path)
    (tmp_path / progress).touch()
    on_a_machine(monkeypatch, native=False)
    assert resolve(recipe, tmp_path).precision == "bf16"


def test_the_precision_of_evaluation_follows_the_machine_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_machine(monkeypatch, native=True)
    asked = {"precision": "float32", "evaluation_precision": "auto"}
    task = resolve(load_task("cityscapes_pspnet", "smoke", asked), tmp_path)
    assert isinstance(task, SegmentationTask)
    assert (task.precision, task.evaluation_precision) == ("float32", "bf16")


def test_bf16_that_is_set_is_used_with_one_warning_where_it_is_emulated(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = recipe.model_copy(update={"precision": "bf16"})
    on_a_machine(monkeypatch, native=False)
    assert resolve(asked, tmp_path).precision == "bf16"
    assert capsys.readouterr().out.count("takes many times as long as float32 (14 times was measured") == 1
    assert not (tmp_path / precision.FILE).exists()
    on_a_machine(monkeypatch, native=True)
    assert resolve(asked, tmp_path).precision == "bf16"
    assert resolve(recipe.model_copy(update={"precision": "float32"}), tmp_path).precision == "float32"
    assert capsys.readouterr().out == ""


def test_a_search_in_bf16_is_told_of_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """kNN as shipped leaves trunk and coarse search to the machine; either can be set."""
    shipped = load_task("imagenet_knn", "smoke")
    on_a_machine(monkeypatch, native=False)
    settled = resolve(shipped, tmp_path)
    assert (settled.precision, settled.search) == ("float32", "float32")
    assert capsys.readouterr().out == ""
    settled = resolve(shipped.model_copy(update={"search": "bf16"}), tmp_path)
    assert (settled.precision, settled.search) == ("float32", "bf16")
    assert "; search=auto takes float32 here" in capsys.readouterr().out
    on_a_machine(monkeypatch, native=True)
    assert resolve(shipped, tmp_path).search == "bf16"


@pytest.mark.parametrize(
    ("onednn", "avx512_bf16", "amx", "machine", "expected"),
    [
        (True, True, False, "x86_64", True),
        (True, False, True, "AMD64", True),
        (True, False, False, "x86_64", False),  # any AVX-512: oneDNN takes bf16, and emulates it
        (False, True, True, "x86_64", False),  # ONEDNN_MAX_CPU_ISA forbids it
        (True, False, False, "aarch64", True),
        (False, False, False, "aarch64", False),
    ],
)
def test_which_processors_multiply_bf16(
    onednn: bool, avx512_bf16: bool, amx: bool, machine: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(precision.platform, "machine", lambda: machine)
    assert native_bf16(CPU) is expected
    assert automatic(CPU) == ("bf16" if expected else "float32")


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_which_gpus_multiply_bf16(capability: tuple[int, int], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert native_bf16(torch.device("cuda", 0)) is expected


@pytest.mark.slow
def test_a_processor_restricted_to_avx2_has_no_bf16() -> None:
    words = "import torch; from bench.train.precision import automatic; print(automatic(torch.device('cpu')))"
    environ = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", words], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "float32"


@pytest.mark.parametrize("matmul", [False, True])
def test_checks_run_without_tf32(matmul: bool) -> None:
    """The settings are there without a GPU, too; and a compiled program is not compiled again by a change of them."""
    calls: list[Any] = []
    program = torch.compile(lambda x: x + 1, backend=lambda graph, _: calls.append(graph) or graph.forward)

    def settings() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    def stopped() -> None:
        with without_tf32():
            assert settings() == (False, False)
            if not matmul:
                program(torch.zeros(3))
            raise ZeroDivisionError

    torch.backends.cuda.matmul.allow_tf32 = matmul
    try:
        program(torch.zeros(3))
        assert settings() == (True, matmul)
        with pytest.raises(ZeroDivisionError):
            stopped()
        assert settings() == (True, matmul)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert len(calls) == 1


def test_nothing_computes_in_a_precision_that_is_not_chosen() -> None:
    assert (is_bf16("bf16"), is_bf16("float32")) == (True, False)
    with pytest.raises(ValueError, match="'auto' is not resolved"):
        is_bf16("auto")


def test_the_choice_is_kept_in_the_stages_folder(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_machine(monkeypatch, native=True)
    resolve(recipe, tmp_path)
    assert json.loads((tmp_path / precision.FILE).read_text()) == {"auto": "bf16"}
    assert [file.name for file in tmp_path.iterdir()] == [precision.FILE]


def test_configs_leave_it_to_the_machine_unless_they_say_why_not() -> None:
    linear = load_task("imagenet_linear")
    assert isinstance(linear, LinearTask)
    assert linear.precision == load_task("cityscapes_pspnet").precision == "auto"
    # The authors lost a point in half precision; a published protocol on small images; a spectrum shows the rounding.
    for config in (load_recipe("imagenet_cmc"), load_task("cifar10_knn5"), load_task("diagnostics")):
        assert config.precision == "float32"
