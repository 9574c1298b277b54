"""What holds for every objective."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module

import pytest
from cases import load

from bench.config.objective_settings import settings_of, settings_of_class
from bench.config.objective_source import class_says, definition_of, objectives
from bench.errors import BadInput
from bench.nn.encoder import Encoder, build_encoder
from bench.objectives import OBJECTIVES, build
from bench.objectives.base import Objective

BUILDS_ON = {"moco_v2": "moco", "pixel_rnn": "pixel_cnn", "two_loss": "byol", "patch_byol": "byol"}


def kind(name: str) -> type[Objective]:
    module, _, class_name = OBJECTIVES[name].partition(":")
    return getattr(import_module(module), class_name)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_settings_read_from_the_source_are_those_of_the_constructor(name):
    read, taken = (
        [(key, setting.default, setting.alternatives) for key, setting in settings.items()]
        for settings in (settings_of(name), settings_of_class(kind(name)))
    )
    assert read == taken
    assert objectives() == OBJECTIVES
    assert definition_of(name) == kind(name).definition
    keywords = [p for key, p in inspect.signature(kind(name)).parameters.items() if key in settings_of(name)]
    assert all(p.kind is p.KEYWORD_ONLY for p in keywords)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_docstrings_say_where_it_comes_from(name):
    module = import_module(OBJECTIVES[name].partition(":")[0])
    for word in ("Claim:", "Paper", "Equation:", "Reference:", "Departs from it:"):
        assert f"\n{word}" in module.__doc__
    assert len(kind(name).__doc__.splitlines()) == 1


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_imports_no_other_but_the_one_that_it_builds_on(name):
    module = import_module(OBJECTIVES[name].partition(":")[0])
    imported = [
        node.module for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)
    ]
    others = {module.partition(":")[0] for module in OBJECTIVES.values()} & set(imported)
    assert others == ({f"bench.objectives.{BUILDS_ON[name]}"} if name in BUILDS_ON else set())
    assert name not in BUILDS_ON or issubclass(kind(name), kind(BUILDS_ON[name]))


def test_continued_pretraining_finds_every_module_of_its_parent(make):
    parent = make("byol").state_dict()
    for child in (make("two_loss"), make("two_loss", loss2="dense_byol"), make("patch_byol")):
        report = child.load_state_dict(parent, strict=False)
        assert not report.unexpected_keys
        assert all("dense" in name for name in report.missing_keys)
    assert make("patch_byol").load_state_dict(make("two_loss").state_dict(), strict=True)


def test_guards(make):
    encoder = build_encoder("resnet18", 0)
    with pytest.raises(BadInput, match="Unknown objective 'byoll'; did you mean byol"):
        build({"name": "byoll"}, encoder)
    with pytest.raises(BadInput, match="Unknown objective ''; known: byol, "):
        build({}, encoder)
    with pytest.raises(BadInput, match=r"Unknown key 'objective.tau'; did you mean tau0"):
        build({"name": "byol", "tau": 1.0}, encoder)
    with pytest.raises(BadInput, match=r"Unknown key 'objective.num_classes'"):
        build({"name": "supervised", "num_classes": 3}, encoder)
    for name in ("byol", "two_loss", "patch_byol"):
        with pytest.raises(BadInput, match=r"objective.tau0 is 1.5"):
            make(name, tau0=1.5)
        with pytest.raises(BadInput, match=r"objective.hidden_dim is 0; set it to 1 or more"):
            make(name, hidden_dim=0)
        with pytest.raises(BadInput, match=r"objective.projection_dim is -1"):
            make(name, projection_dim=-1)
    with pytest.raises(TypeError, match="abstract"):
        Objective(Encoder("resnet18"))


NEGATIVES = "negatives, which are other images"
NEEDS_SEVERAL = {
    **dict.fromkeys(["moco_v3", "triplet", "amdim", "cpc", "direct_clr", "simclr", "dcl", "dclw"], NEGATIVES),
    **dict.fromkeys(["simple_contrastive", "hard_contrastive", "align_uniform"], NEGATIVES),
    "contrastive_2006": "dissimilar pairs, which are of different images",
    **dict.fromkeys(["vicreg", "vicregl"], "variances over the images of a batch"),
    **dict.fromkeys(["byol", "two_loss", "patch_byol", "simsiam"], "several images for the batch norms in its heads"),
    "barlow_twins": "correlations over the images of a batch",
    "swav": "images that share the prototypes",
    **dict.fromkeys(["taco", "dsm"], "other clips as negatives"),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_of_one_image_is_refused_where_several_are_needed(name):
    assert kind(name).needs_several_for == NEEDS_SEVERAL.get(name, "")
    if name in NEEDS_SEVERAL:
        objective = next(case for case in load().values() if case.settings["name"] == name).make()
        objective.check(2, 224)
        with pytest.raises(
            BadInput, match=rf"needs {NEEDS_SEVERAL[name]}, but batch_size is 1 .*; set batch_size to 2 or more"
        ):
            objective.check(1, 224)


@pytest.mark.parametrize("case", sorted(load()))
def test_a_class_says_whether_it_keeps_a_copy_of_its_encoder(case):
    """What a plan goes by, which builds no network."""
    made = load()[case]
    keeps = any(name in {"target_encoder", "key_encoder"} for name, _ in made.make().named_children())
    if made.settings.get("variant") == "s":  # DetCon without a target
        assert not keeps
    else:
        assert class_says(made.settings["name"], "keeps_copy") == keeps
