"""Joint embeddings on ImageNet without a queue or a bank: SimCLR's family, and those without negatives."""

from recipe_views import BYOL, MOCO_V2, SIMCLR, byol_pair, crop

# ------------------------------------------------------------------------------------------ SimCLR and its like

LARS = "trust 0.001 of weights"
SIMCLR_HEAD = "projector: 2048 no bias, bn, relu, 128 no bias, bn no shift"
SIMCLR_HEAD_3 = "projector: 2048 no bias, bn, relu, 2048 no bias, bn, relu, 128 no bias, bn no shift"
HEAD = {"projector": "mlp", "projector_layers": 2, "projector_rank": 360, "hidden_dim": 2048, "projection_dim": 128}
OTHER_LOSSES = {  # of other losses by name: of no effect
    "sigma": 0.5,
    "negative_weight": 1.0,
    "hard_share": 0.1,
    "align_weight": 1.0,
    "uniform_weight": 1.0,
    "t": 2.0,
}
SIMCLR_100 = {
    "code": "google-research/simclr@383d414",
    "objective": "simclr",
    "length": ("imagenet at 224 px, 100 epochs of 4096", "README.md:102-104"),
    "network": ("resnet50, norms over all images, last norms at 0", "run.py:215-217; resnet.py:395, 480"),
    "optimizer": (
        f"lars 0.3 at 256, momentum 0.9, {LARS}, decay 0.0001 of weights",
        "README.md:103, 109 (0.075 x the root of 4096 is 0.3 x 4096/256); run.py:175; lars_optimizer.py:26, 39; "
        "model_util.py:95-100",
    ),
    "schedule": ("cosine, warm-up of 10 epochs", "run.py:51-52, model_util.py:59-83"),
    "views": ([crop(SIMCLR)] * 2, "data_util.py:304-325, 387-475, run.py:239-245"),
    "heads": (SIMCLR_HEAD_3, "model_util.py:109-177 (as wide as the features), run.py:202-208 (3 layers to 128)"),
    "settings": (
        {
            "loss": "nt_xent",
            "temperature": 0.1,
            **HEAD,
            "projector_layers": 3,
            "jitter_strength": 1.0,
            "crops": 0,
            **OTHER_LOSSES,
            "reduction": "sum",
        },
        "README.md:102; run.py:206-208, 239-241; objective.py:82-86 (the sum of both views' losses)",
    ),
}
SIMCLR_1000 = {
    **SIMCLR_100,
    "length": ("imagenet at 224 px, 1000 epochs of 4096", "the paper, from memory"),
    "optimizer": (f"lars 0.3 at 256, momentum 0.9, {LARS}, decay 1e-06 of weights", "the paper, from memory"),
    "heads": (SIMCLR_HEAD, "the paper, from memory: two layers"),
    "settings": ({**SIMCLR_100["settings"][0], "projector_layers": 2}, "the paper, from memory"),
}
# Losses in SimCLR's place: the paper's decay and head, torchvision's start.
LOSS = {
    **SIMCLR_1000,
    "length": ("imagenet100 at 224 px, 200 epochs of 512", "own choice"),
    "network": ("resnet50, norms over all images", "own choice: last norms start at 1"),
}
DCL = {
    **LOSS,
    "code": "google-research/simclr@383d414 (optimizer, views, head); none is public for ImageNet",
    "objective": "dcl",
    "length": ("imagenet at 224 px, 200 epochs of 256", "Yeh et al., ECCV 2022, from memory"),
    "optimizer": (
        f"lars 1.2, momentum 0.9, {LARS}, decay 1e-06 of weights",
        "own choice: 0.075 x the root of 256, SimCLR's rule for small batches (README.md:103, 109)",
    ),
}

# ------------------------------------------------------------------------------------------ without negatives

