"""CPC on ImageNet, 200 epochs: rows of patches predict the rows below them.

Source:   van den Oord et al. (2018) and Hénaff et al. (ICML 2020) for the objective: 256 pixels, 7x7 patches of 64,
          Adam with 2e-4 as in v1; batch and epochs are our choice.
Command:  bench run --pretrain imagenet_cpc --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 119 GFLOP.
Expected: no number is known of this recipe. CPC v2 has about 63.8 ImageNet linear top-1 with ResNet-50 (from memory of
          the paper); its layer norm, augmentation and recipe are not this one's.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

view_size = 256
epochs = 200
batch_size = 256
objective = dict(name="cpc")
optimizer = dict(name="adam", lr=2e-4, lr_batch=None, weight_decay=0.0)
schedule = dict(name="cosine", warmup_epochs=1)

profiles = dict(
    mini=dict(view_size=128, objective=dict(patch_size=32)),
    smoke=dict(view_size=96, objective=dict(patch_size=32, last_offset=3, context_blocks=2)),
)
