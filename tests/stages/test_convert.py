"""The convert stage: a training checkpoint becomes a trunk, its exports, and a load proof against mmseg's ResNet."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mmseg.models.backbones import ResNet, ResNetV1c
from torch import Tensor

from bench.config.recipe import Recipe
from bench.convert.matching import trunk_hash
from bench.convert.proof import load_proven
from bench.convert.trunk import save_trunk
from bench.errors import BadInput, StageFailed
from bench.nn.encoder import Encoder, build_encoder
from bench.stages import convert
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job
from bench.stages.segmentation import model

NARROW = "resnet18w16"


def recipe(arch: str, stem: str = "imagenet") -> Recipe:
    empty: dict[str, Any] = {"summary": "", "source": "", "profile": "full", "objective": {}}
    return Recipe(name="test", dataset="none", epochs=0, arch=arch, stem=stem, **empty)


def pretrained(folder: Path, arch: str = NARROW, stem: str = "imagenet") -> Encoder:
    """Leave a training checkpoint as the pretrain stage does; returns its encoder."""
    encoder = build_encoder(arch, seed=1, stem=stem)
    with torch.no_grad():
        encoder(torch.randn(2, 3, 64, 64))  # batch statistics other than the initial ones
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    state |= {f"target_encoder.{name}": tensor * 2 for name, tensor in encoder.state_dict().items()}
    folder.mkdir()
    torch.save({"step": 4, "objective": state}, folder / "last.ckpt")
    return encoder.eval()


def job(tmp_path: Path, arch: str = NARROW, stem: str = "imagenet") -> Job:
    (tmp_path / "convert").mkdir()
    return Job(recipe(arch, stem), seed=5, folder=tmp_path / "convert", inputs={"pretrain": tmp_path / "pretrain"})


@pytest.mark.slow
def test_a_resnet50_arrives_whole_and_computes_the_same(tmp_path: Path) -> None:
    encoder = pretrained(tmp_path / "pretrain", "resnet50")
    result = convert.run(job(tmp_path, "resnet50"))
    assert result == {
        "tensors": 318,
        "trunk_hash": trunk_hash(encoder.state_dict()),
        "maps": {"C2": 0.0, "C3": 0.0, "C4": 0.0, "C5": 0.0},
    }
    trunk = load_proven(tmp_path / "convert")
    assert trunk.hash == result["trunk_hash"]
    assert trunk.metadata == {"arch": "resnet50", "tensors": "318", "trunk_hash": trunk.hash}
    assert json.loads((tmp_path / "convert/proof.json").read_text(encoding="utf-8"))["passed"] is True


@pytest.mark.slow
@torch.no_grad()
def test_the_export_loads_the_way_mmseg_itself_loads(tmp_path: Path) -> None:
    encoder = pretrained(tmp_path / "pretrain")
    convert.run(job(tmp_path))
    file = str(tmp_path / "convert/trunk_mmseg.pth")
    network = ResNet(
        depth=18,
        stem_channels=16,
        base_channels=16,
        init_cfg={"type": "Pretrained", "checkpoint": file, "prefix": "backbone."},
    )
    network.init_weights()
    network.eval()
    image = torch.randn(1, 3, 64, 64)
    for ours, theirs in zip(encoder.maps(image), network(image), strict=True):
        assert torch.equal(ours, theirs)
    assert {p.name for p in (tmp_path / "convert").iterdir()} == {
        *("trunk.safetensors", "proof.json"),
        *("trunk_mmseg.pth", "trunk_timm.safetensors", "trunk_torchvision.pth"),
    }


@pytest.mark.slow
def test_a_network_with_a_deep_stem_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained(tmp_path / "pretrain")
    monkeypatch.setattr(model, "build_backbone", lambda arch: ResNetV1c(depth=18, stem_channels=16, base_channels=16))
    with pytest.raises(BadInput, match=r"refused by mmseg's ResNet: 114 of 132 tensors .*stem\.0\.weight is missing"):
        convert.run(job(tmp_path))
    assert not (tmp_path / "convert/proof.json").exists()


@pytest.mark.slow
def test_a_failed_proof_fails_the_stage_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained(tmp_path / "pretrain")
    monkeypatch.setattr(Encoder, "maps", lambda self, x: tuple(torch.ones(1, 1, 1, 1) for _ in range(4)))
    with pytest.raises(StageFailed, match=r"The load proof failed: 120 of 120 tensors matched, and map C2 differs"):
        convert.run(job(tmp_path))
    with pytest.raises(BadInput, match="the load proof failed"):
        load_proven(tmp_path / "convert")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["target_encoder", "key_encoder"])
def test_the_copy_is_exported_where_the_recipe_says_so(name: str, tmp_path: Path) -> None:
    encoder = pretrained(tmp_path / "pretrain")
    copied = build_encoder(NARROW, seed=2)
    state = {f"encoder.{key}": tensor for key, tensor in encoder.state_dict().items()}
    state |= {f"{name}.{key}": tensor for key, tensor in copied.state_dict().items()}
    torch.save({"step": 4, "objective": state}, tmp_path / "pretrain" / "last.ckpt")
    work = job(tmp_path)
    result = convert.run(replace(work, config=work.config.model_copy(update={"export": "target"})))
    assert result["maps"] == {"C2": 0.0, "C3": 0.0, "C4": 0.0, "C5": 0.0}
    assert load_proven(tmp_path / "convert").hash == trunk_hash(copied.state_dict()) == result["trunk_hash"]
    assert convert.run(work)["trunk_hash"] == trunk_hash(encoder.state_dict())


def test_a_copy_that_is_not_there_is_refused(tmp_path: Path) -> None:
    encoder = pretrained(tmp_path / "pretrain")
    state = {f"encoder.{key}": tensor for key, tensor in encoder.state_dict().items()}
    torch.save({"step": 4, "objective": state}, tmp_path / "pretrain" / "last.ckpt")
    work = job(tmp_path)
    with pytest.raises(BadInput, match="test has export='target', but its objective keeps no copy of the encoder; set"):
        convert.run(replace(work, config=work.config.model_copy(update={"export": "target"})))


def test_the_wrong_twin_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained(tmp_path / "pretrain")
    monkeypatch.setattr(convert, "exported_name", lambda *_: "target_encoder")
    with pytest.raises(StageFailed, match="test has export='online', but the target_encoder was about to be exported"):
        convert.run(job(tmp_path))


@pytest.mark.slow
def test_equal_trunks_are_exported_as_equal_files(tmp_path: Path) -> None:
    """Whatever the recipe and the seed are called, and whichever process writes them."""
    pretrained(tmp_path / "pretrain")
    work = job(tmp_path)
    convert.run(work)
    (tmp_path / "other").mkdir()
    named = work.config.model_copy(update={"name": "other"})
    convert.run(replace(work, config=named, seed=6, folder=tmp_path / "other"))
    files = sorted(file.name for file in work.folder.iterdir())
    assert len(files) == 5
    for name in files:
        assert (work.folder / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.slow
def test_a_trunk_altered_on_its_way_fails_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained(tmp_path / "pretrain")
    honest = convert.load_trunk

    def altered(path: Path, arch: str, stem: str, prefix: str | None) -> dict[str, Tensor]:
        state = honest(path, arch, stem, prefix)
        state["layer2.0.bn1.bias"][3] += 1e-3
        return state

    monkeypatch.setattr(convert, "load_trunk", altered)
    with pytest.raises(StageFailed, match=r"119 of 120 tensors matched, and layer2\.0\.bn1\.bias has other values"):
        convert.run(job(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"objective": {"decoder.weight": torch.ones(3)}},
            "no ResNet under any prefix: 0 of 120 tensors matched",
        ),
        ({"epoch": 3}, "holds no tensors by name"),
    ],
)
def test_a_checkpoint_without_a_trunk(content: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "pretrain").mkdir()
    torch.save(content, tmp_path / "pretrain/last.ckpt")
    with pytest.raises(BadInput, match=message):
        convert.run(job(tmp_path))
    assert list((tmp_path / "convert").iterdir()) == []


def test_a_checkpoint_of_another_project(tmp_path: Path) -> None:
    (tmp_path / "pretrain").mkdir()
    torch.save(build_encoder(NARROW, 0).state_dict(), tmp_path / "pretrain/last.ckpt")
    with pytest.raises(BadInput, match="not a training checkpoint of this project; run the pretrain stage again"):
        convert.run(job(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["cifar", "stl"])
def test_a_small_stem_arrives_whole_and_computes_the_same(stem: str, tmp_path: Path) -> None:
    encoder = pretrained(tmp_path / "pretrain", stem=stem)
    result = convert.run(job(tmp_path, stem=stem))
    assert result["tensors"] == 120
    assert result["maps"] == {"C2": 0.0, "C3": 0.0, "C4": 0.0, "C5": 0.0}
    trunk = load_proven(tmp_path / "convert")
    assert (trunk.stem, trunk.hash) == (stem, trunk_hash(encoder.state_dict()))
    assert not (tmp_path / "convert/trunk_mmseg.pth").exists()  # no ResNet of mmseg's could take it
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        plain = encoder(images)
    for form in ("autocast", "folded"):
        frozen = FrozenTrunk(tmp_path / "convert", "float32", torch.device("cpu"), form)
        torch.testing.assert_close(frozen.features(images), plain, rtol=1e-4, atol=1e-4 * plain.abs().max().item())
        frozen.check()


# What a grid of CIFAR runs, but for training: every stage's module, and a whole conversion.
WITHOUT_MMSEG = """
import sys
from pathlib import Path
from bench.config.recipe import Recipe
from bench.execute import stage
from bench.stages import convert, diagnostics, knn, linear, pretrain
from bench.stages.job import Job

