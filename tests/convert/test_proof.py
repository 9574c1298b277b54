"""The trunk file and the load proof: what arrived is what was trained, or it is refused with counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from safetensors import safe_open
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from bench.convert.matching import digest, match_contents, trunk_hash
from bench.convert.proof import load_proven, load_strictly, prove, verify_proof, write_proof
from bench.convert.trunk import TRUNK, read_trunk, save_trunk
from bench.errors import BadInput

State = dict[str, Tensor]
TINY = "tiny_resnet"  # of this folder's conftest


class Maps(nn.Module):
    """A ResNet without classifier that returns (C2, C3, C4, C5), in place of mmseg's."""

    def __init__(self, arch: str = TINY) -> None:
        super().__init__()
        whole = torchvision.models.get_model(arch, weights=None)
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            setattr(self, name, getattr(whole, name))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return tuple(maps)


@pytest.fixture(scope="module")
def encoder() -> Maps:
    torch.manual_seed(0)
    model = Maps()
    with torch.no_grad():
        for _ in range(2):  # batch statistics other than the initial ones
            model(torch.randn(2, 3, 32, 32))
    return model.eval()


@pytest.fixture
def folder(encoder: Maps, tmp_path: Path) -> Path:
    """A folder as the convert stage leaves it."""
    network = Maps()
    save_trunk(tmp_path / TRUNK, encoder.state_dict(), TINY)
    load_strictly(network, read_trunk(tmp_path / TRUNK).state)
    write_proof(tmp_path, prove(encoder.state_dict(), TINY, encoder, network))
    return tmp_path


# ------------------------------------------------------------------------------------------- the trunk file


def test_a_trunk_comes_back_bit_by_bit_with_its_metadata(encoder: Maps, tmp_path: Path) -> None:
    written = save_trunk(tmp_path / TRUNK, encoder.state_dict(), TINY)
    trunk = read_trunk(tmp_path / TRUNK)
    assert match_contents(encoder.state_dict(), trunk.state).complete
    assert trunk.arch == TINY
    assert trunk.hash == written == trunk_hash(encoder.state_dict())
    with safe_open(tmp_path / TRUNK, framework="pt") as file:
        assert file.metadata() == {"arch": TINY, "tensors": "72", "trunk_hash": written}


def test_an_incomplete_trunk_is_not_written(encoder: Maps, tmp_path: Path) -> None:
    state = encoder.state_dict()
    del state["bn1.weight"]
    with pytest.raises(
        BadInput, match=r"Not a whole tiny_resnet: 71 of 72 tensors matched, and bn1\.weight is missing"
    ):
        save_trunk(tmp_path / TRUNK, state, TINY)
    assert list(tmp_path.iterdir()) == []


def test_a_trunk_file_changed_afterwards_is_refused(folder: Path) -> None:
    content = bytearray((folder / TRUNK).read_bytes())
    content[-5] ^= 1
    (folder / TRUNK).write_bytes(content)
    with pytest.raises(BadInput, match="71 of 72 tensors matched the load proof"):
        load_proven(folder)


def test_a_file_that_is_no_trunk_file_is_refused(encoder: Maps, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="missing or damaged; run the convert stage again"):
        read_trunk(tmp_path / TRUNK)
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / TRUNK)
    with pytest.raises(BadInput, match="it names no architecture"):
        read_trunk(tmp_path / TRUNK)
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / TRUNK, metadata={"arch": TINY})
    with pytest.raises(BadInput, match="0 of 72 tensors matched"):
        read_trunk(tmp_path / TRUNK)


def test_hashes_see_content_and_nothing_else() -> None:
    tensor = torch.randn(4, 3, 5, 5)
    same = digest(tensor)
    assert digest(tensor.to(memory_format=torch.channels_last)) == same
    assert digest(nn.Parameter(tensor)) == same
    assert digest(tensor.view(4, 3, 25)) != same
    assert digest(tensor.double()) != same
    assert digest(torch.tensor(0.0)) != digest(torch.tensor(-0.0))
    ab = {"a": tensor, "b": tensor + 1}
    assert trunk_hash(ab) == trunk_hash(dict(reversed(ab.items())))
    assert trunk_hash(ab) != trunk_hash({"b": tensor, "a": tensor + 1})


# ------------------------------------------------------------------------------------------- loading


def refused(module: nn.Module, state: State, message: str) -> None:
    before = trunk_hash(module.state_dict())
    with pytest.raises(BadInput, match=message):
        load_strictly(module, state)
    assert trunk_hash(module.state_dict()) == before, "a refused load must leave the network as it was"


def test_a_wrong_prefix_is_refused(encoder: Maps) -> None:
    state = {f"backbone.{name}": tensor for name, tensor in encoder.state_dict().items()}
    refused(Maps(), state, "refused by the backbone: 0 of 72 tensors matched")


def test_another_stem_and_another_depth_are_refused(encoder: Maps) -> None:
    deep = Maps()
    del deep.conv1, deep.bn1
    deep.stem = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32))
    refused(deep, encoder.state_dict(), r"66 of 73 tensors matched, and stem\.0\.weight is missing")
    refused(Maps("tiny_deeper"), encoder.state_dict(), "72 of 120 tensors matched")
    refused(
        Maps(), Maps("tiny_deeper").state_dict(), r"72 of 72 tensors matched, and layer1\.1\.conv1\.weight is left over"
    )


