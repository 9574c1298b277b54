"""What an annotation of a setting says is what the constructor does: no range and no choice is made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import NUM_CLASSES, NUM_IMAGES, load
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.objectives import OBJECTIVES, build
from bench.signature import check_arguments, domains

CASES = load()
TRAINED = [name for name in OBJECTIVES if name != "random_init"]
TOGETHER = {"low_rank": {"projector_rank": 8}, "random": {"patches": 2}}

# Refused because of what the other settings are: no patch may move by more than the gap.
DEPENDS = {("relative_patch", "gap", 0), ("jigsaw", "gap", 0), ("denoising_autoencoder", "amount", 2.0)}


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
                with pytest.raises(BadInput, match=r"set|give"):
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


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("name", TRAINED)
def test_what_the_constructor_refuses_of_a_number_alone_a_plan_refuses(name):
    for key, (domain, *_) in domains(name).items():
        for value in {"int": (-1, 0), "float": (-1.0, 0.0, 2.0)}.get(domain.type, ()):
            try:
                make(name, **{key: value})
            except BadInput:
                if (name, key, value) not in DEPENDS:
                    with pytest.raises(BadInput, match=rf"objective\.{key} .*in mine\.py.*; (set it|known)"):
                        check_arguments({"name": name, key: value}, Path("mine.py"))
            except (RuntimeError, ValueError):
                continue  # torch's own word for a size below 0
