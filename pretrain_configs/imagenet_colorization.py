"""Colorization on ImageNet, 105 epochs: the colours of a grey photograph.

Source:   Zhang et al. (ECCV 2016) for the objective. Their recipe is for another network (Adam); this is VISSL's for
          ResNet-50 on pretext tasks (its jigsaw): SGD 0.1 at batch 256, warm-up of 5 epochs, x0.1 after 30, 60, 90 and
          100 epochs, weight decay 1e-4.
Command:  bench run --pretrain imagenet_colorization --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 42 GFLOP.
Expected: ImageNet linear top-1 40.11 (Goyal et al. 2019, in VISSL's model zoo; its recipe is not this one).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

epochs = 105
batch_size = 256
objective = dict(name="colorization")
schedule = dict(name="step", warmup_epochs=5, milestones=(30 / 105, 60 / 105, 90 / 105, 100 / 105))