def test_a_load_that_did_not_happen_is_noticed(encoder: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Maps()
    monkeypatch.setattr(network, "load_state_dict", lambda *_, **__: None)
    same = sum(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), encoder.state_dict().values(), strict=True)
    )
    with pytest.raises(BadInput, match=rf"{same} of 72 tensors matched, and conv1\.weight has other values"):
        load_strictly(network, encoder.state_dict())


# ------------------------------------------------------------------------------------------- the proof


def test_a_proof_that_holds(folder: Path, encoder: Maps) -> None:
    proof = json.loads((folder / "proof.json").read_text(encoding="utf-8"))
    assert (proof["matched"], proof["of"], proof["passed"], proof["fault"]) == (72, 72, True, "")
    assert proof["maps"] == {"C2": 0.0, "C3": 0.0, "C4": 0.0, "C5": 0.0}
    assert proof["tensors"]["conv1.weight"] == {
        "shape": [8, 3, 7, 7], "sha256": digest(encoder.state_dict()["conv1.weight"])
    }  # fmt: skip
    assert load_proven(folder).hash == trunk_hash(encoder.state_dict())


@pytest.mark.parametrize(
    "name", ["conv1.weight", "layer3.0.downsample.1.running_var", "layer4.0.bn2.num_batches_tracked"]
)
def test_one_altered_tensor_fails_the_proof(name: str, encoder: Maps) -> None:
    network = Maps()
    load_strictly(network, encoder.state_dict())
    tensor = network.state_dict()[name].view(-1)
    tensor[0] = torch.nextafter(tensor[0], tensor[0] + 1) if tensor.is_floating_point() else tensor[0] + 1
    proof = prove(encoder.state_dict(), TINY, encoder, network)
    assert (proof.matched, proof.of, proof.passed) == (71, 72, False)
    assert proof.fault == f"{name} has other values"


def test_equal_weights_in_a_network_that_computes_something_else_fail_the_proof(encoder: Maps) -> None:
    network = Maps()
    load_strictly(network, encoder.state_dict())
    network.layer3[0].conv1.stride, network.layer3[0].conv2.stride = (1, 1), (2, 2)  # strides in another layer
    proof = prove(encoder.state_dict(), TINY, encoder, network)
    assert proof.matched == proof.of == 72
    assert proof.maps["C2"] == proof.maps["C3"] == 0
    assert not proof.passed
    assert proof.fault.startswith("map C")


def test_maps_that_are_not_finite_fail_the_proof(encoder: Maps) -> None:
    network = Maps()
    load_strictly(network, encoder.state_dict())
    proof = prove(encoder.state_dict(), TINY, lambda x: tuple(m * torch.nan for m in encoder(x)), network)
    assert not proof.passed


def test_the_proof_compares_in_eval_mode_and_leaves_the_mode_alone(encoder: Maps) -> None:
    network = Maps().train()
    load_strictly(network, encoder.state_dict())
    assert prove(encoder.state_dict(), TINY, encoder, network).passed
    assert network.training
    assert match_contents(encoder.state_dict(), network.state_dict()).complete


def test_the_maps_are_those_of_torchvision(encoder: Maps) -> None:
    whole = torchvision.models.get_model(TINY, weights=None).eval()
    whole.load_state_dict(encoder.state_dict(), strict=False)
    nodes = {f"layer{i}": f"C{i + 1}" for i in (1, 2, 3, 4)}
    extractor = create_feature_extractor(whole, nodes)
    network = Maps()
    load_strictly(network, encoder.state_dict())
    assert prove(encoder.state_dict(), TINY, lambda x: tuple(extractor(x).values()), network).passed


# ------------------------------------------------------------------------------------- what refuses weights


def test_weights_other_than_the_proven_are_refused(folder: Path, encoder: Maps) -> None:
    state = dict(read_trunk(folder / TRUNK).state)
    verify_proof(folder, state)
    altered = state | {"layer2.0.conv1.weight": state["layer2.0.conv1.weight"] * 1.0001}
    with pytest.raises(BadInput, match=r"71 of 72 tensors matched the load proof \(layer2\.0\.conv1\.weight differs\)"):
        verify_proof(folder, altered)
    with pytest.raises(BadInput, match="0 of 72 tensors matched the load proof"):
        verify_proof(folder, {f"backbone.{name}": tensor for name, tensor in state.items()})
    with pytest.raises(BadInput, match=r"72 of 72 tensors matched the load proof \(extra differs\)"):
        verify_proof(folder, state | {"extra": torch.ones(1)})


def test_without_a_proof_no_weights_are_loaded(folder: Path) -> None:
    (folder / "proof.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"is not a load proof \(arch: Field required\); run the convert stage again: rem"
    ):
        load_proven(folder)
    (folder / "proof.json").unlink()
    with pytest.raises(BadInput, match="has no load proof; run the convert stage again"):
        load_proven(folder)


def test_a_proof_that_failed_refuses_the_weights(folder: Path, encoder: Maps) -> None:
    network = Maps()
    load_strictly(network, encoder.state_dict())
    write_proof(folder, prove(encoder.state_dict(), TINY, lambda x: tuple(m + 1 for m in encoder(x)), network))
    with pytest.raises(BadInput, match=r"the load proof failed \(map C. differs by"):
        load_proven(folder)
