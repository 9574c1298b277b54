"""The class of a machine by what its processor says, and by what is left unused of it."""

from __future__ import annotations

import pytest

from bench import processor
from bench.processor import limits, machine_class

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


@pytest.mark.parametrize(
    ("has", "name"),
    [
        ("avx2 avx512f avx512_bf16 amx_bf16", "amx"),
        ("avx2 avx512f avx512_bf16", "avx512-bf16"),
        ("avx2 avx512f", "avx512"),
        ("avx2", "avx2"),
        ("asimd bf16", "arm-bf16"),
        ("asimd", "arm"),
        ("", "other"),
    ],
)
def test_the_best_instructions_decide(has, name):
    machine = machine_class(has.split(), {})
    assert (machine.name, machine.goals, machine.simulated) == (name, name, False)


@pytest.mark.parametrize(
    ("limited", "name", "goals"),
    [
        (AVX2, "avx2-on-avx512-bf16", "avx2"),
        (AVX2 | {"MKL_CBWR": "AVX2"}, "aten-avx2-onednn-avx2-mkl-avx2-on-avx512-bf16", None),
        ({"ATEN_CPU_CAPABILITY": "avx2"}, "aten-avx2-on-avx512-bf16", None),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "onednn-avx512-core-on-avx512-bf16", None),
        ({"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX"}, "aten-avx2-onednn-avx-on-avx512-bf16", None),
    ],
)
def test_simulated_is_a_class_of_its_own(limited, name, goals):
    machine = machine_class(["avx2", "avx512f", "avx512_bf16"], limited)
    assert machine.name == name
    assert machine.simulated
    assert machine.goals not in {known for known, *_ in processor.CLASSES} - {goals}
    assert machine.words.startswith("simulated: ")
    assert all(f"{key}={value}" in machine.words for key, value in limited.items())


def test_simulated_on_the_real_one_is_apart_too():
    assert machine_class(["avx2"], AVX2).name == "avx2-on-avx2"


def test_a_gpu_is_a_class_by_itself():
    assert machine_class(["avx2"], AVX2, "NVIDIA H200 (80 GB)") == (
        "nvidia-h200-80-gb", "NVIDIA H200 (80 GB)", "nvidia-h200-80-gb"
    )  # fmt: skip


def test_what_this_machine_says(monkeypatch):
    said = "model name : A CPU\nflags\t\t: fpu avx512f avx2 avx512_bf16 sse\n"
    monkeypatch.setattr(processor.Path, "read_text", lambda *_, **__: said)
    assert processor.features() == ("avx2", "avx512f", "avx512_bf16")

    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(processor.Path, "read_text", missing)
    monkeypatch.setattr(processor.platform, "machine", lambda: "arm64")
    assert processor.features() == ("asimd",)
    monkeypatch.setattr(processor.platform, "machine", lambda: "AMD64")
    assert processor.features() == ()


def test_limits_are_read_from_the_environment():
    assert limits({**AVX2, "MKL_CBWR": "", "OMP_NUM_THREADS": "2"}) == AVX2
