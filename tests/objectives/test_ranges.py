"""What an annotation of a setting says is what the constructor does: no range and no choice is made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import NUM_CLASSES, NUM_IMAGES, load
from narrow import NarrowEncoder

from bench.config.objective_settings import check_arguments, settings_of
from bench.errors import BadInput
from bench.nn.encoder import Encoder
from bench.objectives import OBJECTIVES, build
from bench.objectives.base import Objective
from bench.objectives.moco_v2 import MoCoV2
from bench.objectives.simclr import SimCLR

CASES = load()
TRAINED = [name for name in OBJECTIVES if name != "random_init"]
TOGETHER = {"low_rank": {"projector_rank": 8}, "random": {"patches": 2}}

# Refused because of what the other settings are: no patch may move by more than the gap.
DEPENDS = {("relative_patch", "gap", 0), ("jigsaw", "gap", 0)}


def make(name, **settings):
    case = next(case for case in CASES.values() if case.settings["name"] == name)
    return build(case.settings | settings, NarrowEncoder(), NUM_CLASSES, NUM_IMAGES)


class Plain(Objective):
    """Defined where no file can be searched for it."""

    def __init__(self, encoder: Encoder, *, width: int = 1, free: Path | None = None) -> None:
        super().__init__(encoder)
        self.width, self.free = width, free

    def views(self, size):
        return ()

    def forward(self, batch):
        return {}


@pytest.mark.parametrize(
    ("make", "settings", "sentence"),
    [
        (SimCLR, {"temperature": -1}, "objective.temperature is -1; set it above 0."),
        (SimCLR, {"crops": True}, "Key 'objective.crops' is True, but should be int."),
        (SimCLR, {"loss": "nt_xen"}, "Unknown objective.loss 'nt_xen'; did you mean nt_xent?"),
        (SimCLR, {"temprature": 1.0}, "Unknown key 'objective.temprature'; did you mean temperature?"),
        (MoCoV2, {"momentum": 2.0}, "objective.momentum is 2.0; set it within 0 and 1."),  # MoCo's
        (MoCoV2, {"crop_scale": (0.2, 0.1)}, "objective.crop_scale is (0.2, 0.1); give two ascending shares"),
        (Plain, {"width": "1"}, "Key 'objective.width' is '1', but should be int."),
        (Plain, {"qqq": 1}, "Unknown key 'objective.qqq'; known: width, free."),
    ],
)
def test_a_constructor_refuses_a_wrong_value_in_the_words_of_a_plan(make, settings, sentence):
    with pytest.raises(BadInput) as caught:
        make(NarrowEncoder(), **settings)
    assert str(caught.value).startswith(sentence)


def test_a_constructor_takes_what_fits():
    assert Plain(NarrowEncoder(), width=3).width == 3
    assert SimCLR(NarrowEncoder(), temperature=1, crop_scale=[0.1, 0.2]).crop_scale == (0.1, 0.2)


@pytest.mark.parametrize("name", TRAINED)
def test_every_choice_that_a_plan_admits_can_be_built(name):
    for key, setting in settings_of(name).items():
        for choice in setting.choices:
            value = (choice,) if setting.type_name.startswith("tuple") else choice
            make(name, **{key: value}, **TOGETHER.get(choice, {}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("name", TRAINED)
def test_what_the_constructor_refuses_of_a_number_alone_a_plan_refuses(name):
    for key, setting in settings_of(name).items():
        for value in {"int": (-1, 0), "float": (-1.0, 0.0, 2.0)}.get(setting.type_name, ()):
            try:
                make(name, **{key: value})
            except BadInput:
                if (name, key, value) not in DEPENDS:
                    with pytest.raises(BadInput, match=rf"objective\.{key} .*in mine\.py.*; (set it|known)"):
                        check_arguments({"name": name, key: value}, Path("mine.py"))
            except (RuntimeError, ValueError):
                continue  # torch refuses a size below 0
