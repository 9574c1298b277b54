"""Contrast with a queue, a memory bank or a margin on ImageNet, and by parts of an image."""

from recipe_views import MOCO_V1, MOCO_V2, PLAIN, crop

SGD = "sgd 0.03 at 256, momentum 0.9, decay 0.0001 of all"
STEPS = "x0.1 after 120, 160"
OTHER_LOSSES = {"loss": "nt_xent", "negative_weight": 1.0, "hard_share": 0.1}  # of other losses: of no effect
MLP_128 = "projector: F, relu, 128"

MOCO = {
    "code": "facebookresearch/moco@78b69ca",
    "objective": "moco",
    "length": ("imagenet at 224 px, 200 epochs of 256", "main_moco.py:42, 46"),
    "network": ("resnet50, norms over 32 images", "main_moco.py:174, README.md:42 (8 GPUs)"),
    "optimizer": (SGD, "main_moco.py:51-57, 195-197"),
    "schedule": (STEPS, "main_moco.py:53, 372-379"),
    "views": ([crop(MOCO_V1, "0.2 to 1", resize="bilinear")] * 2, "main_moco.py:238-245; own choice: flip first"),
    "heads": ("projector: 128", "moco/builder.py:26"),
    "settings": (
        {
            "queue_size": 65536,
            "temperature": 0.07,
            "momentum": 0.999,
            "dim": 128,
            "mlp": False,
            "symmetric": False,
            **OTHER_LOSSES,
            "crops": 0,
        },
        "main_moco.py:83-90",
    ),
}
MOCO_V2_200 = {
    **MOCO,
    "objective": "moco_v2",
    "schedule": ("cosine", "README.md:51 (--cos), main_moco.py:375-376, there once an epoch"),
    "views": ([crop(MOCO_V2, "0.2 to 1", resize="bilinear")] * 2, "README.md:51 (--aug-plus), main_moco.py:225-235"),
    "heads": (MLP_128, "README.md:51 (--mlp), moco/builder.py:29-32"),
    "settings": ({**MOCO["settings"][0], "temperature": 0.2, "mlp": True}, "README.md:51, main_moco.py:83-90"),
}
KEY = crop(MOCO_V2, "0.2 to 1", resize="bilinear")
# Sides and shares of the area of CLSA's crops: ops/argparser.py:77-82.
CLSA_CROPS = [
    crop(MOCO_V2, f"{least} to {most}", size, "bilinear")
    for size, least, most in (
        *((224, "0.2", "1"), (192, "0.172", "0.86"), (160, "0.143", "0.715")),
        *((128, "0.114", "0.571"), (96, "0.086", "0.429")),
    )
]
CLSA = {
    "code": "maple-research-lab/CLSA@37df76c",
    "objective": "clsa",
    "length": ("imagenet at 224 px, 200 epochs of 256", "README.md:74"),
    "network": (
        "resnet50, norms over 32 images",
        "training/main_worker.py:93; own choice: 8 processes (there not said)",
    ),
    "optimizer": (SGD, "README.md:74, ops/argparser.py:25, training/main_worker.py:114-116"),
    "schedule": ("cosine", "ops/argparser.py:64, there once an epoch"),
    "views": (
        [KEY, CLSA_CROPS[0], f"{CLSA_CROPS[-1]}, strong 5"],
        "README.md:74, data_processing/Multi_FixTransform.py:26-73 (the strong view has MoCo's steps, too)",
    ),
    "heads": (MLP_128, "model/CLSA.py:25-31, ops/argparser.py:62"),
    "settings": (
        {
            "queue_size": 65536,
            "temperature": 0.2,
            "momentum": 0.999,
            "dim": 128,
            "mlp": True,
            "beta": 1.0,
            "weak_crops": 1,
            "strong_crops": 1,
            "strong_steps": 5,
        },
        "README.md:74",
    ),
}
CLSA_MULTI = {
    **CLSA,
    "views": (
        [KEY, *CLSA_CROPS, *(f"{each}, strong 5" for each in CLSA_CROPS)],
        "README.md:88, data_processing/Multi_FixTransform.py:26-73",
    ),
    "settings": ({**CLSA["settings"][0], "weak_crops": 5, "strong_crops": 5}, "README.md:88"),
}

# ------------------------------------------------------------------------------------------ memory banks