folder = Path(sys.argv[1])
recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
convert.run(Job(recipe, seed=5, folder=folder / "convert", inputs={"pretrain": folder / "pretrain"}))
print([name for name in sys.modules if name.startswith(("mmseg", "mmcv", "mmengine.runner"))])
"""


@pytest.mark.slow
def test_small_images_do_without_mmseg(tmp_path: Path) -> None:
    pretrained(tmp_path / "pretrain", stem="cifar")
    (tmp_path / "recipe.json").write_text(job(tmp_path, stem="cifar").config.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MMSEG, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_a_trunk_does_not_change_its_stem(tmp_path: Path) -> None:
    """Both 3x3 stems have the same tensors, so that only what the files say tells them apart."""
    encoder = pretrained(tmp_path / "pretrain", stem="cifar")
    convert.run(job(tmp_path, stem="cifar"))
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    save_trunk(tmp_path / "convert/trunk.safetensors", state, NARROW, "stl")
    with pytest.raises(BadInput, match="the load proof is about the stem cifar, not stl"):
        load_proven(tmp_path / "convert")


@pytest.mark.slow
def test_a_max_pool_too_many_fails_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained(tmp_path / "pretrain", stem="cifar")
    honest = convert.StemmedResNet
    monkeypatch.setattr(convert, "StemmedResNet", lambda arch, stem: honest(arch, "stl"))
    with pytest.raises(StageFailed, match="120 of 120 tensors matched, and map C2 differs by inf"):
        convert.run(job(tmp_path, stem="cifar"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("had", "wanted", "message"),
    [
        (
            "imagenet",
            "cifar",
            "is a resnet18w16 with the 7×7 stem of torchvision, not with a 3×3 stem .*set stem='imag",
        ),
        ("stl", "imagenet", "with a 3×3 stem of one convolution, not with the 7×7 stem .*set stem='cifar' or 'stl'"),
    ],
)
def test_another_stem_is_refused_by_name(had: str, wanted: str, message: str, tmp_path: Path) -> None:
    pretrained(tmp_path / "pretrain", stem=had)
    with pytest.raises(BadInput, match=f"{message}"):
        convert.run(job(tmp_path, stem=wanted))
