"""Continued pretraining of `imagenet_0`, gated and symmetric: the deck's `imagenet_4_1finetune_79_sys4_T5_lr`.

Source:   the deck (no paper, no public code).
Command:  bench run --pretrain imagenet_4_1finetune_79_sys4_T5_lr --downstream cityscapes_pspnet imagenet100_linear \
              --data-root DIR   (trains `imagenet_0` first if its checkpoint is not there yet)
Hours:    not measured; `bench plan --estimate` says it for your machine. `imagenet_0` is trained first.
Expected: the deck: Cityscapes PSPNet 63.95 mIoU, ImageNet-100 linear 74.04 (its worst run).
Smoke:    --smoke, two steps of `imagenet_0`, then two of this, on rendered scenes.

Reading:  `sys4` is symmetric with four patches, `T5` the gate exp(-|d| / T) on each patch term with T = 5, where d is
          the distance of the patch's and the global target's features, `lr` a lower learning rate (a tenth).
          This is the least certain of our readings.
"""

_base_ = "./_base_/imagenet_bootstrap.py"

init = dict(recipe="imagenet_0", epoch=79)
epochs = 40
objective = dict(name="patch_byol", patches=4, sampling="grid", symmetric=True, gate_temperature=5.0)
optimizer = dict(lr=0.045)

profiles = dict(
    mini=dict(init=dict(epoch=4), epochs=2),
    smoke=dict(init=dict(epoch=0)),
)
