"""What holds for every objective."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module

import pytest
import torch
from cases import load
from torch.nn.modules.batchnorm import _BatchNorm

from bench.config.objective_settings import settings_of, settings_of_class
from bench.config.objective_source import objectives
from bench.errors import BadInput
from bench.nn.encoder import Encoder, build_encoder
from bench.objectives import OBJECTIVES, build
from bench.objectives.base import Objective

CASES = {
    "byol": ({"name": "byol"}, (32, 32), {"loss"}),
    "logistic": ({"name": "two_loss"}, (32, 32), {"loss", "loss1", "loss2"}),
    "dense_byol": ({"name": "two_loss", "loss2": "dense_byol"}, (64, 64), {"loss", "loss1", "loss2"}),
    "align_uniform": ({"name": "two_loss", "loss2": "align_uniform"}, (32, 32), {"loss", "loss1", "loss2"}),
    "variance_covariance": ({"name": "two_loss", "loss2": "variance_covariance"}, (32, 32), {"loss", "loss1", "loss2"}),
    "grid": ({"name": "patch_byol"}, (64, 64), {"loss", "loss_global", "loss_patch"}),
    "gated": ({"name": "patch_byol", "gate_temperature": 5.0}, (64, 64), {"loss", "loss_global", "loss_patch", "gate"}),
    "random": (
        {"name": "patch_byol", "sampling": "random", "patches": 2, "symmetric": True},
        (32, 32, 32, 32),
        {"loss", "loss_global", "loss_patch"},
    ),
    "supervised": ({"name": "supervised", "num_classes": 3}, (32,), {"loss", "top1_percent"}),
}
BUILDS_ON = {"moco_v2": "moco", "pixel_rnn": "pixel_cnn", "two_loss": "byol", "patch_byol": "byol"}
BOOTSTRAP = [case for case in CASES if case != "supervised"]


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


@pytest.mark.parametrize("case", CASES)
def test_a_step_lowers_the_loss_and_every_parameter_has_a_gradient(case, make, batch, apart):
    settings, sizes, terms = CASES[case]
    objective, data = make(**settings), batch(*sizes)
    apart(objective)
    returned = objective(data)
    assert set(returned) == terms
    assert all(term.shape == () and term.isfinite() for term in returned.values())
    assert [name for name, term in returned.items() if term.requires_grad] == ["loss"]
    returned["loss"].backward()
    trained = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    assert all(p.grad is not None for p in trained.values())
    norm = torch.stack([p.grad.norm() for p in trained.values()]).norm()
    assert norm > 1e-6
    with torch.no_grad():
        for parameter in trained.values():
            parameter -= 1e-4 / norm * parameter.grad
    assert objective(data)["loss"] < returned["loss"]


@pytest.mark.parametrize("case", BOOTSTRAP)
def test_the_target_has_no_gradient_and_follows_by_its_parameters_alone(case, make, batch, apart):
    settings, sizes, _ = CASES[case]
    objective, data = make(**settings, tau0=0.9), batch(*sizes)
    apart(objective)
    targets = {name: p for name, p in objective.named_parameters() if name.startswith("target_")}
    assert targets
    assert {name.partition(".")[0] for name in targets} >= {"target_encoder", "target_projector"}
    objective(data)["loss"].backward()
    assert not any(p.requires_grad or p.grad is not None for p in targets.values())

    online = dict(objective.named_parameters())
    buffers = {name: buffer.clone() for name, buffer in objective.named_buffers()}
    expected = {name: 0.9 * p + 0.1 * online[name.removeprefix("target_")] for name, p in targets.items()}
    objective.after_step(0.0)
    for name, p in targets.items():
        torch.testing.assert_close(p, expected[name].detach(), msg=name)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in objective.named_buffers())

    before = {name: p.clone() for name, p in targets.items()}
    objective.after_step(1.0)  # the rate has reached 1: the target stands still
    assert all(torch.equal(p, before[name]) for name, p in targets.items())


@pytest.mark.parametrize("case", BOOTSTRAP)
def test_the_target_normalises_by_its_own_batches(case, make, batch, apart):
    settings, sizes, _ = CASES[case]
    objective, data = make(**settings), batch(*sizes)
    apart(objective)
    assert objective.target_encoder.training
    objective(data)
    for name in ("encoder", "target_encoder"):
        assert getattr(objective, name).layer4[0].bn2.num_batches_tracked > 0
    assert objective.target_encoder.bn1.num_batches_tracked == 2  # once for each global view, by itself
    statistics = objective.target_encoder.layer4[0].bn2.running_mean
    assert not torch.allclose(statistics, objective.encoder.layer4[0].bn2.running_mean)


@pytest.mark.parametrize("case", CASES)
def test_norms_and_biases_neither_decay_nor_adapt(case, make):
    objective = make(**CASES[case][0])
    weights, rest = objective.param_groups()
    assert (weights["decay"], weights["adapt"], rest["decay"], rest["adapt"]) == (True, True, False, False)
    names = {id(p): name for name, p in objective.named_parameters()}
    excluded = {names[id(p)] for p in rest["params"]}
    expected = {
        f"{prefix}.{name}"
        for prefix, module in objective.named_modules()
        if not prefix.startswith("target_")
        for name, _ in module.named_parameters(recurse=False)
        if isinstance(module, _BatchNorm) or name == "bias"
    }
    assert excluded == expected
    assert {"encoder.layer2.0.downsample.1.weight", "encoder.layer2.0.downsample.1.bias"} <= excluded
    trained = [id(p) for p in objective.parameters() if p.requires_grad]
    assert sorted(map(id, weights["params"] + rest["params"])) == sorted(trained)


def test_continued_pretraining_finds_every_module_of_its_parent(make):
    parent = make("byol").state_dict()
    for child in (make("two_loss"), make("two_loss", loss2="dense_byol"), make("patch_byol")):
        report = child.load_state_dict(parent, strict=False)
        assert not report.unexpected_keys
        assert all("dense" in name for name in report.missing_keys)
    assert make("patch_byol").load_state_dict(make("two_loss").state_dict(), strict=True)


@pytest.mark.parametrize(
    ("settings", "heads"),
    [
        ({"name": "byol", "hidden_dim": 8, "projection_dim": 4}, ("projector.0.weight", "predictor.0.weight")),
        ({"name": "two_loss", "loss2": "dense_byol", "hidden_dim": 8}, ("dense_projector.0.weight",)),
        ({"name": "supervised"}, ("fc.weight", "fc.bias")),
    ],
)
def test_heads_depend_on_the_encoders_seed_alone(settings, heads, encoder):
    states = []
    for history, seed in ((1, 0), (2, 0), (1, 7)):
        torch.manual_seed(history)
        before = torch.get_rng_state()
        states.append(build(settings, encoder(seed), num_classes=3).state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in heads)


def test_bf16_autocast_gives_a_float32_loss(batch, encoder):
    data = batch(32, 32)
    data.views = [view.float() for view in data.views]
    settings = {"name": "two_loss", "hidden_dim": 8, "projection_dim": 4}
    objective = build(settings, encoder()).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        terms = objective(data)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    terms["loss"].backward()
    assert all(
        p.grad is None or (p.grad.dtype == torch.float32 and p.grad.isfinite().all()) for p in objective.parameters()
    )


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
