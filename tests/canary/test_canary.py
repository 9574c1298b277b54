"""Canaries that run, and mistakes that they notice."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch
from PIL import Image

from bench.canary import runs
from bench.canary.cases import CONDITIONS, Conditions, canary
from bench.canary.image_set import render_images
from bench.canary.mistakes import MISTAKES, applies
from bench.canary.training import CLASSES, IMAGES, CanaryEncoder, run, shake
from bench.canary.verdict import Measurements, complaints, read_expected
from bench.cli import run as run_command
from bench.errors import BadInput
from bench.objectives import build

pytestmark = pytest.mark.slow

# A mistake, and an objective that shows it in the first eighth of its run.
PLANTED = [
    ("loss_halved", "vicreg"),
    ("sign_wrong", "simclr"),
    ("term_sign_wrong", "vicreg"),
    ("gradient_through_target", "moco_v2"),
    ("gradient_through_target", "simsiam"),
    ("predictor_removed", "simsiam"),
    ("target_frozen", "dino"),
    ("momentum_zero", "dino"),
    ("temperature_times_ten", "simclr"),
    ("positive_among_negatives", "moco_v2"),
    ("views_identical", "simsiam"),
    ("projector_bypassed", "simclr"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return render_images(tmp_path_factory.mktemp("canary") / "images")


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_the_images_are_the_same_everywhere(root):
    files = sorted(root.rglob("*.png"))
    assert len(files) == 6 * (64 + 48) + 6 * (16 + 8) * 12
    pixels = hashlib.sha256()
    for file in files[:: len(files) // 40]:
        pixels.update(Image.open(file).tobytes())
    assert pixels.hexdigest()[:12] == "29c32cd66a21"
    before = {file: file.stat().st_mtime_ns for file in files}
    assert render_images(root) == root
    assert {file: file.stat().st_mtime_ns for file in files} == before


@pytest.mark.slow
def test_a_whole_run_is_as_recorded_and_beats_random_weights(root):
    measured = run(canary("simsiam"), root)
    assert complaints(measured, read_expected()["simsiam"]) == []
    assert measured.gain > 5
    assert measured.losses[-1] < measured.losses[0]


@pytest.mark.parametrize("name", sorted({name for _, name in PLANTED}))
def test_a_correct_objective_starts_as_recorded(root, name):
    assert complaints(run(canary(name), root, parts=1), read_expected()[name]) == []


@pytest.mark.parametrize(("mistake", "name"), PLANTED)
def test_a_planted_mistake_is_noticed(root, mistake, name):
    assert complaints(run(canary(name), root, MISTAKES[mistake], parts=1), read_expected()[name])


def test_how_far_networks_moved_shows_which_is_missing_or_frozen(root):
    case = replace(canary("byol"), steps=8)
    correct, frozen, missing = (
        run(case, root, *(MISTAKES[name] for name in names)).moved
        for names in ([], ["target_frozen"], ["predictor_removed"])
    )
    assert frozen["target_encoder"] == frozen["target_projector"] == 0
    assert 0 < correct["target_encoder"] < correct["encoder"]
    assert (
        correct.keys() == frozen.keys() == {"encoder", "projector", "predictor", "target_encoder", "target_projector"}
    )
    assert missing.keys() == correct.keys() - {"predictor"}


def test_each_mistake_is_planted_where_it_can_be_made():
    assert {mistake for mistake, _ in PLANTED} == set(MISTAKES)
    for mistake, name in PLANTED:
        assert applies(build({"name": name, **canary(name).settings}, CanaryEncoder(0), CLASSES, IMAGES), mistake)
    rotation = build({"name": "rotation"}, CanaryEncoder(0), CLASSES, IMAGES)
    assert [mistake for mistake in MISTAKES if applies(rotation, mistake)] == ["loss_halved", "sign_wrong"]


def test_a_run_repeats_itself_bit_for_bit_and_other_seeds_and_weights_do_not(root):
    first, again, seed, weights = (
        run(canary("supervised"), root, *changes, seed=seed, parts=1).losses
        for seed, changes in ((0, ()), (0, ()), (1, ()), (0, (shake(1),)))
    )
    assert first == again
    assert len({first, seed, weights}) == 3


@pytest.mark.slow
def test_a_run_is_started_under_its_conditions_and_what_runs_is_said_from_the_start(root, capsys, monkeypatch):
    """Kernels are chosen when torch is imported, so the environment must be there before."""
    monkeypatch.setattr(runs, "QUIET_SECONDS", 0.01)
    case = replace(canary("supervised"), steps=8)
    ((_, _, measured),) = runs._each([(case, "")], root, 1, Conditions({"ATEN_CPU_CAPABILITY": "default"}))
    assert measured.capability == "DEFAULT"
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["canary: 1 to train, 1 at a time", "canary: 1 of 1, supervised: 8 steps"]
    assert said[2].startswith("canary: still training supervised for ")


def test_painting_the_images_is_said_before_it_begins(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs, "render_images", lambda where: capsys.readouterr().out)
    assert runs._images(tmp_path / "images") == f"canary: painting its images and clips below {tmp_path}/images, once\n"
    assert runs._images(tmp_path) == ""


@pytest.mark.slow
def test_the_task_of_clips_is_solved_more_often_after_training(root):
    """Of held-out clips in eval mode, with all kinds mixed in a batch. DSM gains 5 points on some processors."""
    assert run(canary("taco"), root).told > 20


def test_the_task_of_dsm_is_measured(root):
    measured = run(replace(canary("dsm"), steps=8), root)
    assert 0 <= measured.told_random_percent <= 100
    assert 0 <= measured.told_percent <= 100


def test_of_images_there_is_no_task_of_clips(root):
    measured = run(replace(canary("supervised"), steps=8), root)
    assert measured.told_percent != measured.told_percent


@pytest.fixture
def measured(root, monkeypatch):
    """The conditions under which runs were asked for; each run gives the same measurements and trains nothing."""
    conditions = []
    values = Measurements((1.0,) * 8, 50.0, 30.0, std=0.5, rank=40.0, moved={"encoder": 0.01}, seconds=1.0)

    def each(wanted, where, jobs, asked):
        conditions.append(asked)
        return [(case, mistake, values) for case, mistake in wanted]

    monkeypatch.setattr(runs, "render_images", lambda where: root)
    monkeypatch.setattr(runs, "_each", each)
    return conditions


def test_the_command_says_what_went_wrong(measured, tmp_path, capsys):
    assert run_command(["canary", "byol", "--work-dir", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "loss 1 in part 1 of 8" in printed.out
    assert "1 went otherwise than recorded: byol" in printed.err
    assert measured == [Conditions()]


def test_the_command_says_which_mistakes_are_missed(measured, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs, "complaints", lambda run, expected: [])
    assert run_command(["canary", "rotation", "--mistakes", "--work-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "NOT NOTICED" in printed
    assert "not noticed: loss_halved in rotation, sign_wrong in rotation" in printed


def test_ranges_are_recorded_under_all_conditions(measured, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(runs, "write_expected", written.append)
    assert run_command(["canary", "byol", "--record", "--work-dir", str(tmp_path)]) == 0
    assert measured == list(CONDITIONS)
    (recorded,) = written
    assert recorded["byol"].low == (0.98,) * 8
    assert recorded["simclr"] == read_expected()["simclr"]


def test_bad_names_are_refused(capsys, monkeypatch, tmp_path):
    assert run_command(["canary", "byoll"]) == 2
    assert "No canary 'byoll'; did you mean byol" in capsys.readouterr().err
    assert run_command(["canary", "random_init"]) == 2
    monkeypatch.setattr(runs, "read_expected", dict)
    for judge in (runs.check, runs.plant):
        with pytest.raises(BadInput, match=r"The canary byol was not recorded; run bench canary byol --record"):
            judge(["byol"], tmp_path, 1, print)
