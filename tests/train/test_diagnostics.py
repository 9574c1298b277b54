"""Diagnostics of a run while it trains: what they log, that they change nothing, and which runs count as collapsed."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in import LENGTH, StandIn, assert_same_run, lines, recipe, same, source
from torch import Tensor

from bench.config.recipe import DiagnosticsSettings, Recipe
from bench.data.held_out import HeldOut, held_out
from bench.data.sets import index
from bench.data.views import normalised
from bench.errors import StageFailed
from bench.hashing import MACHINE_KEYS
from bench.train.checkpoint import LAST, read
from bench.train.distributed import Ranks, ranks_of
from bench.train.loop import fit
from bench.train.monitor import ROW, interval, measures, undisturbed

if TYPE_CHECKING:  # this file is a script, too
    from forked import Forks

NAMES = {"std_sqrt_dim", "effective_rank", "rankme", "uniformity", "alignment", "tolerance", "knn_percent"}


class Watched(StandIn):
    """The stand-in with outputs, which collapse where it is told to. It draws at random and has a norm and dropout."""

    def __init__(self, collapse: str = "", **values: Any) -> None:
        super().__init__(**values)
        self.collapse = collapse
        self.seen_modes: list[bool] = []

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        self.seen_modes += [module.training for module in self.modules()]
        assert not torch.is_grad_enabled()
        torch.rand(3)
        f = self.encoder(images).mean((2, 3))
        z = torch.randn(len(f), 16, generator=torch.Generator().manual_seed(len(f)))
        if self.collapse == "on the way":
            raise RuntimeError(self.collapse)
        if self.collapse == "point":
            z = torch.ones(len(f), 16) + 1e-3 * z
        elif self.collapse == "line":
            z = z[:, :1] * torch.ones(16) + 1e-3 * z
        return {"backbone": f, "projector": z}


def images(labels: bool = True) -> HeldOut:
    rng = torch.Generator().manual_seed(0)

    def draw(n: int) -> Tensor:
        return torch.randint(256, (n, 3, 8, 8), generator=rng, dtype=torch.uint8)

    sample = HeldOut(draw(12), (draw(12), draw(12)))
    return (
        replace(sample, labels=torch.arange(12) % 3, bank=draw(9), bank_labels=torch.arange(9) % 3)
        if labels
        else sample
    )


def train(
    folder: Path,
    config: Recipe,
    *,
    held: Callable[[], HeldOut] | None = images,
    ranks: Ranks | None = None,
    until: int | None = None,
    **model: Any,
) -> tuple[Watched, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    objective = Watched(**model)
    if until is not None:

        def stop(step: int) -> None:
            if step == until:
                raise KeyboardInterrupt

        objective.hook = stop
    metrics = fit(
        objective,  # type: ignore[arg-type]
        source(config, ranks=ranks),
        config,
        seed=7,
        steps_per_epoch=LENGTH // config.batch_size,
        folder=folder,
        ranks=ranks,
        held_out=held,
    )
    return objective, metrics


def look(**settings: Any) -> dict[str, Any]:
    return {"diagnostics": {"every_steps": 1, "images": 12, **settings}}


# ------------------------------------------------------------------------------------ nothing changes


def test_training_is_bit_for_bit_the_same_with_and_without(tmp_path: Path) -> None:
    _, plain = train(tmp_path / "plain", recipe(), held=None)
    watched, seen = train(tmp_path / "seen", recipe(**look()))
    assert not any(watched.seen_modes)  # nothing was in train mode when it was looked at
    assert watched.seen_modes
    assert all(module.training for module in watched.modules())
    assert seen == plain
    for name in sorted(file.name for file in (tmp_path / "plain").glob("*.ckpt")):
        assert same(read(tmp_path / "plain" / name), read(tmp_path / "seen" / name)), name
    ours = [
        {key: value for key, value in line.items() if not key.startswith("diagnostics/")}
        for line in lines(tmp_path / "seen")
        if "loss" in line
    ]
    assert ours == lines(tmp_path / "plain")


def test_modes_and_random_state_are_put_back_as_they_were() -> None:
    objective = Watched()
    objective.encoder[1].eval()  # a norm that someone froze
    before = {name: module.training for name, module in objective.named_modules()}
    buffers = {name: buffer.clone() for name, buffer in objective.named_buffers()}
    state = torch.get_rng_state()
    objective.collapse = "on the way"
    with pytest.raises(RuntimeError, match="on the way"), undisturbed(objective, torch.device("cpu")):
        objective.outputs(torch.randn(4, 3, 8, 8))
    assert {name: module.training for name, module in objective.named_modules()} == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(buffers[name], buffer) for name, buffer in objective.named_buffers())


def test_the_settings_are_in_no_fingerprint() -> None:
    from bench.config.load import load_recipe
    from bench.plan import hashed_settings

    assert "diagnostics" in MACHINE_KEYS
    plain, watched = (load_recipe("coco", "smoke", extra) for extra in ({}, look(guard="stop")))
    assert plain.diagnostics != watched.diagnostics
    assert hashed_settings(plain) == hashed_settings(watched)


def test_a_failed_diagnostic_ends_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> HeldOut:
        raise OSError("the disk is gone")

    _, metrics = train(tmp_path / "a", recipe(**look()), held=broken)
    assert metrics["steps"] == 9
    assert capsys.readouterr().out.count("no diagnostics from here on (OSError: the disk is gone)") == 1
    with pytest.raises(OSError, match="the disk is gone"):
        train(tmp_path / "b", recipe(**look(guard="stop")), held=broken)


# --------------------------------------------------------------------------------------------- what is seen


def test_the_log_has_every_measure_of_both_outputs_when_it_is_due(tmp_path: Path) -> None:
    train(tmp_path, recipe(diagnostics={"every_steps": 3, "images": 12}, log_every=2))
    got = {line["step"]: line for line in lines(tmp_path)}
    seen = [step for step, line in got.items() if "diagnostics/backbone/rankme" in line]
    assert seen == [3, 6, 9]
    assert "loss" not in got[3]  # a line of its own between two log steps
    assert "loss" in got[6]
    assert set(got[3]) == {"step", "epoch", ROW} | {
        f"diagnostics/{name}/{key}" for name in ("backbone", "projector") for key in NAMES
    }
    assert got[3]["epoch"] == 0
    boards = list((tmp_path / "tensorboard").iterdir())
    assert any(b"diagnostics/projector/rankme" in file.read_bytes() for file in boards)


def test_what_is_logged_is_what_the_measures_say_of_the_outputs(tmp_path: Path) -> None:
    watched, _ = train(tmp_path, recipe(**look()))
    held = images()
    with undisturbed(watched, torch.device("cpu")):
        f, f1, f2, bank = (
            watched.outputs(normalised(x))["backbone"]
            for x in (held.images, *held.views, held.bank)  # type: ignore[misc]
        )
    expected = measures(f, (f1, f2), held.labels, bank, held.bank_labels)
    line = lines(tmp_path)[-1]
    assert {key: line[f"diagnostics/backbone/{key}"] for key in NAMES} == pytest.approx(expected, rel=1e-6)


def test_without_labels_there_is_no_tolerance_and_no_neighbour(tmp_path: Path) -> None:
    train(tmp_path, recipe(**look()), held=lambda: images(labels=False))
    keys = {key.rpartition("/")[2] for key in lines(tmp_path)[-1] if key.startswith("diagnostics/backbone")}
    assert keys == NAMES - {"tolerance", "knn_percent"}


@pytest.mark.parametrize("images_", [0, 12])
def test_no_images_means_no_diagnostics(tmp_path: Path, images_: int) -> None:
    train(tmp_path, recipe(diagnostics={"images": images_, "every_steps": 1}))
    assert any("diagnostics" in key for key in lines(tmp_path)[-1]) == bool(images_)


def test_measures_of_what_is_not_finite_are_left_out() -> None:
    z = torch.randn(6, 4)
    z[2, 1] = math.nan
    assert measures(z) == {}
    assert set(measures(torch.randn(6, 4))) == {"std_sqrt_dim", "effective_rank", "rankme", "uniformity"}


def test_by_default_looking_costs_a_hundredth_of_the_training() -> None:
    settings = DiagnosticsSettings()
    assert interval(settings, 256, 5004) == 5004  # ImageNet: once an epoch
    small = interval(settings, 16, 32)  # 512 images: not in every epoch
    assert small % 32 == 0
    assert (3 * 256 + 512) / (6 * 16 * small) <= 0.01
    assert (3 * 256 + 512) / (6 * 16 * (small - 32)) > 0.01


# ------------------------------------------------------------------------------------------------ collapse


@pytest.mark.parametrize("collapse", ["point", "line"])
def test_a_collapse_is_reported_once_and_the_run_goes_on(
    tmp_path: Path, collapse: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, metrics = train(tmp_path, recipe(**look()), collapse=collapse)
    assert metrics["steps"] == 9
    said = capsys.readouterr().out
    assert said.count("warning: tiny: by step 3 the projector's outputs have collapsed, 3 checks in a row") == 1
    assert said.count("warning") == 1
    assert ("std·√D is" in said) == (collapse == "point")
    assert ("effective rank is" in said) == (collapse == "line")
    assert [line[ROW] for line in lines(tmp_path)] == list(range(1, 10))


def test_a_healthy_run_is_not_warned_of_nor_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, recipe(**look(guard="stop", patience=1)))
    assert "warning" not in capsys.readouterr().out
    assert [line[ROW] for line in lines(tmp_path)] == [0] * 9


def test_a_collapse_ends_the_run_where_that_is_wanted_and_it_stays_ended(tmp_path: Path) -> None:
    config = recipe(**look(guard="stop", patience=4), checkpoint={"every_steps": 2})
    words = r"by step 4 the projector's outputs have collapsed, 4 checks in a row: .*Lower optimizer\.lr.*guard='warn'"
    for _ in range(2):  # the second time it goes on from step 2, and counts on
        with pytest.raises(StageFailed, match=words):
            train(tmp_path, config, collapse="point")
        assert read(tmp_path / LAST)["step"] == 2
    assert [line[ROW] for line in lines(tmp_path)] == [1, 2, 3, 4]
    train(tmp_path, recipe(**look(guard="warn"), checkpoint={"every_steps": 2}), collapse="point")
    assert read(tmp_path / LAST)["step"] == 9


def test_a_collapse_in_the_last_step_does_not_count_as_finished(tmp_path: Path) -> None:
    config = recipe(**look(guard="stop", patience=9), checkpoint={})
    for _ in range(2):
        with pytest.raises(StageFailed, match="by step 9"):
            train(tmp_path, config, collapse="point")


def test_an_untrained_encoder_has_not_collapsed() -> None:
    from bench.nn.encoder import build_encoder

    encoder = build_encoder("resnet18", 0).eval()
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(24, 3, 4, 4, generator=rng)
    pictures = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear") * 255
    with torch.no_grad():
        seen = measures(encoder(normalised(pictures.to(torch.uint8))))
    assert DiagnosticsSettings().min_std < seen["std_sqrt_dim"] < 0.5
    assert seen["effective_rank"] > DiagnosticsSettings().min_rank


def test_the_guard_can_be_switched_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, recipe(**look(guard="off")), collapse="point")
    assert "collapsed" not in capsys.readouterr().out
    assert ROW not in lines(tmp_path)[-1]


def test_a_run_that_was_stopped_logs_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    config = recipe(**look(), checkpoint={"every_steps": 2, "keep_every_epochs": 1})
    train(tmp_path / "whole", config, collapse="point")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", config, collapse="point", until=6)
    train(tmp_path / "parts", config, collapse="point")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_several_ranks_stop_together_and_only_the_first_looks(tmp_path: Path, forks: Forks) -> None:
    said = [done.stdout + done.stderr for done in forks.run_ranks(*[[__file__, tmp_path]] * 2)]
    assert "StageFailed: tiny: by step 3 the projector's outputs have collapsed" in said[0], said
    assert "StageFailed: The representation collapsed; the first process's message says how" in said[1], said
    assert "looked" in said[0]
    assert "looked" not in said[1]


def main() -> None:
    def held() -> HeldOut:
        print("looked")
        return images()

    config = recipe(**look(guard="stop"))
    with ranks_of(device="cpu") as ranks:
        try:
            train(Path(sys.argv[1]), config, held=held, ranks=ranks, collapse="point")
        except StageFailed as error:
            print(f"StageFailed: {error}")


# ------------------------------------------------------------------------------------- which images


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five classes of 8 training and 3 validation images (the fifth has none), and the same without labels."""
    root = tmp_path_factory.mktemp("held")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for name in "abcde" if split == "train" else "abcd":
            folder = root / "imagenet" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (40, 44, 3), dtype=np.uint8)).save(folder / f"{name}{number}.png")
    (root / "coco").mkdir()
    (root / "coco" / "train2017").symlink_to(root / "imagenet" / "train" / "a")
    return root


