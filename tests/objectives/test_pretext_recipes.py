"""How the pretext tasks and the generative objectives are trained, as literals with where each is from."""

from __future__ import annotations

import pytest

from bench.config.load import load_recipe

# Per config: optimizer, rate, of how many images, decay, on what; schedule, warm-up and its start; batch, epochs, view.
RECIPES = {
    # mmselfsup, rotation-pred_resnet50_8xb16-steplr-70e_in1k.py:9-25; 8 × 16 images
    "rotation": ("sgd", 0.2, 128, 1e-4, "all", "step", 5, 0.1, 128, 70, 224),
    # mmselfsup, relative-loc_resnet50_8xb64-steplr-70e_in1k.py:9-32; 8 × 64 images; imagenet_relative-loc.py:8
    "relative_patch": ("sgd", 0.2, 512, 1e-4, "all", "step", 5, 0.1, 512, 70, 255),
    # VISSL, jigsaw_8gpu_resnet.yaml:17, 22-23, 60-84; 8 × 32 images
    "jigsaw": ("sgd", 0.1, 256, 1e-4, "weights", "step", 5, 0.25, 256, 105, 255),
    "colorization": ("sgd", 0.1, 256, 1e-4, "weights", "step", 5, 0.25, 256, 105, 224),  # as jigsaw: own choice
    "split_brain": ("sgd", 0.1, 256, 1e-4, "weights", "step", 5, 0.25, 256, 105, 224),  # as jigsaw: own choice
    # pathak22/context-encoder, train.lua:7-19; epochs are an own choice
    "context_encoder": ("adam", 2e-4, None, 0.0, "weights", "constant", 0, 0.0, 64, 100, 128),
    # jeffdonahue/bigan, train_gan.py:164-183, README ("In the paper, we train on the full dataset"); view: own choice
    "bigan": ("adam", 2e-4, None, 2.5e-5, "weights", "step", 0, 0.0, 128, 100, 224),
    # Own choice.
    "denoising_autoencoder": ("adam", 1e-3, None, 0.0, "weights", "cosine", 5, 0.0, 256, 100, 224),
    "vae": ("adam", 1e-3, None, 0.0, "weights", "cosine", 5, 0.0, 256, 100, 224),
    "pixel_cnn": ("adam", 3e-4, None, 0.0, "weights", "cosine", 5, 0.0, 256, 100, 224),
    "pixel_rnn": ("adam", 3e-4, None, 0.0, "weights", "cosine", 5, 0.0, 256, 100, 224),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_its_sources(name):
    recipe = load_recipe(f"imagenet_{name}")
    optimizer, schedule = recipe.optimizer, recipe.schedule
    assert (
        *(optimizer.name, optimizer.lr, optimizer.lr_batch, optimizer.weight_decay, optimizer.decay),
        *(schedule.name, schedule.warmup_epochs, schedule.warmup_ratio),
        *(recipe.batch_size, recipe.epochs, recipe.view_size),
    ) == RECIPES[name]
    assert recipe.dataset == "imagenet"
    if optimizer.name == "sgd":
        assert (optimizer.momentum, optimizer.nesterov) == (0.9, False)
    else:  # DCGAN's beta1 where there is a discriminator: train.lua:20, train_gan.py:177
        assert optimizer.betas == ((0.5, 0.999) if name in {"context_encoder", "bigan"} else (0.9, 0.999))


@pytest.mark.parametrize("name", RECIPES)
def test_norms_are_over_the_sources_images(name):
    """VISSL's 32 a process (its defaults.yaml:909 joins none), mmselfsup's 64 with BN; rotation there has SyncBN."""
    recipe = load_recipe(f"imagenet_{name}")
    images = {"jigsaw": 32, "relative_patch": 64}.get(name)
    assert (recipe.norm_images, recipe.sync_bn) == (images, images is None)


EPOCHS = {"rotation": (30, 50), "relative_patch": (30, 50)}  # of 70; of 105 else


@pytest.mark.parametrize("name", ["rotation", "relative_patch", "jigsaw", "colorization", "split_brain"])
def test_rates_fall_to_a_tenth_at_the_sources_epochs(name):
    recipe = load_recipe(f"imagenet_{name}")
    milestones = [milestone * recipe.epochs for milestone in recipe.schedule.milestones]
    assert milestones == pytest.approx(EPOCHS.get(name, (30, 60, 90, 100)))
    assert recipe.schedule.gamma == 0.1


def test_bigans_rate_falls_by_a_factor_each_epoch_of_its_second_half():
    """train_gan.py:812-831: constant for 50 epochs, then log-linear in (e − 50 + 1) / 50 to a hundredth."""
    from bench.train.schedule import learning_rate

    recipe = load_recipe("imagenet_bigan")
    rate = learning_rate(recipe.schedule, 2e-4, 1000, 10)  # ten steps an epoch
    for epoch in range(100):
        expected = 2e-4 if epoch < 50 else 2e-4 * 0.01 ** ((epoch - 49) / 50)
        assert rate(10 * epoch) == pytest.approx(expected)
        assert rate(10 * epoch + 9) == pytest.approx(expected)


SETTINGS = {
    "jigsaw": {"permutations": 2000, "patch_size": 64, "gap": 21, "jitter": 10, "grey": 0.66, "patch_dim": 1000},
    "relative_patch": {"patch_size": 64, "gap": 21, "jitter": 10, "grey": 0.66, "hidden_dim": 4096, "dropout": 0.5},
    # train.lua:380 for the weight of the band
    "context_encoder": {"overlap": 4, "overlap_weight": 10.0, "generator_rate": 10.0, "image_size": 64},
    "bigan": {"latent_dim": 200, "image_size": 64},  # train_imagenet_highres_encoder.sh
    "denoising_autoencoder": {"noise": "masking", "amount": 0.25, "reconstruction": "cross_entropy"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_the_sources(name):
    objective = load_recipe(f"imagenet_{name}").objective
    assert {key: objective[key] for key in SETTINGS[name]} == SETTINGS[name]


def test_neither_of_the_recipes_for_patches_has_the_papers_defences_which_its_code_has_not():
    for name in ("jigsaw", "relative_patch"):
        assert load_recipe(f"imagenet_{name}").objective["standardise"] is False
    relative = load_recipe("imagenet_relative_patch").objective
    assert (relative["downsample"], relative["drop_colours"]) == (0.0, False)


@pytest.mark.parametrize(
    ("name", "share"),
    [("relative_patch", 255 / 292), ("jigsaw", 255 / 256), ("context_encoder", 128 / 350), ("bigan", 112 / 128)],
)
def test_the_squares_are_the_sources_pixels(name, share):
    assert load_recipe(f"imagenet_{name}").objective["crop"] == share