BARLOW_TWINS = {
    "code": "facebookresearch/barlowtwins@8e8d284, main.py",
    "objective": "barlow_twins",
    "length": ("imagenet at 224 px, 1000 epochs of 2048", ":29-32"),
    "network": ("resnet50, norms over all images, last norms at 0", ":89 (SyncBN), 191"),
    "optimizer": (
        f"lars 0.2 at 256, momentum 0.9, {LARS}, decay 1e-06 of weights; encoder's biases and norms, "
        "projector's biases and norms at 0.024 of the rate",
        ":33-38 (0.0048/0.2), 90-101, 224-263; the paper, from memory, has a decay of 1.5e-6",
    ),
    "schedule": ("cosine to 0.001, warm-up of 10 epochs", ":155-170"),
    "views": (byol_pair(), ":290-321"),
    "heads": ("projector: 8192 no bias, bn, relu, 8192 no bias, bn, relu, 8192 no bias", ":41, 195-202"),
    "settings": (
        {"projection_dim": 8192, "weight": 0.0051, "bias_rate": 0.024, "gradient_ranks": 16, "crops": 0},
        ":33-41; README.md:57-60 (16 GPUs), :215-216 (the sum outside of autograd)",
    ),
}
VICREG_LOSS = {"invariance_weight": 25.0, "variance_weight": 25.0, "covariance_weight": 1.0}
VICREG = {
    "code": "facebookresearch/vicreg@4e12602, main_vicreg.py",
    "objective": "vicreg",
    "length": ("imagenet at 224 px, 1000 epochs of 2048", "README.md:80"),
    "network": ("resnet50, norms over all images, last norms at 0", ":106 (SyncBN), 189-191"),
    "optimizer": (f"lars 0.2 at 256, momentum 0.9, {LARS}, decay 1e-06 of weights", "README.md:80, :54, 108-113"),
    "schedule": ("cosine to 0.001, warm-up of 10 epochs", ":167-181"),
    "views": (byol_pair(), "augmentations.py:37-84"),
    "heads": (
        "projector: 8192 no bias, bn, relu, 8192 no bias, bn, relu, 8192 no bias",
        ":44, 223-232; own choice: no bias before a norm (there one, which the norm takes out)",
    ),
    "settings": ({"projection_dim": 8192, **VICREG_LOSS, "crops": 0}, ":44, 58-63"),
}
VICREGL = {
    "code": "facebookresearch/VICRegL@803ae4c, main_vicregl.py",
    "objective": "vicregl",
    "length": ("imagenet at 224 px, 300 epochs of 2048", "README.md:149"),
    "network": ("resnet50, norms over all images, last norms at 0", ":124, 269-271"),
    "optimizer": (f"lars 0.2 at 256, momentum 0.9, {LARS}, decay 1e-06 of weights", "README.md:149, optimizers.py"),
    "schedule": ("cosine to 0.001, warm-up of 10 epochs", ":70, 74"),
    "views": (byol_pair(), "README.md:149 (two of 0.08 to 1), transforms.py"),
    "heads": (
        "projector: 8192 no bias, bn, relu, 8192 no bias, bn, relu, 8192 no bias; "
        "local_projector: 512 no bias, bn, relu, 512 no bias, bn, relu, 512 no bias",
        ":50-51, 276-280; own choice: no bias before a norm",
    ),
    "settings": (
        {
            "projection_dim": 8192,
            "local_dim": 512,
            "alpha": 0.9,
            "matches": (20, 4),
            "feature_matches": None,
            "flip_places": False,
            **VICREG_LOSS,
            "crops": 0,
        },
        ":44, 50-65; alpha: README's table (0.75 and 0.9; the command has 0.75)",
    ),
}
SIMSIAM = {
    "code": "facebookresearch/simsiam@a7bc177",
    "objective": "simsiam",
    "length": ("imagenet at 224 px, 100 epochs of 512", "main_simsiam.py:47, 51"),
    "network": ("resnet50, norms over all images, last norms at 0", "main_simsiam.py:161, simsiam/builder.py:24"),
    "optimizer": (
        "sgd 0.05 at 256, momentum 0.9, decay 0.0001 of all; predictor at a constant rate",
        "main_simsiam.py:56-60, 157, 193-201; README.md:32 (--fix-pred-lr)",
    ),
    "schedule": ("cosine", "main_simsiam.py:359-366, there once an epoch"),
    "views": ([crop(MOCO_V2, "0.2 to 1", resize="bilinear")] * 2, "main_simsiam.py:229-237"),
    "heads": (
        "projector: 2048 no bias, bn, relu, 2048 no bias, bn, relu, 2048 no bias, bn plain; "
        "predictor: 512 no bias, bn, relu, 2048",
        "simsiam/builder.py:26-42 (the bias before the last norm is held, and the norm takes it out)",
    ),
    "settings": ({"projection_dim": 2048, "hidden_dim": 512, "crops": 0}, "main_simsiam.py:86-88"),
}
MOCO_V3 = {
    "code": "facebookresearch/moco-v3@c349e6e",
    "objective": "moco_v3",
    "length": ("imagenet at 224 px, 100 epochs of 4096", "main_moco.py:56, 60; CONFIG.md:14-18"),
    "network": ("resnet50, norms over all images, last norms at 0", "main_moco.py:186, 196"),
    "optimizer": (
        f"lars 0.6 at 256, momentum 0.9, {LARS}, decay 1e-06 of weights",
        "main_moco.py:65-69, 225; moco/optimizer.py:10-43",
    ),
    "schedule": ("cosine, warm-up of 10 epochs", "main_moco.py:115, 420-428"),
    "views": (byol_pair("0.2 to 1", "bilinear"), "CONFIG.md:15 (--crop-min), main_moco.py:262-285"),
    "heads": (
        "projector: 4096 no bias, bn, relu, 256 no bias, bn plain; predictor: 4096 no bias, bn, relu, 256 no bias",
        "moco/builder.py:36-52, 100-109; main_moco.py:95-97",
    ),
    "settings": (
        {"temperature": 1.0, "momentum": 0.99, "hidden_dim": 4096, "dim": 256, "crop_min": 0.2, "crops": 0},
        "main_moco.py:95-104, 431-434 (to 1 by half a cosine); CONFIG.md:15",
    ),
}