def test_images_are_held_out_where_there_is_a_validation_set(data: Path) -> None:
    train_set = index("imagenet", data / "imagenet", "train")
    sample = held_out(train_set, 32, images=6, classes=2, bank=8)
    assert sample.images.shape == sample.views[0].shape == sample.views[1].shape == (6, 3, 32, 32)
    assert sample.images.dtype == torch.uint8
    assert sample.labels is not None
    assert sample.bank is not None
    assert sample.bank_labels is not None
    assert sample.labels.tolist() == [0, 0, 0, 3, 3, 3]  # of the classes that val has, first and last
    assert sample.bank_labels.tolist() == [0] * 4 + [3] * 4
    assert not torch.equal(sample.views[0], sample.views[1])


def test_they_are_the_same_for_every_run(data: Path) -> None:
    train_set = index("imagenet", data / "imagenet", "train")
    one = held_out(train_set, 32, images=4, classes=2, bank=8)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    other = held_out(train_set, 32, images=4, classes=2, bank=8)
    assert torch.equal(one.images, other.images)
    assert all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))


def test_without_a_validation_set_they_are_not_in_the_bank(data: Path, tmp_path: Path) -> None:
    (tmp_path / "train").symlink_to(data / "imagenet" / "train")
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "flat.png").write_bytes(b"")  # as ImageNet is unpacked: no class folders
    sample = held_out(index("imagenet", tmp_path, "train"), 32, images=10, classes=5, bank=1000)
    assert sample.labels is not None
    assert sample.bank is not None
    assert sample.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len(sample.bank) == 30
    rows = {image.numpy().tobytes() for image in sample.images}
    assert len(rows) == 10
    assert not rows & {image.numpy().tobytes() for image in sample.bank}


def test_images_without_labels_have_no_bank_and_unreadable_ones_are_left_out(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "train2017"
    folder.mkdir()
    for file in (data / "coco" / "train2017").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "a3.png").write_bytes(b"no image")
    sample = held_out(index("coco", tmp_path, "train"), 32, images=100, classes=5, bank=8)
    assert len(sample.images) == 7
    assert (sample.labels, sample.bank) == (None, None)


if __name__ == "__main__":
    main()
