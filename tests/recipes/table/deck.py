"""The deck's runs: BYOL, its second loss, and what continues from it. It gives neither code nor recipe."""

from recipe_views import HTDT, byol_pair, crop

HEADS = "projector: 4096, bn, relu, 256 no bias; predictor: 4096, bn, relu, 256 no bias"

# htdt/self-supervised, whose log has the columns of the deck's table: projector and predictor of 1,024 hidden numbers.
CIFAR10 = {
    "code": "htdt/self-supervised@d9662c8",
    "objective": "byol",
    "length": ("cifar10 at 32 px, 1000 epochs of 512", "README.md:64 (epochs), cfg.py:112 (batch)"),
    "network": ("resnet18 with cifar's stem, norms over all images", "model.py:22-25; cfg.py:131; one GPU there"),
    "optimizer": ("adam 0.003, betas 0.9 and 0.999, decay 1e-06 of all", "README.md:64, cfg.py:67, train.py:39"),
    "schedule": (
        "x0.2 after 950, 975, warm-up of 500 steps from 0.002",
        "cfg.py:115-125, train.py:23-24, 43-54: step s has (s + 1)/500; own choice: (1 + 0.998 s)/500",
    ),
    "views": ([crop(HTDT, "0.2 to 1", 32)] * 2, "cfg.py:32-42, datasets/transforms.py:6-20; own choice: crop first"),
    "heads": (
        "projector: 1024, bn, relu, 64 no bias; predictor: 1024, bn, relu, 64 no bias",
        "model.py:5-16, methods/byol.py:17-22, README.md:64 (64); own choice: last layers without bias (there: with)",
    ),
    "settings": (
        {"hidden_dim": 1024, "projection_dim": 64, "tau0": 0.99, "crops": 0},
        "cfg.py:22, 80; README.md:64; tau rises to 1 by half a cosine, methods/byol.py:52",
    ),
    "how": ("auto precision, channels last, resident views", "own choice"),
}
# The deck's batch; its rate is not known.
CIFAR100 = {**CIFAR10, "length": ("cifar100 at 32 px, 1000 epochs of 4096", "README.md:65; batch: the deck's")}
STL10 = {
    **CIFAR10,
    "length": ("stl10 at 96 px, 2000 epochs of 4096", "README.md:66; pixels and batch: the deck's (there 64 and 512)"),
    "network": ("resnet18 with stl's stem, norms over all images", "model.py:22-25"),
    "optimizer": ("adam 0.002, betas 0.9 and 0.999, decay 1e-06 of all", "README.md:66, cfg.py:67, train.py:39"),
    "schedule": ("x0.2 after 1950, 1975, warm-up of 500 steps from 0.002", "cfg.py:115-125, train.py:23-24, 43-54"),
    "views": ([crop(HTDT, "0.2 to 1", 96)] * 2, "cfg.py:32-42; pixels: the deck's"),
    "heads": (
        "projector: 1024, bn, relu, 128 no bias; predictor: 1024, bn, relu, 128 no bias",
        "model.py:5-16, methods/byol.py:17-22, README.md:66 (128); own choice: last layers without bias",
    ),
    "settings": (
        {"hidden_dim": 1024, "projection_dim": 128, "tau0": 0.99, "crops": 0},
        "cfg.py:22, 80; README.md:66",
    ),
}

# Xie et al., ORL, whose first stage is BYOL on COCO; 80 epochs are read off the deck's `finetune_79`.
COCO = {
    "code": "Jiahao000/ORL@2ad64f7, configs/selfsup/orl/coco/stage1/r50_bs512_ep800.py",
    "objective": "byol",
    "length": ("coco at 224 px, 80 epochs of 512", ":40, 76; own choice: 80 epochs, the deck's (there 800)"),
    "network": ("resnet50, norms over all images", ":9-14"),
    "optimizer": ("sgd 0.4 at 512, momentum 0.9, decay 0.0001 of all", ":93; no paramwise options"),
    "schedule": ("cosine, warm-up of 4 epochs", ":99-105; there from 1e-4 of the rate, which cannot be 0"),
    "views": (byol_pair(), ":39-73 (interpolation=2 is Pillow's bilinear); own choice: bicubic, BYOL's"),
    "heads": (HEADS, ":15-29, necks.py:234-248 (no bias before a norm); own choice: one, which the norm takes out"),
    "settings": (
        {"hidden_dim": 4096, "projection_dim": 256, "tau0": 0.99, "crops": 0},
        ":8, 18-19, 27-28; to 1 by half a cosine, openselfsup/hooks/byol_hook.py:34-36",
    ),
}
TWO_LOSS = {"loss2": "logistic", "loss1_weight": 1.0, "loss2_weight": 1.0}
DECK = "own choice: the deck's printed losses add up with weights 1 and 1; what loss2 is, is our reading"
PATCHES = {
    "patch_size": 96,
    "patch_scale": (0.05, 0.25),
    "patch_weight": 1.0,
    "symmetric": False,
    "gate_temperature": None,
    "hidden_dim": 4096,
    "projection_dim": 256,
    "tau0": 0.99,
}
CONTINUED = "own choice: the deck's name read as 40 epochs that go on from epoch 79"

