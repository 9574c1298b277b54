"""Pretext tasks and generative objectives on ImageNet, videos, and the controls."""

from recipe_views import MOCO_V2, PLAIN, SIMCLR, crop

# ------------------------------------------------------------------------------------------ pretext tasks

ROTATION = {
    "code": "open-mmlab/mmselfsup@db861f30, configs/selfsup/rotation_pred/"
    "rotation-pred_resnet50_8xb16-steplr-70e_in1k.py",
    "objective": "rotation",
    "length": ("imagenet at 224 px, 70 epochs of 128", ":25, _base_/datasets/imagenet_rotation-pred.py:17 (8 x 16)"),
    "network": ("resnet50, norms over all images", "_base_/models/rotation-pred.py:14 (SyncBN)"),
    "optimizer": ("sgd 0.2 at 128, momentum 0.9, decay 0.0001 of all", ":9-10"),
    "schedule": ("x0.1 after 30, 50, warm-up of 5 epochs from 0.1", ":13-22"),
    "views": ([crop(PLAIN, resize="bilinear")], "_base_/datasets/imagenet_rotation-pred.py:7-8"),
    "heads": ("classifier: 4", "_base_/models/rotation-pred.py:15-20"),
    "settings": ({}, ""),
}
RELATIVE_PATCH = {
    "code": "open-mmlab/mmselfsup@db861f30, configs/selfsup/relative_loc/"
    "relative-loc_resnet50_8xb64-steplr-70e_in1k.py",
    "objective": "relative_patch",
    "length": ("imagenet at 255 px, 70 epochs of 512", ":32, _base_/datasets/imagenet_relative-loc.py:8, 18 (8 x 64)"),
    "network": ("resnet50, norms over 64 images", "_base_/models/relative-loc.py:14, datasets:18"),
    "optimizer": (
        "sgd 0.2 at 512, momentum 0.9, decay 0.0001 of all",
        ":9-16; own choice: one decay (there five times that of neck and head)",
    ),
    "schedule": ("x0.1 after 30, 50, warm-up of 5 epochs from 0.1", ":19-28"),
    "views": (
        ["255 px of a square of 0.8732877, bilinear, grey 0.66"],
        "_base_/datasets/imagenet_relative-loc.py:7-9: 255 of 292, no flip",
    ),
    "heads": (
        "classifier: 4096 no bias, bn, relu, 8",
        "_base_/models/relative-loc.py:15-25, mmselfsup/models/necks/relative_loc_neck.py:41-45; own choice: no bias",
    ),
    "settings": (
        {
            "crop": 255 / 292,
            "patch_size": 64,
            "gap": 21,
            "jitter": 10,
            "downsample": 0.0,
            "drop_colours": False,
            "standardise": False,
            "grey": 0.66,
            "hidden_dim": 4096,
            "dropout": 0.5,
            "image_statistics": True,
        },
        "datasets/transforms/processing.py:593-600 (cells of 85, patches of 64 within 21); own choice: jitter of 10",
    ),
}
VISSL = (
    "sgd 0.1 at 256, momentum 0.9, decay 0.0001 of weights",
    "x0.1 after 30, 60, 90, 100, warm-up of 5 epochs from 0.25",
)
JIGSAW = {
    "code": "facebookresearch/vissl@09270ed2, configs/config/pretrain/jigsaw/jigsaw_8gpu_resnet.yaml",
    "objective": "jigsaw",
    "length": ("imagenet at 255 px, 105 epochs of 256", ":17, 64, 87-88 (8 x 32); 22-23"),
    "network": ("resnet50, norms over 32 images", ":17, no SYNC_BN"),
    "optimizer": (VISSL[0], ":60-73; own choice: biases without decay (there: norms alone, :66-67)"),
    "schedule": (VISSL[1], ":74-84 (5 of 105 epochs from 0.025 to 0.1)"),
    "views": (["255 px of a square of 0.9960938, bilinear, flip 0.5, grey 0.66"], ":18-25: 255 of 256"),
    "heads": ("patch_head: 1000 no bias, bn, relu; classifier: 2000", ":51-55; own choice: no bias before a norm"),
    "settings": (
        {
            "crop": 255 / 256,
            "permutations": 2000,
            "patch_size": 64,
            "gap": 21,
            "jitter": 10,
            "grey": 0.66,
            "standardise": False,
            "patch_dim": 1000,
            "image_statistics": True,
        },
        ":23-34, 52",
    ),
}
DECODER = "conv 1x1 256 no bias, bn, relu, " + "upsample, conv 3x3 256 no bias, bn, relu, " * 3 + "conv 1x1 "
COLORIZATION = {
    **JIGSAW,
    "objective": "colorization",
    "length": ("imagenet at 224 px, 105 epochs of 256", "own choice: as jigsaw's"),
    "network": ("resnet50, norms over all images", "own choice"),
    "optimizer": (VISSL[0], "own choice: as jigsaw's"),
    "schedule": (VISSL[1], "own choice: as jigsaw's"),
    "views": (
        ["224 px of a square of 0.6875, bilinear, flip 0.5"],
        "richzhang/colorization, models/colorization_train_val_v2.prototxt:8-11: 176 (of 256); own choice: 224",
    ),
    "heads": (f"decoder: {DECODER}313", "own choice; 313 colours: Zhang et al. (ECCV 2016)"),
    "settings": (
        {"crop": 176 / 256, "hidden_dim": 256, "rebalance": True, "prior_momentum": 0.99, "image_statistics": True},
        "own choice",
    ),
}
SPLIT_BRAIN = {
    **COLORIZATION,
    "objective": "split_brain",
    "views": ([crop(PLAIN, resize="bilinear")], "own choice"),
    "heads": (
        f"colour_decoder: {DECODER}313; lightness_decoder: {DECODER}100",
        "own choice; bins: Zhang et al. (2017)",
    ),
    "settings": ({"hidden_dim": 256, "image_statistics": True}, "own choice"),
}

