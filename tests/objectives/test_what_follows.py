"""What follows the trained networks without a gradient: how far it moves at each step, and that nothing else does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from cases import Case, apart, load
from torch import nn

from bench.nn.memory_bank import MemoryBank
from bench.objectives.base import Objective

CASES = load()
PROGRESS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Following:
    """By the papers and the authors' files.

    Args:
        networks: followed, by name, as an objective has them without further settings.
        kept: share of itself that a copy keeps at the first step, half way and at the end of a run.
        prefix: of the copies' names.
    """

    networks: tuple[str, ...]
    kept: tuple[float, float, float]
    prefix: str = "target_"


# 1 − (1 − τ₀)·(cos(πk/K) + 1)/2 (BYOL, section 3.3) is τ₀, then half way from τ₀ to 1, then 1.
# byol: 0.99 is the rate for 100 epochs in deepmind-research/byol/configs/byol.py:23. two_loss, patch_byol build on it.
# moco, moco_v2: main_moco.py. moco_v3: main_moco.py:99-101, with --moco-m-cos as in its commands.
# clsa: model/CLSA.py:12. densecl: configs/selfsup/densecl/densecl_coco_800ep.py:8. cast: main_cast.py:151.
# dino: main_dino.py:61,250. pixpro: contrast/option.py:78. detcon: detcon_b_config.py:76, utils/schedules.py:22-25.
HEADS = ("encoder", "projector")
CONSTANT = (0.999, 0.999, 0.999)
NETWORKS = {
    "byol": Following(HEADS, (0.99, 0.995, 1.0)),
    "two_loss": Following(HEADS, (0.99, 0.995, 1.0)),
    "patch_byol": Following(HEADS, (0.99, 0.995, 1.0)),
    "moco": Following(HEADS, CONSTANT, "key_"),
    "moco_v2": Following(HEADS, CONSTANT, "key_"),
    "clsa": Following(HEADS, CONSTANT, "key_"),
    "densecl": Following(("encoder", "projector", "dense_projector"), CONSTANT, "key_"),
    "cast": Following(HEADS, CONSTANT, "key_"),
    "moco_v3": Following(HEADS, (0.99, 0.995, 1.0), "key_"),
    "dino": Following(("encoder", "projector", "last_layer"), (0.996, 0.998, 1.0)),
    "pixpro": Following(HEADS, (0.99, 0.995, 1.0)),
    "detcon": Following(HEADS, (0.996, 0.998, 1.0)),
}

# The banks of each objective, and m of row ← n(m·row + (1 − m)·z): lemniscate main.py:74, CMC train_CMC.py:69, VISSL
# configs/config/pretrain/pirl/pirl_jigsaw_4node_resnet50.yaml:81.
BANKS = {"instance_discrimination": ("bank",), "pirl": ("bank",), "cmc": ("l_bank", "ab_bank")}
BANK_MOMENTUM = 0.5

each = pytest.mark.parametrize("name", CASES)


def following(case: Case) -> Following | None:
    """What is stated of a case. DetCon has a target in its variant b alone, DenseCL a dense head if its loss counts."""
    stated = NETWORKS.get(case.settings["name"])
    if stated is None or case.settings.get("variant") == "s":
        return None
    return stated if case.settings.get("dense_weight") != 0 else replace(stated, networks=HEADS)


def copies(objective: Objective, stated: Following | None) -> dict[str, nn.Parameter]:
    """The parameters of copies by the name of those that they follow."""
    if stated is None:
        return {}
    named = objective.named_parameters()
    return {name.removeprefix(stated.prefix): p for name, p in named if name.startswith(stated.prefix)}


@each
def test_each_copy_moves_at_the_stated_rate_and_nothing_else_moves(name: str):
    case = CASES[name]
    objective, stated = apart(case.make()), following(case)
    followers = copies(objective, stated)
    untrained = {p for p in objective.parameters() if not p.requires_grad}
    assert untrained - set(followers.values()) == {
        p for key, p in objective.named_parameters() if stated is None and case.frozen and key.startswith(case.frozen)
    }
    if stated is not None:
        assert {key.partition(".")[0] for key in followers} >= set(stated.networks)
    banks = {key for key, module in objective.named_modules() if isinstance(module, MemoryBank)}
    assert banks == set(BANKS.get(case.settings["name"], ()))
    with torch.no_grad():
        for parameter in untrained:  # so that a copy is told from what it follows in every number
            parameter += 0.1
    online = dict(objective.named_parameters())
    for place, progress in enumerate(PROGRESS):
        before = {key: p.detach().clone() for key, p in online.items()}
        objective.before_step(progress)
        objective.after_step(progress)
        for key, parameter in followers.items():
            assert stated is not None
            kept, followed = stated.kept[place], before[key]
            expected = kept * before[stated.prefix + key] + (1 - kept) * followed
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=1e-12, msg=f"{key} at {progress}")
        still = [key for key, p in online.items() if p not in set(followers.values())]
        assert all(torch.equal(online[key], before[key]) for key in still)


def watched(monkeypatch: pytest.MonkeyPatch) -> dict[MemoryBank, tuple[torch.Tensor, torch.Tensor]]:
    """Return what each bank is given from now on, by the bank: (rows, embeddings)."""
    given = {}
    update = MemoryBank.update

    def kept(self, indices, z):
        assert self not in given  # once a step
        given[self] = indices.clone(), z.detach().clone()
        update(self, indices, z)

    monkeypatch.setattr(MemoryBank, "update", kept)
    return given


@pytest.mark.parametrize("momentum", [None, 0.2])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.settings["name"] in BANKS])
def test_the_rows_of_a_batch_move_in_each_bank_at_the_stated_rate_and_no_others(name, momentum, monkeypatch):
    case = CASES[name]
    banks = BANKS[case.settings["name"]]
    objective, given = case.make(**({} if momentum is None else {"bank_momentum": momentum})), watched(monkeypatch)
    kept, data = BANK_MOMENTUM if momentum is None else momentum, case.data()
    before = {key: objective.get_submodule(key).vectors.clone() for key in banks}
    objective(data)
    for progress in PROGRESS:  # what follows a step leaves banks alone
        objective.before_step(progress)
        objective.after_step(progress)
    for key in banks:
        bank = objective.get_submodule(key)
        rows, z = given[bank]
        assert torch.equal(rows, data.indices)
        expected = before[key].clone()
        for row, embedding in zip(rows, z, strict=True):
            mixed = kept * before[key][row] + (1 - kept) * F.normalize(embedding, dim=0)
            expected[row] = mixed / mixed.norm()
        torch.testing.assert_close(bank.vectors, expected, rtol=1e-12, atol=1e-12)