# ------------------------------------------------------------------------------------------ clusters, distillation

SMALL = "0.05 to 0.14"
SWAV = {
    "code": "facebookresearch/swav@06b1b7c, scripts/swav_800ep_pretrain.sh",
    "objective": "swav",
    "length": ("imagenet at 224 px, 800 epochs of 4096", ":9-11, 39-40 (64 GPUs of 64)"),
    "network": ("resnet50, norms over 512 images", ":50, main_swav.py:116, 162 (groups of 8); src/resnet50.py:139"),
    "optimizer": (
        "lars 4.8 at 4096, momentum 0.9, trust 0.001 of all, decay 1e-06 of all",
        ":41, 44; main_swav.py:171-177 (all parameters in one group)",
    ),
    "schedule": ("cosine to 0.001, warm-up of 10 epochs from 0.0625", ":41-42, 45-46; main_swav.py:178-182"),
    "views": (
        [*[crop(SIMCLR, "0.14 to 1", resize="bilinear")] * 2, "6 x " + crop(SIMCLR, SMALL, 96, "bilinear")],
        ":28-31, src/multicropdataset.py:37-94",
    ),
    "heads": (
        "projector: 2048 no bias, bn, relu, 128; prototypes: 3000 no bias",
        "main_swav.py:107; src/resnet50.py:205-217; own choice: no bias before a norm",
    ),
    "settings": (
        {
            "prototypes": 3000,
            "hidden_dim": 2048,
            "projection_dim": 128,
            "temperature": 0.1,
            "epsilon": 0.05,
            "iterations": 3,
            "freeze_share": 1 / 800,
            "queue_size": 0,
            "queue_start": 0.075,
            "global_scale": (0.14, 1.0),
            "crops": 6,
            "crop_size": 96,
            "crop_scale": (0.05, 0.14),
        },
        ":28-43 (313 of an epoch's 312.8 steps)",
    ),
}
SWAV_256 = {
    **SWAV,
    "code": "facebookresearch/swav@06b1b7c, scripts/swav_200ep_bs256_pretrain.sh",
    "length": ("imagenet at 224 px, 200 epochs of 256", ":9-11, 40-41 (4 GPUs of 64)"),
    "network": ("resnet50, norms over all images", ":50 (pytorch)"),
    "optimizer": ("lars 0.6 at 256, momentum 0.9, trust 0.001 of all, decay 1e-06 of all", ":42, 45"),
    "schedule": ("cosine to 0.001", ":42-43, 46"),
    "settings": (
        {**SWAV["settings"][0], "freeze_share": 1 / 200, "queue_size": 3840, "queue_start": 15 / 200},
        ":28-44 (5005 of an epoch's 5004.6 steps)",
    ),
}
DINO_HEAD = "projector: 2048, gelu, 2048, gelu, 256; last_layer: 65536 no bias"
DINO_VIEWS = [*byol_pair("0.14 to 1"), "8 x " + crop(f"{BYOL}, blur 0.1 to 2 at 0.5", SMALL, 96)]
DINO_100 = {
    "code": "facebookresearch/dino@7c446df",
    "objective": "dino",
    "length": ("imagenet at 224 px, 100 epochs of 512", "README.md:207 (8 processes), main_dino.py:90-92 (64)"),
    "network": ("resnet50, norms over all images", "main_dino.py:176-181, 197"),
    "optimizer": (
        "sgd 0.03 at 256, momentum 0.9, decay 0.0001 of weights, each parameter clipped to 3",
        "README.md:207; main_dino.py:87, 229, 239; utils.py:132-141, 632-643",
    ),
    "schedule": ("cosine to 1.666667e-05, warm-up of 10 epochs", "main_dino.py:99-102: to 1e-6, the peak being 0.06"),
    "views": (DINO_VIEWS, "README.md:207, main_dino.py:112, 420-456"),
    "heads": (DINO_HEAD, "vision_transformer.py:257-291 (weights over their norm, main_dino.py:57), main_dino.py:55"),
    "settings": (
        {
            "outputs_dim": 65536,
            "hidden_dim": 2048,
            "bottleneck_dim": 256,
            "norm_in_head": False,
            "student_temperature": 0.1,
            "first_temperature": 0.04,
            "last_temperature": 0.04,
            "temperature_warmup": 0.0,
            "center_momentum": 0.9,
            "freeze_share": 1 / 100,
            "tau0": 0.996,
            "global_scale": (0.14, 1.0),
            "crops": 8,
            "crop_size": 96,
            "crop_scale": (0.05, 0.14),
        },
        "README.md:207; main_dino.py:55-75, 93, 112, 363-366",
    ),
}

