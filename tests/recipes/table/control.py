"""The positive control's runs on CIFAR-10: a narrow network, a few epochs. The numbers are ours."""

from recipe_views import HTDT, PLAIN, crop

OURS = "own choice"
LIGHTLY = "lightly's benchmark on CIFAR-10 (0.06 at 128, 0.0005), from memory"
NO_CROPS = {"crops": 0}

CONTROL = {
    "code": "none: a study of this project",
    "length": ("cifar10 at 32 px, 6 epochs of 256", OURS),
    "network": ("resnet18w16 with stl's stem, norms over all images", OURS),
    "optimizer": ("sgd 0.06 at 128, momentum 0.9, decay 0.0005 of weights", LIGHTLY),
    "schedule": ("cosine, warm-up of 100 steps", OURS),
    "views": ([crop(HTDT, "0.2 to 1", 32)] * 2, "htdt/self-supervised, cfg.py:32-42"),
    "how": ("auto precision, channels last, resident views", OURS),
}
PLAIN_VIEW = ([crop(PLAIN, size=32, resize="bilinear")], "torchvision's crop and flip")
ADAM = ("adam 0.001, betas 0.9 and 0.999, decay 1e-06 of weights", "own choice: SGD at 0.12 learnt less in 3 epochs")
IN_128 = ("cifar10 at 32 px, 6 epochs of 128", OURS)


def run(objective, heads, settings, **others):
    """An entry: heads and settings are ours, as is all that `others` leaves as the runs share it."""
    return {**CONTROL, "objective": objective, "heads": (heads, OURS), "settings": (settings, OURS), **others}


BOOTSTRAP = "projector: 512, bn, relu, 128 no bias; predictor: 512, bn, relu, 128 no bias"
THREE_LAYERS = "projector: 512 no bias, bn, relu, 512 no bias, bn, relu, 512 no bias"

RECIPES = {
    "control_supervised": run("supervised", "fc: 1000", {}, views=PLAIN_VIEW),
    "control_simclr": run(
        "simclr",
        "projector: 512 no bias, bn, relu, 128 no bias, bn no shift",
        {
            "loss": "nt_xent",
            "temperature": 0.1,
            "projector": "mlp",
            "projector_layers": 2,
            "projector_rank": 360,
            "hidden_dim": 512,
            "projection_dim": 128,
            "jitter_strength": 1.0,
            **NO_CROPS,
            **{"sigma": 0.5, "negative_weight": 1.0, "hard_share": 0.1},  # of other losses
            **{"align_weight": 1.0, "uniform_weight": 1.0, "t": 2.0},
            "reduction": "mean",
        },
    ),
    "control_byol": run("byol", BOOTSTRAP, {"hidden_dim": 512, "projection_dim": 128, "tau0": 0.99, **NO_CROPS}),
    "control_two_loss": run(
        "two_loss",
        BOOTSTRAP,
        {
            "loss2": "logistic",
            "loss1_weight": 1.0,
            "loss2_weight": 1.0,
            "hidden_dim": 512,
            "projection_dim": 128,
            "tau0": 0.99,
            **NO_CROPS,
        },
    ),
    "control_simsiam": run(
        "simsiam",
        f"{THREE_LAYERS}, bn plain; predictor: 128 no bias, bn, relu, 512",
        {"projection_dim": 512, "hidden_dim": 128, **NO_CROPS},
        optimizer=(f"{CONTROL['optimizer'][0]}; predictor at a constant rate", LIGHTLY),
    ),
    "control_swav": run(
        "swav",
        "projector: 512 no bias, bn, relu, 128; prototypes: 100 no bias",
        {
            "prototypes": 100,
            "hidden_dim": 512,
            "projection_dim": 128,
            "temperature": 0.1,
            "epsilon": 0.03,
            "iterations": 3,
            "freeze_share": 0.1,
            "queue_size": 0,
            "queue_start": 0.075,
            "global_scale": (0.14, 1.0),
            **NO_CROPS,
        },
    ),
    "control_barlow_twins": run(
        "barlow_twins",
        THREE_LAYERS,
        {"projection_dim": 512, "weight": 0.0051, "bias_rate": 1.0, "gradient_ranks": 1, **NO_CROPS},
        length=IN_128,
        optimizer=ADAM,
    ),
    "control_vicreg": run(
        "vicreg",
        THREE_LAYERS,
        {
            "projection_dim": 512,
            "invariance_weight": 25.0,
            "variance_weight": 25.0,
            "covariance_weight": 1.0,
            **NO_CROPS,
        },
        length=IN_128,
        optimizer=(ADAM[0], OURS),
    ),
    "control_rotation": run("rotation", "classifier: 4", {}, views=PLAIN_VIEW),
    "control_jigsaw": run(
        "jigsaw",
        "patch_head: 128 no bias, bn, relu; classifier: 100",
        {
            "crop": 1.0,
            "permutations": 100,
            "patch_size": 32,
            "gap": 5,
            "jitter": 2,
            "grey": 0.3,
            "standardise": True,
            "patch_dim": 128,
            "image_statistics": True,
        },
        length=("cifar10 at 112 px, 1 epochs of 256", "own choice: nine patches of 32 pixels an image"),
        views=(["112 px of a square of 1, bilinear, flip 0.5, grey 0.3"], OURS),
    ),
    "control_vae": run(
        "vae",
        "posterior: 256; decoder: 1024 no bias, unflatten, bn, relu, upsample, conv 3x3 64 no bias, bn, relu, "
        "upsample, conv 3x3 32 no bias, bn, relu, upsample, conv 3x3 16 no bias, bn, relu, conv 3x3 3",
        {"likelihood": "gaussian", "latent_dim": 128, "sigma": 0.1, "beta": 1.0, "image_size": 32, "width": 16},
        optimizer=("adam 0.001, betas 0.9 and 0.999", "own choice: SGD at 0.12 ends in NaN"),
        views=PLAIN_VIEW,
    ),
}