INSTANCE_DISCRIMINATION = {
    "code": "zhirongw/lemniscate.pytorch@f7cfe29, main.py",
    "objective": "instance_discrimination",
    "length": ("imagenet at 224 px, 200 epochs of 256", ":41, 45"),
    "network": (
        "resnet50, norms over 64 images",
        "HobbitLong/CMC@7b227be, README.md:127 (4 GPUs); the authors name no number of GPUs",
    ),
    "optimizer": (SGD, ":47-51, 155-157"),
    "schedule": (STEPS, "HobbitLong/CMC@7b227be, README.md:127"),
    "views": ([crop(MOCO_V1, "0.2 to 1", resize="bilinear")], ":118-125; own choice: flip first"),
    "heads": ("projector: 128", ":68, models/resnet.py:110"),
    "settings": (
        {"negatives": 4096, "temperature": 0.07, "bank_momentum": 0.5, "dim": 128, "loss": "nce", "crops": 0},
        ":68-75",
    ),
}
CMC = {
    "code": "HobbitLong/CMC@7b227be, train_CMC.py",
    "objective": "cmc",
    "length": ("imagenet at 224 px, 240 epochs of 128", "README.md:85, :46"),
    "network": ("resnet50, norms over 32 images", "README.md:85 (DataParallel on 4 GPUs)"),
    "optimizer": ("sgd 0.03 at 128, momentum 0.9, decay 0.0001 of all", ":49, 54-55, 188-193 (not scaled)"),
    "schedule": ("x0.1 after 120, 160, 200", ":50-51"),
    "views": ([crop(PLAIN, resize="bilinear")], ":95-97 (0.08 for ResNets on ImageNet), 143-149"),
    "heads": ("ab_encoder: an encoder; ab_projector: 128; projector: 128", "models/resnet.py:126, 317-327"),
    "settings": (
        {"negatives": 16384, "temperature": 0.07, "bank_momentum": 0.5, "dim": 128, "loss": "nce"},
        ":66-70",
    ),
    "how": ("float32 precision, channels last, reference views", "README.md:91 (half costs 0.5 to 1 points)"),
}
PIRL_STEPS = "flip 0.5, jitter 0.4 0.4 0.4 0.2 at 1, photometric 0.66, grey 0.2"
PIRL = {
    "code": "facebookresearch/vissl@09270ed2, configs/config/pretrain/pirl/pirl_jigsaw_4node_resnet50.yaml",
    "objective": "pirl",
    "length": ("imagenet at 224 px, 800 epochs of 1024 in 4 parts", ":14, 91, 107-109; own choice: parts, for memory"),
    "network": ("resnet50, norms over 32 images", ":14, no SYNC_BN"),
    "optimizer": ("sgd 0.03 at 256, momentum 0.9, decay 0.0001 of weights", ":87-89, 92-94, 97-100"),
    "schedule": ("cosine to 0.001", ":101-103 (0.12 to 0.00012), there once an epoch"),
    "views": (
        [
            crop(PIRL_STEPS, resize="bilinear"),
            "9 x " + crop(PIRL_STEPS, "0.6 to 1", 64, "bilinear") + ", out of 3 x 3 cells of 255 px",
        ],
        ":17-31; p of photometric: img_pil_random_photometric.py:60; "
        "each patch by itself: ssl_transforms_wrapper.py:215-216",
    ),
    "heads": ("projector: 128; patch_projector: 128; puzzle_projector: 128", ":54-65"),
    "settings": (
        {
            "negatives": 32000,
            "temperature": 0.07,
            "bank_momentum": 0.5,
            "patch_weight": 0.5,
            "puzzle_size": 255,
            "patch_size": 64,
            "dim": 128,
            "loss": "nce",
        },
        ":17-22, 69-85",
    ),
}

# ------------------------------------------------------------------------------------------ parts of an image