THIRD = "args.txt beside the released network, by what others say of it (issue 133; not seen)"
DINO_800 = {
    **DINO_100,
    "length": ("imagenet at 224 px, 800 epochs of 4080", THIRD),
    "optimizer": (f"lars 0.3 at 256, momentum 0.9, {LARS}, decay 1e-06 of weights", THIRD),
    "schedule": ("cosine to 0.001003922, warm-up of 10 epochs", f"{THIRD}: to 0.0048, the peak being 4.78"),
    "views": ([*byol_pair("0.14 to 1"), "6 x " + crop(f"{BYOL}, blur 0.1 to 2 at 0.5", SMALL, 96)], THIRD),
    "heads": ("projector: 2048 no bias, bn, gelu, 2048 no bias, bn, gelu, 256; last_layer: 60000 no bias", THIRD),
    "settings": (
        {
            **DINO_100["settings"][0],
            "outputs_dim": 60000,
            "norm_in_head": True,
            "last_temperature": 0.07,
            "temperature_warmup": 50 / 800,
            "freeze_share": 1 / 800,
            "crops": 6,
        },
        THIRD,
    ),
    "how": ("auto precision, channels last, reference views, exports target", "eval_linear.py:264 (the teacher)"),
}
DINO_100["how"] = DINO_800["how"]

