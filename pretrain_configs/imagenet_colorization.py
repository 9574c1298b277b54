"""Colorization on ImageNet, 105 epochs: the colours of a grey photograph.

Source:   Zhang et al. (ECCV 2016) for the objective. Their recipe is for another network (Adam 3e-5 at batch 40,
          train/solver.prototxt); this is VISSL's for ResNet-50 on pretext tasks (its jigsaw): SGD 0.1 at batch 256,
          from a quarter of it in 5 epochs of warm-up, x0.1 after 30, 60, 90 and 100 epochs, weight decay 1e-4.
Command:  bench run --pretrain imagenet_colorization --downstream cityscapes_pspnet imagenet_linear --data-root DIR
          (for lightness alone: --set objective.image_statistics=False, and --downstream imagenet_linear_grey)
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 49 GFLOP.
Expected: no number for this recipe and protocol. 40.11 ImageNet top-1 in VISSL's model zoo (Goyal et al. 2019) is on
          lightness alone, by linear classifiers on pooled maps, with a C5 of stride 16.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

epochs = 105
batch_size = 256
objective = dict(name="colorization")
schedule = dict(name="step", warmup_epochs=5, warmup_ratio=0.25, milestones=(30 / 105, 60 / 105, 90 / 105, 100 / 105))
