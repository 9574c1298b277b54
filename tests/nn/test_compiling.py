"""Compiled programs of one kind of processor are not taken for those of another."""

from __future__ import annotations

import pytest
import torch

from bench.nn.compiling import compile_fixed, keep_processors_apart


def tag() -> str:
    keep_processors_apart()
    return torch.compiler.config.cache_key_tag


def test_each_kind_of_processor_has_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    about = torch.cpu.get_capabilities()
    with torch.compiler.config.patch(cache_key_tag=""):
        here = tag()
        assert here
        assert tag() == here
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
        simulated = tag()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: about | {"avx2": not about.get("avx2", False)})
        assert len({here, simulated, tag()}) == 3


def test_whatever_is_compiled_has_the_key_and_fixed_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    here, asked = tag(), []

    def compile_as_asked(function, **settings):
        asked.append((torch.compiler.config.cache_key_tag, settings))
        return function

    monkeypatch.setattr(torch, "compile", compile_as_asked)
    with torch.compiler.config.patch(cache_key_tag=""):
        assert compile_fixed(abs, mode="reduce-overhead") is abs
        compile_fixed(abs)
    assert asked == [
        (here, {"dynamic": False, "mode": "reduce-overhead"}),
        (here, {"dynamic": False, "mode": "default"}),
    ]


@pytest.mark.slow
def test_the_key_of_a_cached_program_has_it() -> None:
    """Otherwise a new torch could leave the tag out, and nobody would notice."""
    from torch._inductor.codecache import compiled_fx_graph_hash

    def key(value: str) -> str:
        with torch.compiler.config.patch(cache_key_tag=value):
            return str(compiled_fx_graph_hash(torch.fx.symbolic_trace(torch.nn.ReLU()), [torch.zeros(2)], {}, [])[0])

    assert key("a") == key("a") != key("b")