# ------------------------------------------------------------------------------------------ others

DIRECT_CLR = {
    "code": "facebookresearch/directclr@a86f64c, directclr/",
    "objective": "direct_clr",
    "length": ("imagenet at 224 px, 100 epochs of 4096", "main.py:27-30"),
    "network": ("resnet50, norms over all images, last norms at 0", "main.py:82, 150"),
    "optimizer": (
        f"lars 0.3 at 256, momentum 0.9, {LARS}, decay 1e-06 of weights",
        "main.py:31-34, 85-87 (4.8, not scaled, at 4096), utils.py:63-66",
    ),
    "schedule": ("cosine to 0.001, warm-up of 10 epochs", "utils.py:168-184"),
    "views": (byol_pair(), "utils.py:131-160"),
    "heads": ("projector: subvector", "main.py:178-181"),
    "settings": (
        {
            "d0": 360,
            "temperature": 0.1,
            "projector": "subvector",
            "projector_rank": 360,
            "hidden_dim": 2048,
            "projection_dim": 128,
            "crops": 0,
        },
        "main.py:39, 206; README.md:19 (--mode directclr --dim 360)",
    ),
}
ALIGN_UNIFORM = {
    "code": "ssnl/align_uniform@78ccdb1, examples/stl10/main.py",
    "objective": "align_uniform",
    "length": ("imagenet100 at 224 px, 200 epochs of 768", ":22-23; own choice: data (there STL-10 at 64 pixels)"),
    "network": ("resnet50, norms over all images", "own choice: network (there a small AlexNet on one GPU)"),
    "optimizer": ("sgd 0.12 at 256, momentum 0.9, decay 0.0001 of all", ":24-30, 43-44, 86-87"),
    "schedule": ("x0.1 after 155, 170, 185", ":26-28, 88-89"),
    "views": (
        [crop("flip 0.5, jitter 0.4 0.4 0.4 0.4 at 1, grey 0.2", resize="bilinear")] * 2,
        ":58-68 (jitter before grey)",
    ),
    "heads": (SIMCLR_HEAD, "own choice: SimCLR's, two layers"),
    "settings": ({"align_weight": 1.0, "uniform_weight": 1.0, "alpha": 2.0, "t": 2.0, **HEAD, "crops": 0}, ":17-20"),
}

RECIPES = {
    "imagenet_simclr": SIMCLR_100,
    "imagenet_simclr_1000": SIMCLR_1000,
    "imagenet_dcl": {
        **DCL,
        "settings": ({"temperature": 0.1, **HEAD, "crops": 0}, "Yeh et al., from memory: temperature 0.1"),
    },
    "imagenet_dclw": {
        **DCL,
        "objective": "dclw",
        "settings": (
            {"temperature": 0.1, "sigma": 0.5, **HEAD, "crops": 0},
            "raminnakhli/Decoupled-Contrastive-Learning@0b9b76d, loss/dcl.py:42, README.md:46",
        ),
    },
    "imagenet_simple_contrastive": {
        **LOSS,
        "objective": "simple_contrastive",
        "settings": ({"negative_weight": 1.0, "hard_share": 1.0, **HEAD, "crops": 0}, "own choice"),
    },
    "imagenet_hard_contrastive": {
        **LOSS,
        "objective": "hard_contrastive",
        "settings": ({"temperature": 0.3, "hard_share": 0.1, **HEAD, "crops": 0}, "own choice"),
    },
    "imagenet_align_uniform": ALIGN_UNIFORM,
    "imagenet_direct_clr": DIRECT_CLR,
    "imagenet_barlow_twins": BARLOW_TWINS,
    "imagenet_vicreg": VICREG,
    "imagenet_vicregl": VICREGL,
    "imagenet_simsiam": SIMSIAM,
    "imagenet_moco_v3": MOCO_V3,
    "imagenet_swav": SWAV,
    "imagenet_swav_256": SWAV_256,
    "imagenet_dino_100": DINO_100,
    "imagenet_dino": DINO_800,
}