# Grill et al., the preset of 100 epochs.
IMAGENET100 = {
    "code": "google-deepmind/deepmind-research@f5de0ed, byol/",
    "objective": "byol",
    "length": ("imagenet100 at 224 px, 80 epochs of 512", "own choice: our reading of the deck (there ImageNet, 4096)"),
    "network": (
        "resnet50, norms over all images, last norms at 0",
        "configs/byol.py:47-56; dm-haiku@f4d858a, haiku/_src/nets/resnet.py:104",
    ),
    "optimizer": (
        "lars 0.45 at 256, momentum 0.9, trust 0.001 of weights, decay 1e-06 of weights",
        "configs/byol.py:21-22, 57-61, utils/schedules.py:34, utils/optimizers.py:30 (exclude_bias_and_norm)",
    ),
    "schedule": ("cosine, warm-up of 10 epochs", "configs/byol.py:64, utils/schedules.py:27-43"),
    "views": (byol_pair(), "utils/augmentations.py:27-66, utils/dataset.py:201-217"),
    "heads": (HEADS, "configs/byol.py:40-42, utils/networks.py:40-45"),
    "settings": (
        {"hidden_dim": 4096, "projection_dim": 256, "tau0": 0.99, "crops": 0},
        "configs/byol.py:23, 40-42; to 1 by half a cosine, utils/schedules.py:20-24",
    ),
}
QUADRANTS = "own choice: four patches are the quadrants of the first view"


def two_loss(recipe, **weights):
    """The recipe with the second loss."""
    settings = {**recipe["settings"][0], **TWO_LOSS, **weights}
    return {**recipe, "objective": "two_loss", "settings": (settings, f"{recipe['settings'][1]}; {DECK}")}


RECIPES = {
    "cifar10_byol_loss1": CIFAR10,
    "cifar10_byol_loss2": two_loss(CIFAR10, loss1_weight=0.0),
    "cifar10_byol_two_loss": two_loss(CIFAR10),
    "cifar100_byol_loss1": CIFAR100,
    "cifar100_byol_loss2": two_loss(CIFAR100, loss1_weight=0.0),
    "cifar100_byol_two_loss": two_loss(CIFAR100),
    "stl10_byol_loss1": STL10,
    "stl10_byol_two_loss": two_loss(STL10),
    "coco": COCO,
    "coco_two_loss": two_loss(COCO),
    "coco_4_1finetune_79_4p": {
        **COCO,
        "objective": "patch_byol",
        "length": ("coco at 224 px, 40 epochs of 512, from coco after epoch 79", CONTINUED),
        "views": (byol_pair(), QUADRANTS),
        "settings": ({"patches": 4, "sampling": "grid", **PATCHES}, QUADRANTS),
    },
    "coco_4_1finetune_79_8new": {
        **COCO,
        "objective": "patch_byol",
        "length": ("coco at 224 px, 40 epochs of 512, from coco after epoch 79", CONTINUED),
        "views": (
            [
                *byol_pair(),
                "8 x 96 px of 0.05 to 0.25, bicubic, flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2, "
                "blur 0.1 to 2 at 0.5",
            ],
            "own choice: eight patches that are cropped anew",
        ),
        "settings": ({"patches": 8, "sampling": "random", **PATCHES}, "own choice"),
    },
    "imagenet_0": IMAGENET100,
    "imagenet_1": two_loss(IMAGENET100),
    "imagenet_4_1finetune_79_sys4_T5_lr": {
        **IMAGENET100,
        "objective": "patch_byol",
        "length": ("imagenet100 at 224 px, 40 epochs of 512, from imagenet_0 after epoch 79", CONTINUED),
        "optimizer": (
            "lars 0.045 at 256, momentum 0.9, trust 0.001 of weights, decay 1e-06 of weights",
            "own choice: `lr` read as a tenth of the rate",
        ),
        "views": (byol_pair(), QUADRANTS),
        "settings": (
            {"patches": 4, "sampling": "grid", **PATCHES, "symmetric": True, "gate_temperature": 5.0},
            "own choice: `sys4` read as symmetric with four patches, `T5` as the gate's temperature",
        ),
    },
    "imagenet_byol": {
        **IMAGENET100,
        "length": ("imagenet at 224 px, 1000 epochs of 4096", "configs/byol.py:30, README.md:69 (batch)"),
        "optimizer": (
            "lars 0.2 at 256, momentum 0.9, trust 0.001 of weights, decay 1.5e-06 of weights",
            "configs/byol.py:21-22, 57-61",
        ),
        "settings": (
            {"hidden_dim": 4096, "projection_dim": 256, "tau0": 0.996, "crops": 0},
            "configs/byol.py:23, 40-42",
        ),
    },
    "imagenet_byol_300": {
        **IMAGENET100,
        "length": ("imagenet at 224 px, 300 epochs of 4096", "configs/byol.py:30, README.md:69 (batch)"),
        "optimizer": (
            "lars 0.3 at 256, momentum 0.9, trust 0.001 of weights, decay 1e-06 of weights",
            "configs/byol.py:21-22, 57-61",
        ),
    },
}
