"""Split-brain autoencoder on ImageNet, 105 epochs: lightness from colour, and colour from lightness.

Source:   Zhang et al. (CVPR 2017) for the objective. Their recipe is for two half AlexNets; this is VISSL's for
          ResNet-50 on pretext tasks (its jigsaw): SGD 0.1 at batch 256, from a quarter of it in 5 epochs of warm-up,
          x0.1 after 30, 60, 90 and 100 epochs, weight decay 1e-4.
Command:  bench run --pretrain imagenet_split_brain --downstream cityscapes_pspnet imagenet_linear --data-root DIR
          (on both halves, joined: --set objective.image_statistics=False, and --downstream imagenet_linear_halves)
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 88 GFLOP.
Expected: no number for a ResNet-50; two half AlexNets have about 35.2 ImageNet linear top-1 on conv4 (from memory of
          the paper).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

epochs = 105
batch_size = 256
objective = dict(name="split_brain")
schedule = dict(name="step", warmup_epochs=5, warmup_ratio=0.25, milestones=(30 / 105, 60 / 105, 90 / 105, 100 / 105))