# ------------------------------------------------------------------------------------------ generative


def up(*widths: int) -> str:
    """Doublings of a map."""
    return "".join(f"upsample, conv 3x3 {width} no bias, bn, relu, " for width in widths)


OWN = "own choice: no recipe for a ResNet-50 is published"
GENERATIVE = {
    "code": "none",
    "length": ("imagenet at 224 px, 100 epochs of 256", OWN),
    "network": ("resnet50, norms over all images", OWN),
    "optimizer": ("adam 0.001, betas 0.9 and 0.999", OWN),
    "schedule": ("cosine, warm-up of 5 epochs", OWN),
    "views": ([crop(PLAIN, resize="bilinear")], OWN),
}
TOWER = "conv 4x4 64 /2, leakyrelu, " + "".join(
    f"conv 4x4 {width} /2 no bias, bn, leakyrelu{', ' if width < 512 else ''}" for width in (128, 256, 512)
)
FROM_CODE = f"8192 no bias, unflatten, bn, relu, {up(512, 256, 128, 64)}conv 3x3 3"
CONTEXT_ENCODER = {
    **GENERATIVE,
    "code": "pathak22/context-encoder@68abd11, train.lua",
    "objective": "context_encoder",
    "length": ("imagenet at 128 px, 100 epochs of 64", ":7, 9; own choice: epochs"),
    "optimizer": ("adam 0.0002, betas 0.5 and 0.999; encoder, decoder at 10 of the rate", ":19-20, 214-221"),
    "schedule": ("constant", ":19"),
    "views": (
        ["128 px of a square of 0.3657143, bilinear, flip 0.5"],
        "README.md:75, data/donkey_folder.lua:40-84: 128 of 350",
    ),
    "heads": (
        "decoder: adaptiveavgpool2d, channelwiselinear, conv 1x1 1024 no bias, bn, relu, "
        f"{up(512, 256, 128, 64)}conv 3x3 3, tanh; discriminator: tower ({TOWER}), score (conv 4x4 1)",
        "own choice, after the paper",
    ),
    "settings": (
        {
            "crop": 128 / 350,
            "reconstruction_weight": 0.999,
            "adversarial_weight": 0.001,
            "overlap": 4,
            "overlap_weight": 10.0,
            "generator_rate": 10.0,
            "image_size": 64,
            "width": 64,
            "image_statistics": True,
        },
        "README.md:75, :371-380",
    ),
}
BIGAN = {
    **GENERATIVE,
    "code": "jeffdonahue/bigan@06342ee, train_gan.py",
    "objective": "bigan",
    "length": ("imagenet at 224 px, 100 epochs of 128", ":164, 179-182; own choice: 224 pixels for the encoder"),
    "optimizer": (
        "adam 0.0002, betas 0.5 and 0.999, decay 2.5e-05 of weights",
        ":166, 173, 177; own choice: biases without decay",
    ),
    "schedule": ("x0.9120108 after 50, 51, …, 99", ":168-172, 179-182, 812-831: to a hundredth in 50 epochs"),
    "views": (["224 px of a square of 0.875, bilinear"], "train_imagenet_highres_encoder.sh:9: 112 of 128"),
    "heads": (
        f"projector: 200; generator: {FROM_CODE}, tanh; discriminator: tower ({TOWER}), code (1024, leakyrelu), "
        "score (1024, leakyrelu, 1)",
        "own choice; 200: train_imagenet_highres_encoder.sh:3",
    ),
    "settings": (
        {"crop": 112 / 128, "latent_dim": 200, "image_size": 64, "width": 64, "hidden_dim": 1024},
        "train_imagenet_highres_encoder.sh:3, 9",
    ),
}
PIXELS = {
    **GENERATIVE,
    "optimizer": ("adam 0.0003, betas 0.9 and 0.999", OWN),
    "views": ([crop(SIMCLR), crop(PLAIN, "0.5 to 1", 32, "bilinear")], OWN),
}