AMDIM = {
    "code": "Philip-Bachman/amdim-public@8754ae1",
    "objective": "amdim",
    "length": ("imagenet at 128 px, 50 epochs of 480", "README.md:54, task_self_supervised.py:136, datasets.py:27"),
    "network": ("resnet50, norms over all images", "own choice: a ResNet-50 (there a network without norms)"),
    "optimizer": (
        "adam 0.0002, betas 0.8 and 0.999, decay 1e-05 of all",
        "train.py:19, task_self_supervised.py:125-127",
    ),
    "schedule": (
        "x0.2 after 31, 46, warm-up of 0.19 epochs",
        "task_self_supervised.py:60-64 (500 of 2,669 steps an epoch), 109, 135: step(epoch) after the epoch, so that "
        "milestone 30 acts from the 32nd epoch on",
    ),
    "views": (
        [
            "128 px of 0.3 to 1, ratio 0.7 to 1.4, bicubic, flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.25",
            "128 px of 0.3 to 1, ratio 0.7 to 1.4, bicubic, flip 0.5, as the first, jitter 0.4 0.4 0.4 0.1 at 0.8, "
            "grey 0.25",
        ],
        "datasets.py:162-196",
    ),
    "heads": (
        "; ".join(
            f"head{each} (hidden (1536 no bias), out (1536 no bias), straight (1536 no bias), out_norm (bn))".replace(
                " (", ": ", 1
            )[:-1]
            for each in (1, 5, 7)
        ),
        "model.py:379-414; own choice: straight without bias, which the norm takes out; a head for 1, too",
    ),
    "settings": ({"rkhs_dim": 1536, "clip": 20.0}, "README.md:53-55"),
}
CPC_CONTEXT = "before (5 x (conv 1x1 256, relu, conv 1x3 256)), down (5 x (conv 2x1 256)), "
CPC = {
    "code": "none is official; Lightning-Universe/lightning-bolts@34958a889, src/pl_bolts/, follows the listing of "
    "Hénaff et al. (2020)",
    "objective": "cpc",
    "length": ("imagenet at 256 px, 200 epochs of 256", "256 pixels: v1, from memory; own choice: epochs and batch"),
    "network": ("resnet50, norms over all images", "own choice (there ResNets without norm, or layer norm)"),
    "optimizer": ("adam 0.0002, betas 0.9 and 0.999", "v1, from memory"),
    "schedule": ("cosine, warm-up of 1 epochs", "own choice"),
    "views": (["256 px of a square of 0.8533333, bilinear, flip 0.5"], "v1, section 3.2: 256 of 300, from memory"),
    "heads": (
        f"target: 64; contexts: 4 x ({CPC_CONTEXT}after (5 x (conv 1x1 F))); w: 4 x (4 x (64 no bias))",
        "losses/self_supervised_learning.py:38-40, models/vision/pixel_cnn.py:38-63; own choice: a W_k for each offset "
        "and direction, without bias (there: one, with)",
    ),
    "settings": (
        {
            "patch_size": 64,
            "first_offset": 2,
            "last_offset": 5,
            "directions": 4,
            "target_dim": 64,
            "context_dim": 256,
            "context_blocks": 5,
            "drop_colours": True,
            "prediction_scale": 0.1,
        },
        "losses/self_supervised_learning.py:33, 51 (64, 0.1), models/vision/pixel_cnn.py:38; 64 pixels, "
        "five rows: v1; from offset 2 on, four directions, colours: v2; from memory",
    ),
}

# ------------------------------------------------------------------------------------------ margins

PAIR = {
    **MOCO_V2_200,
    "code": "none for ImageNet: MoCo v2's recipe (facebookresearch/moco@78b69ca)",
    "network": ("resnet50, norms over all images", "own choice: both views pass one network, with gradient"),
    "heads": ("projector: 128", "own choice"),
}

RECIPES = {
    "imagenet_moco": MOCO,
    "imagenet_moco_v2": MOCO_V2_200,
    "imagenet_clsa": CLSA,
    "imagenet_clsa_multi": CLSA_MULTI,
    "imagenet_instance_discrimination": INSTANCE_DISCRIMINATION,
    "imagenet_cmc": CMC,
    "imagenet_pirl": PIRL,
    "imagenet_amdim": AMDIM,
    "imagenet_cpc": CPC,
    "imagenet_triplet": {
        **PAIR,
        "objective": "triplet",
        "settings": (
            {"margin": 0.2, "squared": True, "mining": "semi_hard", "dim": 128, "crops": 0},
            "Schroff et al., FaceNet (2015), from memory; own choice: 128",
        ),
    },
    "imagenet_contrastive_2006": {
        **PAIR,
        "objective": "contrastive_2006",
        "settings": ({"margin": 1.0, "dim": 128, "normalise": False, "crops": 0}, "own choice"),
    },
}
