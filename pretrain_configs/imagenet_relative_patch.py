"""Relative patch location on ImageNet, 70 epochs: where does a patch lie beside another?

Source:   Doersch et al. (ICCV 2015), in mmselfsup's recipe for ResNet-50: squares of 255 pixels, grey with probability
          0.66, nine patches of 64 pixels in cells of 85; SGD 0.2 at batch 512, weight decay 1e-4 (there: five times
          that on the head). Rates fall x0.1 after 30 and 50 epochs, after 5 of warm-up, as in mmselfsup's rotation.
Command:  bench run --pretrain imagenet_relative_patch --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 29 GFLOP.
Expected: ImageNet linear top-1 40.4, VOC12aug FCN 63.49 mIoU (mmselfsup).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

view_size = 255
epochs = 70
batch_size = 512
objective = dict(name="relative_patch", patch_size=64, gap=21, jitter=10, drop_colours=False, grey=0.66)
optimizer = dict(lr=0.2, lr_batch=512)
schedule = dict(name="step", warmup_epochs=5, milestones=(30 / 70, 50 / 70))

profiles = dict(
    mini=dict(objective=dict(patch_size=32, gap=10, jitter=5)),
    smoke=dict(view_size=112, objective=dict(patch_size=32, gap=6, jitter=2)),
)