# ------------------------------------------------------------------------------------------ videos

CLIPS = "own choice: the papers train 3D networks"
VIDEO = {
    "length": ("clips at 224 px, 100 epochs of 64", CLIPS),
    "network": ("resnet50, norms over all images", CLIPS),
    "optimizer": ("sgd 0.03 at 256, momentum 0.9, decay 0.0001 of weights", CLIPS),
    "schedule": ("cosine, warm-up of 5 epochs", CLIPS),
}
ANCHOR = "224 px of a square of 0.875, bilinear, jitter 0.5 0.5 0.25 0.5 at 1"

RECIPES = {
    "imagenet_rotation": ROTATION,
    "imagenet_relative_patch": RELATIVE_PATCH,
    "imagenet_jigsaw": JIGSAW,
    "imagenet_colorization": COLORIZATION,
    "imagenet_split_brain": SPLIT_BRAIN,
    "imagenet_context_encoder": CONTEXT_ENCODER,
    "imagenet_bigan": BIGAN,
    "imagenet_denoising_autoencoder": {
        **GENERATIVE,
        "objective": "denoising_autoencoder",
        "heads": (f"decoder: {up(256, 128, 64, 32)}conv 3x3 3", OWN),
        "settings": (
            {
                "noise": "masking",
                "amount": 0.25,
                "reconstruction": "cross_entropy",
                "stride": 2,
                "width": 32,
                "image_statistics": True,
            },
            "Vincent et al. (2008), from memory; own choice: width, stride",
        ),
    },
    "imagenet_vae": {
        **GENERATIVE,
        "objective": "vae",
        "heads": (f"posterior: 400; decoder: {FROM_CODE}", OWN),
        "settings": (
            {
                "likelihood": "gaussian",
                "latent_dim": 200,
                "sigma": 0.1,
                "beta": 1.0,
                "image_size": 64,
                "width": 64,
            },
            OWN,
        ),
    },
    "imagenet_pixel_cnn": {
        **PIXELS,
        "objective": "pixel_cnn",
        "heads": (
            "decoder: first (conv 7x7 256), layers (15 x (reduce (conv 1x1 128), convolve (conv 3x3 128), "
            "expand (conv 1x1 256), condition (128 no bias))), mix (conv 1x1 256), logits (conv 1x1 768)",
            "van den Oord et al. (2016), table 1, from memory: 7x7, 15 blocks, h = 128; own choice: the condition",
        ),
        "settings": ({"conditional": True, "image_size": 32, "depth": 15, "width": 128}, "the same"),
    },
    "imagenet_pixel_rnn": {
        **PIXELS,
        "objective": "pixel_rnn",
        "heads": (
            "decoder: first (conv 7x7 256), layers (12 x (input_to_state (conv 1x3 512), state_to_state (conv1d), "
            "expand (conv 1x1 256), condition (512 no bias))), mix (conv 1x1 256), logits (conv 1x1 768)",
            "van den Oord et al. (2016), table 1, from memory: 12 layers, h = 128; own choice: the condition",
        ),
        "settings": ({"conditional": True, "image_size": 32, "depth": 12, "width": 128}, "the same"),
    },
    "clips_dsm": {
        **VIDEO,
        "code": "FingerRec/DSM-decoupling-scene-motion@2da2f60, src/",
        "objective": "dsm",
        "views": ([ANCHOR] * 3, "data/config.py:65-76: 224 of 256 pixels, no flip; data/dataset.py:466-468"),
        "heads": ("clip_head: 512 no bias, bn, relu, 128", CLIPS),
        "settings": (
            {
                "frames": 8,
                "stride": 2,
                "negative": "flow",
                "flow_scale": (1.5, 3.0),
                "shift": 4,
                "warp": 0.05,
                "margin": 0.5,
                "gate": "none",
                "gate_temperature": 1.0,
                "hidden_dim": 512,
                "projection_dim": 128,
            },
            "pt.py:209 (margin), augment/warpping/video_warpping_api.py:51-53 (warp); own choice: the rest",
        ),
    },
    "clips_taco": {
        **VIDEO,
        "code": "none: Bai et al., arXiv 2011.13046",
        "objective": "taco",
        "views": ([crop(MOCO_V2, "0.2 to 1", resize="bilinear")] * 2, CLIPS),
        "heads": ("clip_heads: 4 x (512 no bias, bn, relu, 128); task_head: 512 no bias, bn, relu, 4", CLIPS),
        "settings": (
            {
                "frames": 4,
                "stride": 2,
                "transforms": ("speed", "reverse", "shuffle"),
                "task_weight": 1.0,
                "temperature": 0.2,
                "hidden_dim": 512,
                "projection_dim": 128,
            },
            CLIPS,
        ),
    },
    "imagenet_supervised": {
        "code": "Goyal et al., Accurate, Large Minibatch SGD (2017), section 5.1, from memory; facebookarchive/"
        "fb.resnet.torch@19d7dea, from which its code starts",
        "objective": "supervised",
        "length": ("imagenet at 224 px, 90 epochs of 256", "5.1: the baseline of 8 GPUs"),
        "network": (
            "resnet50, norms over all images, last norms at 0",
            "5.1 (gamma of 0); own choice: all images (there the 32 of a GPU)",
        ),
        "optimizer": (
            "sgd 0.1 at 256, momentum 0.9, decay 0.0001 of weights",
            "5.1 (not of gamma and beta); own choice: nor of biases; plain momentum (there Nesterov's, train.lua:24)",
        ),
        "schedule": ("x0.1 after 30, 60, 80, warm-up of 5 epochs", "5.1; own choice: from 0 (there from 0.1)"),
        "views": ([crop(PLAIN, resize="bilinear")], "5.1; own choice: bilinear, torchvision's"),
        "heads": ("fc: 1000", "5.1"),
        "settings": ({}, ""),
    },
    "random_init": {
        "code": "none",
        "objective": "random_init",
        "length": ("none at 224 px, 0 epochs of 256", "nothing is trained"),
        "network": ("resnet50, norms over all images", "torchvision's start"),
        "optimizer": ("none", ""),
        "schedule": ("none", ""),
        "views": ([], ""),
        "heads": ("none", ""),
        "settings": ({}, ""),
    },
    "random_init_norms": {
        "code": "none",
        "objective": "random_init",
        "length": (
            "imagenet at 224 px, 0 epochs of 256, 512 images",
            "nothing is trained; so many images give the norms their statistics",
        ),
        "network": ("resnet50, norms over all images, norm statistics of whole images", "torchvision's start"),
        "optimizer": ("none", ""),
        "schedule": ("none", ""),
        "views": ([], ""),
        "heads": ("none", ""),
        "settings": ({}, ""),
    },
}
