"""Every objective is watched while it trains, and what is usual for it is no divergence."""

from __future__ import annotations

import pytest
import torch
from cases import Case, load

from bench.config.recipe import Recipe
from bench.train.distributed import Ranks
from bench.train.divergence import Diverged
from bench.train.health import Health

CASES = {case.settings["name"]: case for case in load().values()}  # one of each objective


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_training_passes_and_exploded_weights_or_dead_ones_do_not(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe.model_validate(
        {"name": "a", "summary": "", "source": "", "profile": "smoke", "dataset": "coco", "epochs": 1}
        | {"objective": case.settings, "optimizer": {"name": "adam", "lr": 1e-3, "lr_batch": None}}
    )
    objective, data = case.make().train(), case.data()
    health = Health(objective, recipe, Ranks(), total=1, every_steps=1)
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(2):
        objective(data)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    def judge() -> str:
        health.see(data)
        try:
            health.judge(1, {}, "")
        except Diverged as error:
            return error.why
        return ""

    assert judge() == ""
    start = {name: value.clone() for name, value in objective.state_dict().items()}
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.mul_(2e4)
    assert judge() == "exploded weights"
    objective.load_state_dict(start)
    with torch.no_grad():
        for parameter in objective.encoder.parameters():
            parameter.zero_()
    assert judge() == "collapsed encoder"
    assert "not watched" not in capsys.readouterr().out
