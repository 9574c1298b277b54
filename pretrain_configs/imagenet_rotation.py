"""Rotation prediction on ImageNet, 70 epochs: which way is up.

Source:   Gidaris et al. (ICLR 2018), in mmselfsup's recipe for ResNet-50: SGD 0.2 at 128 images (512 with their
          rotations), weight decay 1e-4, 5 epochs of warm-up, x0.1 after 30 and 50 of 70 epochs.
Command:  bench run --pretrain imagenet_rotation --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 98 GFLOP.
Expected: ImageNet linear top-1 47.0 (mmselfsup, this recipe), 48.2 (VISSL, 105 epochs); VOC12aug FCN 64.31 mIoU
          (mmselfsup).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

epochs = 70
batch_size = 128
objective = dict(name="rotation")
optimizer = dict(lr=0.2, lr_batch=128)
schedule = dict(name="step", warmup_epochs=5, milestones=(30 / 70, 50 / 70))
