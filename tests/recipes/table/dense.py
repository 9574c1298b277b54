"""Dense and scene-level objectives, on COCO and ImageNet."""

from recipe_views import MOCO_V1, MOCO_V2, byol_pair, crop

HEADS = "projector: 4096, bn, relu, 256 no bias; predictor: 4096, bn, relu, 256 no bias"

DENSECL = {
    "code": "WXinlong/DenseCL@b64bbb6, configs/selfsup/densecl/densecl_coco_800ep.py",
    "objective": "densecl",
    "length": ("coco at 224 px, 800 epochs of 256", ":33, 60, 75"),
    "network": ("resnet50, norms over 32 images", ":15, 60 (8 x 32)"),
    "optimizer": ("sgd 0.3 at 256, momentum 0.9, decay 0.0001 of all", ":70; no paramwise options"),
    "schedule": ("cosine", ":72, there once an epoch"),
    "views": ([crop(MOCO_V2, "0.2 to 1", resize="bilinear")] * 2, ":32-58"),
    "heads": (
        "projector: 2048, relu, 128; dense_projector: 2048, relu, 128",
        ":16-21, openselfsup/models/necks.py:369-378 (the second of 1x1 convolutions)",
    ),
    "settings": (
        {
            "hidden_dim": 2048,
            "projection_dim": 128,
            "queue_size": 65536,
            "dense_queue_size": 65536,
            "temperature": 0.2,
            "momentum": 0.999,
            "dense_weight": 0.5,
            "crops": 0,
            "overlap": 0.0,
        },
        ":6-9, 16-22",
    ),
}
CONSTRAINED_CROP = {
    **DENSECL,
    "code": "wvangansbeke/Revisiting-Contrastive-SSL@20c582c, scripts/ours_coco_200ep.sh",
    "length": ("coco at 160 px, 200 epochs of 256", ":5, 9, 13"),
    "network": ("resnet50, norms over 128 images", "README.md:46 (2 GPUs), main_ours.py"),
    "optimizer": ("sgd 0.3 at 256, momentum 0.9, decay 0.0001 of all", ":6, main_ours.py:64, 78, 205"),
    "schedule": ("cosine", ":12, main_ours.py:501-502, there once an epoch"),
    "views": (
        [
            *[crop(MOCO_V2, "0.2 to 1", 160, "bilinear")] * 2,
            "4 x " + crop(MOCO_V2, "0.05 to 0.14", 96, "bilinear") + ", overlap 0.1",
        ],
        ":13-17, utils/constrained_cropping.py:96, 193, main_ours.py:277-285; own choice: no AutoAugment (:18)",
    ),
    "heads": ("projector: 2048, relu, 128", ":12 (--mlp), builder/builder_ours.py:34-37"),
    "settings": (
        {
            **DENSECL["settings"][0],
            "momentum": 0.995,
            "dense_weight": 0.0,
            "crops": 4,
            "crop_size": 96,
            "crop_scale": (0.05, 0.14),
            "overlap": 0.1,
        },
        ":12-17; own choice: without the auxiliary loss (:19)",
    ),
}
CAST = {
    "code": "salesforce/CAST@fcc4adf",
    "objective": "cast",
    "length": ("coco at 224 px, 200 epochs of 256", "README.md:34, main_cast.py:67; moco/datasets.py:38"),
    "network": ("resnet50, norms over 32 images", "README.md:34 (8 processes), main_cast.py:219"),
    "optimizer": (
        "sgd 0.5 at 256, momentum 0.9, decay 0.0001 of all, clipped to 2",
        "README.md:34, main_cast.py:85-89, 114, 232-237, 489",
    ),
    "schedule": ("cosine", "README.md:34, main_cast.py:570-571, there once an epoch"),
    "views": (
        [crop(MOCO_V1.removesuffix("1") + "0.5, salient 0.2", "0.2 to 1", resize="bilinear")] * 2,
        "moco/datasets.py:37-49, moco/augmentations/transforms.py:149-158, main_cast.py:96",
    ),
    "heads": ("projector: 128", "README.md:34 (no --mlp), moco/builder.py:12"),
    "settings": (
        {
            "alpha": 3.0,
            "beta": 1.0,
            "min_cover": 0.2,
            "per_image": False,
            "cam": "signed",
            "mlp": False,
            "hidden_dim": 2048,
            "projection_dim": 128,
            "queue_size": 65536,
            "temperature": 0.07,
            "momentum": 0.999,
        },
        "README.md:34, main_cast.py:96, 117, 147-153; signed: grad_cam.py:62-74",
    ),
}
PIXPRO = {
    "code": "zdaxie/PixPro@e390d6b",
    "objective": "pixpro",
    "length": ("imagenet at 224 px, 100 epochs of 1024", "tools/pixpro_base_r50_100ep.sh:9, 18, 28"),
    "network": ("resnet50, norms over all images, last norms at 0", "contrast/models/PixPro.py:128-131, resnet.py:164"),
    "optimizer": (
        "lars 1 at 256, momentum 0.9, trust 0.001 of weights, decay 1e-05 of weights",
        "tools/…100ep.sh:24-26, main_pretrain.py:39-45, contrast/lars.py:7-31, 64",
    ),
    "schedule": (
        "cosine, warm-up of 5 epochs from 0.01",
        "tools/…100ep.sh:27, contrast/option.py:49-50, lr_scheduler.py:25-30; there to 1e-6",
    ),
    "views": (
        byol_pair(resize="bilinear"),
        "tools/…100ep.sh:15-16, contrast/data/transform.py:49-69, transform_coord.py:143",
    ),
    "heads": (
        "projector: 4096 no bias, bn, relu, 256; transform: 256",
        "contrast/models/PixPro.py:19-41, 92-97, 138-139, of 1x1 convolutions; own choice: no bias before a norm",
    ),
    "settings": (
        {
            "loss": "pixpro",
            "hidden_dim": 4096,
            "projection_dim": 256,
            "gamma": 2.0,
            "ratio": 0.7,
            "temperature": 0.3,
            "tau0": 0.99,
            "crops": 0,
        },
        "tools/…100ep.sh:34-37, PixPro.py:92-97, 165; temperature, of the other loss: the paper, from memory",
    ),
}
DETCON_SETTINGS = {
    "variant": "b", "masks": "segments", "regions": 16, "hidden_dim": 4096, "projection_dim": 256, "temperature": 0.1,
    "tau0": 0.996, "crops": 0,
}  # fmt: skip
DETCON = {
    "code": "google-deepmind/detcon@dda0567",
    "objective": "detcon",
    "length": (
        "imagenet at 224 px, 300 epochs of 4096",
        "detcon_b_config.py:22 (batch); epochs: the paper, from memory",
    ),
    "network": (
        "resnet50, norms over all images, last norms at 0",
        "detcon_b_config.py:43-52, utils/networks.py:123",
    ),
    "optimizer": (
        "lars 0.2 at 256, momentum 0.9, trust 0.001 of weights, decay 1.5e-06 of weights",
        "detcon_b_config.py:62-72, utils/schedules.py:35, utils/optimizers.py",
    ),
    "schedule": ("cosine, warm-up of 3 epochs", "detcon_b_config.py:31-32, 67 (a hundredth of the epochs)"),
    "views": (byol_pair(), "utils/augmentations.py:30-69 (flips are in the crop, detcon_b_config.py:92)"),
    "heads": (HEADS, "detcon_b_config.py:37-38, utils/networks.py:40-45"),
    "settings": (DETCON_SETTINGS, "detcon_b_config.py:37-38, 76-79; 16: detcon_b.py:95"),
}
COCO_DETCON = {
    **DETCON,
    "length": ("coco at 224 px, 800 epochs of 512", "own choice: ORL's (Jiahao000/ORL@2ad64f7, stage1 :76, 108)"),
    "optimizer": ("sgd 0.4 at 512, momentum 0.9, decay 0.0001 of all", "own choice: ORL's, :93"),
    "schedule": ("cosine, warm-up of 4 epochs", "own choice: ORL's, :99-105"),
}

RECIPES = {
    "coco_densecl": DENSECL,
    "coco_constrained_crop": CONSTRAINED_CROP,
    "coco_cast": CAST,
    "coco_detcon": COCO_DETCON,
    "imagenet_detcon": DETCON,
    "imagenet_pixpro": PIXPRO,
}
