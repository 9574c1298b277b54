"""What an annotation of a setting says is what the constructor does: no range and no choice is made up."""

from __future__ import annotations

import pytest
from cases import NUM_CLASSES, NUM_IMAGES, load
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.objectives import OBJECTIVES, build
from bench.signature import domains

CASES = load()
TRAINED = [name for name in OBJECTIVES if name != "random_init"]
TOGETHER = {"low_rank": {"projector_rank": 8}, "gaussian": {}, "random": {"patches": 2}}


def make(name, **settings):
    case = next(case for case in CASES.values() if case.settings["name"] == name)
    return build(case.settings | settings, NarrowEncoder(), NUM_CLASSES, NUM_IMAGES)


def outside(within):
    low = [] if within.low is None else [within.low if within.above else within.low - 1]
    return low + ([] if within.high is None else [within.high if within.below else within.high + 1])


@pytest.mark.parametrize("name", TRAINED)
def test_what_a_plan_refuses_the_constructor_refuses(name):
    for key, admitted in domains(name).items():
        for domain in admitted:
            for value in outside(domain.within) if domain.within else ():
                with pytest.raises(BadInput, match="set|give"):
                    make(name, **{key: value})
            if domain.choices is not None:
                wrong = 3 if isinstance(domain.choices[0], int) else "qqq"
                with pytest.raises(BadInput, match=rf"objective\.{key}"):
                    make(name, **{key: (wrong,) if domain.type.startswith("tuple") else wrong})


@pytest.mark.parametrize("name", TRAINED)
def test_every_choice_that_a_plan_admits_can_be_built(name):
    for key, (domain, *_) in domains(name).items():
        for choice in domain.choices or ():
            value = (choice,) if domain.type.startswith("tuple") else choice
            make(name, **{key: value}, **TOGETHER.get(choice, {}))
