"""lightly's objectives under this harness: its steps are ours, and settings are those that ours have."""

from __future__ import annotations

import math
from pathlib import Path

import peer_objectives
import peer_steps
import pytest
import torch
from cases import images_batch
from narrow import NarrowEncoder
from peer_pairs import PAIRS
from torch import nn

from bench.config.load import load_recipe
from bench.config.objective_settings import settings_of, settings_of_class
from bench.errors import BadInput
from bench.hashing import recorded_settings
from bench.objectives import build

CONFIGS = Path(peer_objectives.__file__).parent / "peer_configs"


def made(name, **settings):
    return getattr(peer_objectives, name)(NarrowEncoder(), **(PAIRS[name].small | settings)).double()


@pytest.mark.parametrize("name", PAIRS)
def test_two_steps_from_the_same_weights_are_the_same(name):
    agreement = peer_steps.compared(name, steps=2)
    assert agreement.loss < 1e-9
    assert agreement.gradient < 1e-9
    assert agreement.weights < 1e-9
    assert len(agreement.held) == {"LightlySimCLR": 1, "LightlyMoCoV2": 0, "LightlySimSiam": 0, "LightlyBYOL": 6}.get(
        name, 1
    )


def test_another_loss_is_noticed(monkeypatch):
    monkeypatch.setitem(PAIRS["LightlySimCLR"].must, "reduction", "sum")
    agreement = peer_steps.compared("LightlySimCLR", steps=1)
    assert agreement.loss == pytest.approx(0.5)
    assert agreement.gradient == pytest.approx(0.5)


def test_swavs_norms_see_one_view_here_and_both_in_ours():
    assert peer_steps.compared("LightlySwAV", steps=1, norms_seen=True).gradient > 1e-3


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_set_for_ours_can_be_set_here_and_has_the_same_default(name):
    ours, theirs = settings_of(PAIRS[name].ours), settings_of_class(getattr(peer_objectives, name))
    assert theirs.keys() <= ours.keys()
    assert PAIRS[name].must.keys() <= ours.keys() - (theirs.keys() - {"crops"})
    for key in theirs.keys() - {"crops"}:  # which lightly's loss does without
        assert as_list(theirs[key].default) == as_list(ours[key].default), key


def as_list(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", PAIRS)
def test_views_are_those_of_ours(name):
    pair = PAIRS[name]
    ours = build({"name": pair.ours, **pair.must, **pair.small}, NarrowEncoder())
    assert tuple(made(name).views(32)) == tuple(ours.views(32))


@pytest.mark.parametrize("name", PAIRS)
def test_losses_are_float32_under_autocast(name):
    objective = made(name).float()
    batch = images_batch(4, (32, 32))
    batch.views[:] = [view.float() for view in batch.views]
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(batch)["loss"]
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert loss.isfinite()


@pytest.mark.parametrize("name", PAIRS)
def test_biases_that_ours_lack_are_trained(name):
    """Held at 0 they are for comparing steps alone."""
    objective = made(name)
    for network_name, network in objective.named_children():
        followed = network_name.startswith(("target", "key"))
        for parameter in network.parameters():
            assert parameter.requires_grad is not followed


def test_the_memory_bank_is_part_of_a_checkpoint():
    objective = made("LightlyMoCoV2")
    assert {"criterion.memory_bank.bank", "criterion.memory_bank.bank_ptr"} <= objective.state_dict().keys()
    again = peer_objectives.LightlyMoCoV2(NarrowEncoder(), **PAIRS["LightlyMoCoV2"].small)
    assert again.criterion.memory_bank.bank.equal(objective.criterion.memory_bank.bank.float())


def test_a_queue_of_which_keys_would_be_dropped_is_refused():
    with pytest.raises(BadInput, match="set it to 50"):
        made("LightlyMoCoV2").check(10, 32)


@pytest.mark.parametrize("name", PAIRS)
def test_several_processes_are_refused(name, monkeypatch):
    monkeypatch.setattr(peer_objectives, "world", lambda: 2)
    with pytest.raises(BadInput, match="runs on one process"):
        made(name).check(16, 32)


def test_the_targets_share_rises_along_half_a_cosine():
    objective = made("LightlyBYOL", tau0=0.9)
    for progress in (0.0, 0.25, 0.9):
        with torch.no_grad():
            for one, two in zip(objective.encoder.parameters(), objective.target_encoder.parameters(), strict=True):
                one.fill_(1.0)
                two.fill_(0.0)
        objective.after_step(progress)
        share = 0.1 * (1 + math.cos(math.pi * progress)) / 2
        assert next(objective.target_encoder.parameters()).flatten()[0].item() == pytest.approx(share)


def test_swavs_prototypes_are_held_at_the_start_of_the_run():
    objective = made("LightlySwAV", freeze_share=0.5)
    for progress, held in ((0.4, True), (0.5, False)):
        objective(images_batch(8, (32, 32)))["loss"].backward()
        objective.before_step(progress)
        assert all((p.grad is None) is held for p in objective.prototypes.parameters())


def test_swav_takes_small_crops():
    objective = made("LightlySwAV", crops=1, crop_size=32)
    assert [view.size for view in objective.views(64)] == [64, 64, 32]
    assert objective(images_batch(8, (64, 64, 32)))["loss"].isfinite()


def test_rates_of_groups_are_those_of_ours():
    norms = made("LightlyBarlowTwins", bias_rate=0.25).param_groups()[1]
    assert norms["rate"] == 0.25
    assert all(isinstance(p, nn.Parameter) and p.ndim == 1 for p in norms["params"])
    simsiam = made("LightlySimSiam")
    constant = {id(p) for group in simsiam.param_groups() if group["constant"] for p in group["params"]}
    assert constant == {id(p) for p in simsiam.predictor.parameters()}


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.py")), ids=lambda file: file.stem)
def test_a_config_is_that_of_ours_with_another_objective(file):
    theirs = load_recipe(str(file))
    ours = load_recipe(file.stem.replace("_lightly", ""))
    one, two = ours.objective, theirs.objective
    pair = PAIRS[str(two["name"]).rpartition(":")[2]]
    assert one["name"] == pair.ours
    assert two.keys() <= one.keys()
    assert {key: two[key] for key in two if key != "name"} == {key: one[key] for key in two if key != "name"}
    assert {key: one.get(key) for key in pair.must} == pair.must
    values = [{k: v for k, v in recorded_settings(each).items() if k != "objective"} for each in (theirs, ours)]
    assert values[0] == values[1]
