"""Canaries that sing, and mistakes that they hear."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from bench.canary import flock
from bench.canary.cases import canary
from bench.canary.images import render_images
from bench.canary.mistakes import MISTAKES, applies
from bench.canary.training import COUNT, KINDS, CanaryEncoder, shaken, sing
from bench.canary.verdict import complaints, read_expected
from bench.cli import run
from bench.errors import BadInput
from bench.objectives import build

# A mistake, an objective in which it can be made, and how many eighths of its run it takes to be heard.
PLANTED = [
    ("loss_halved", "byol", 1),
    ("sign_wrong", "simclr", 1),
    ("term_sign_wrong", "vicreg", 1),
    ("gradient_through_target", "byol", 1),
    ("gradient_through_target", "simsiam", 1),
    ("predictor_removed", "byol", 1),
    ("target_frozen", "moco", 3),
    ("momentum_zero", "byol", 2),
    ("temperature_times_ten", "simclr", 1),
    ("positive_among_negatives", "moco_v2", 2),
    ("views_identical", "byol", 1),
    ("projector_bypassed", "byol", 1),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return render_images(tmp_path_factory.mktemp("canary") / "images")


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_images_are_the_same_everywhere(root):
    files = sorted(root.rglob("*.png"))
    assert len(files) == 6 * (64 + 48) + 6 * 16 * 12
    from PIL import Image

    pixels = hashlib.sha256()
    for file in files[:: len(files) // 40]:
        pixels.update(Image.open(file).tobytes())
    assert pixels.hexdigest()[:12] == "8675c7b82bc7"
    before = {file: file.stat().st_mtime_ns for file in files}
    assert render_images(root) == root
    assert {file: file.stat().st_mtime_ns for file in files} == before


@pytest.mark.parametrize(("name", "parts"), [("byol", 2), ("simclr", 2), ("moco_v2", 2), ("vicreg", 2), ("simsiam", 2)])
def test_what_is_right_stays_in_its_corridor(root, name, parts):
    song = sing(canary(name), root, parts=parts).values()
    assert complaints(song, read_expected()[name]) == []


def test_a_whole_song_beats_random_weights(root):
    song = sing(canary("simsiam"), root)
    assert complaints(song.values(), read_expected()["simsiam"]) == []
    assert song.knn_percent > song.knn_random_percent + 5
    assert song.losses[-1] < song.losses[0]


@pytest.mark.parametrize(("mistake", "name", "parts"), PLANTED)
def test_a_planted_mistake_is_heard(root, mistake, name, parts):
    case = canary(name)
    song = sing(case, root, sabotage=[MISTAKES[mistake]], parts=parts).values()
    assert complaints(song, read_expected()[name])


def test_what_the_loss_does_not_show_is_heard_by_how_far_networks_moved(root):
    """MoCo v3 does not collapse without a predictor, and its loss stays where it was."""
    case, expected = canary("moco_v3"), read_expected()["moco_v3"]
    song = sing(case, root, sabotage=[MISTAKES["predictor_removed"]]).values()
    assert "predictor has no weights of its own" in complaints(song, expected)
    song["moved"] = {network: sum(corridor) / 2 for network, corridor in expected.moved.items()}
    assert complaints(song, expected) == []


def test_a_network_that_does_not_follow_did_not_move(root):
    case = replace(canary("byol"), steps=8)
    still, right = (sing(case, root, sabotage=sabotage).moved for sabotage in ([MISTAKES["target_frozen"]], []))
    assert still["target_encoder"] == still["target_projector"] == 0
    assert 0 < right["target_encoder"] < right["encoder"]
    assert still.keys() == right.keys() == {"encoder", "projector", "predictor", "target_encoder", "target_projector"}


def test_every_mistake_is_planted():
    assert {mistake for mistake, _, _ in PLANTED} == set(MISTAKES)
    for mistake, name, _ in PLANTED:
        objective = build({"name": name, **canary(name).settings}, CanaryEncoder(0), KINDS, COUNT)
        assert applies(objective, mistake)
    rotation = build({"name": "rotation"}, CanaryEncoder(0), KINDS, COUNT)
    assert [mistake for mistake in MISTAKES if applies(rotation, mistake)] == ["loss_halved", "sign_wrong"]


def test_a_song_repeats_itself_bit_for_bit_and_another_seed_does_not(root):
    case = canary("supervised")
    one, again, other = (sing(case, root, seed, parts=1).losses for seed in (0, 0, 1))
    assert one == again != other
    assert sing(case, root, sabotage=[shaken(1)], parts=1).losses != one


def test_the_command_says_what_went_wrong(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(flock, "render_images", lambda where: root)
    told = []
    song = {"losses": (1.0,) * 8, "knn_percent": 0.0, "knn_random_percent": 30.0, "std": 0.0, "rank": 1.0}
    song |= {"moved": {}, "seconds": 1}
    monkeypatch.setattr(flock, "_songs", lambda wanted, where, jobs: told.append(where) or [("byol", song)])
    assert run(["canary", "byol", "--work-dir", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "loss 1 in part 1 of 8" in printed.out
    assert "1 went otherwise than recorded: byol" in printed.err


def test_bad_names_are_refused(capsys, monkeypatch, tmp_path):
    assert run(["canary", "byoll"]) == 2
    assert "No canary 'byoll'; did you mean byol" in capsys.readouterr().err
    assert run(["canary", "random_init"]) == 2
    monkeypatch.setattr(flock, "read_expected", dict)
    with pytest.raises(BadInput, match=r"The canary byol was not recorded; run bench canary byol --record"):
        flock.check(["byol"], tmp_path, 1, print)
    with pytest.raises(BadInput, match=r"The canary byol was not recorded"):
        flock.plant(["byol"], tmp_path, 1, print)
