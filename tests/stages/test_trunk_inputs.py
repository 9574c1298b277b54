"""What a frozen trunk is shown: grey images, or lightness and colours apart, where it has learnt from these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor

from bench.config.load import load_recipe, load_task
from bench.config.tasks import KnnTask, LinearTask, Task
from bench.data.views import MEAN, STD
from bench.errors import BadInput
from bench.plan import hashed_settings, protocol_hash
from bench.stages import knn, linear
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job

CPU = torch.device("cpu")
PIXELS = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normal(rgb: Tensor) -> Tensor:
    return ((rgb - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)).float()


def shown(change: Callable[[Any], None]) -> Tensor:
    """The images after a change of their L, a and b (h×w×3), by scikit-image, normalised."""
    images = []
    for pixels in PIXELS:
        values = rgb2lab(pixels.movedim(0, -1).numpy())
        change(values)
        images.append(torch.from_numpy(lab2rgb(values)).movedim(-1, 0))
    return normal(torch.stack(images))


def grey(values: Any) -> None:
    values[..., 1:] = 0.0


def coloured(values: Any) -> None:
    values[..., 0] = 50.0


@pytest.mark.filterwarnings("ignore:.*negative Z values.*")
def test_features_are_those_of_the_forms_of_an_image_joined(trunk_folder: Path) -> None:
    plain = FrozenTrunk(trunk_folder, "float32", CPU)
    of_grey, of_coloured = plain.features(shown(grey)), plain.features(shown(coloured))
    assert (of_grey - plain.features(PIXELS)).norm() > 0.1 * of_grey.norm()
    for inputs, expected in (("grey", of_grey), ("halves", torch.cat([of_grey, of_coloured], dim=1))):
        trunk = FrozenTrunk(trunk_folder, "float32", CPU, inputs=inputs)
        for images in (PIXELS, normal(PIXELS / 255.0)):
            features = trunk.features(images)
            assert features.shape == (3, trunk.feature_dim)
            assert not features.requires_grad
            torch.testing.assert_close(features, expected, atol=0.02 * expected.abs().max().item(), rtol=0)
        trunk.check()


def test_a_folded_trunk_is_shown_the_same(trunk_folder: Path) -> None:
    ours, theirs = (
        FrozenTrunk(trunk_folder, "float32", CPU, form, "halves").features(PIXELS) for form in ("folded", "autocast")
    )
    assert ours.shape == (3, 256)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


def test_whether_compiling_pays_counts_both_passes_of_halves(trunk_folder: Path, monkeypatch: Any) -> None:
    counted: list[int] = []

    def pays(_: str, images: int, *__: Any) -> bool:
        counted.append(images)
        return False

    monkeypatch.setattr("bench.stages.frozen_trunk.pays", pays)
    for inputs in ("grey", "halves"):
        FrozenTrunk(trunk_folder, "float32", CPU, "folded", inputs).compile(700, 32, 8)
    assert counted == [700, 1400]


def test_kept_features_say_what_was_shown(trunk_folder: Path) -> None:
    plain, of_grey, apart = (
        FrozenTrunk(trunk_folder, "float32", CPU, inputs=inputs).words for inputs in ("rgb", "grey", "halves")
    )
    assert "inputs" not in plain  # features that were kept before there was a choice stay valid
    assert (of_grey["inputs"], apart["inputs"]) == ("grey", "halves")


class Seen(Exception):
    """Ends a stage where its trunk would be loaded."""


@pytest.mark.parametrize("name", ["imagenet_linear", "imagenet_knn"])
def test_stages_show_what_their_task_says(name: str, tmp_path: Path, imagenet: Path, monkeypatch: Any) -> None:
    given: list[Any] = []

    def trunk(*arguments: Any) -> None:
        given.extend(arguments)
        raise Seen

    kind = {"imagenet_linear": linear, "imagenet_knn": knn}[name]
    monkeypatch.setattr(kind, "FrozenTrunk", trunk)
    task = load_task(name, "smoke", {"inputs": "grey"})
    job = Job(
        config=task, seed=0, folder=tmp_path, inputs={"convert": tmp_path / "trunk"}, data_roots={"imagenet": imagenet}
    )
    with pytest.raises(Seen):
        kind.run(job)
    assert given[0] == tmp_path / "trunk"
    assert given[-1] == "grey"


# ---------------------------------------------------------------------------------------------- planning


@pytest.mark.parametrize("name", ["imagenet_linear", "imagenet_knn"])
def test_images_in_colour_are_the_protocol_that_was_there_before(name: str) -> None:
    plain, of_grey, apart = (load_task(name, "full", {"inputs": inputs}) for inputs in ("rgb", "grey", "halves"))
    assert "inputs" not in hashed_settings(plain)
    assert plain == load_task(name)
    assert len({protocol_hash(task) for task in (plain, of_grey, apart)}) == 3


def task_with(inputs: str) -> Task:
    return load_task("imagenet_linear", "full", {"inputs": inputs})


@pytest.mark.parametrize(
    ("pretraining", "inputs", "statistics", "message"),
    [
        (
            "imagenet_simclr",
            "grey",
            None,
            r"shows trunks grey images \(inputs='grey'\), which imagenet_simclr, whose obj",
        ),
        (
            "imagenet_colorization",
            "halves",
            False,
            r"lightness and the colours .* has not learnt from; leave one of the",
        ),
        (
            "imagenet_colorization",
            "grey",
            None,
            r"but the norms of imagenet_colorization keep the statistics of images",
        ),
        ("imagenet_split_brain", "halves", True, r"give --set objective\.image_statistics=False, which is another"),
    ],
)
def test_a_trunk_that_has_not_learnt_from_them_is_refused(
    pretraining: str, inputs: str, statistics: bool | None, message: str
) -> None:
    settings = {} if statistics is None else {"objective": {"image_statistics": statistics}}
    recipe = load_recipe(pretraining, "full", settings)
    with pytest.raises(BadInput, match=message):
        task_with(inputs).check_recipe(recipe)
    load_task("imagenet_knn").check_recipe(recipe)


def test_trunks_that_learnt_from_them_and_random_weights_are_accepted() -> None:
    seen = {"objective": {"image_statistics": False}}
    task_with("grey").check_recipe(load_recipe("imagenet_colorization", "full", seen))
    for inputs in ("grey", "halves"):
        task_with(inputs).check_recipe(load_recipe("imagenet_split_brain", "full", seen))
        task_with(inputs).check_recipe(load_recipe("random_init"))


def test_an_objective_from_outside_says_what_it_learns_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    recipe = load_recipe("imagenet_colorization", "full", {"objective": {"image_statistics": False}})
    recipe = recipe.model_copy(update={"objective": {"name": f"{file}:Mine"}})
    text = "from bench.objectives.base import Objective\n\nclass Mine(Objective):\n    inputs = {}\n"
    file.write_text(text.format("('grey',)"))
    task_with("grey").check_recipe(recipe)
    with pytest.raises(BadInput, match="has not learnt from"):
        task_with("halves").check_recipe(recipe)
    file.write_text(text.format("some_function()"))
    with pytest.raises(BadInput, match=r"Mine\.inputs is some_function\(\); write its words out there, as in"):
        task_with("grey").check_recipe(recipe)


def test_shipped_tasks_differ_from_the_linear_one_in_what_is_shown_alone() -> None:
    plain = load_task("imagenet_linear")
    assert isinstance(plain, LinearTask)
    for inputs in ("grey", "halves"):
        task = load_task(f"imagenet_linear_{inputs}")
        assert hashed_settings(task) == hashed_settings(plain) | {"inputs": inputs}
    assert isinstance(load_task("imagenet_knn", "full", {"inputs": "grey"}), KnnTask)
