"""Continued pretraining of `coco` with four local patches: the deck's `coco_4_1finetune_79_4p`.

Source:   the deck (no paper, no public code).
Command:  bench run --pretrain coco_4_1finetune_79_4p --downstream cityscapes_pspnet imagenet_linear --data-root DIR
          (trains `coco` first if its checkpoint is not there yet)
Hours:    not measured; `bench plan --estimate` says it for your machine. `coco` is trained first.
Expected: the deck: Cityscapes PSPNet 68.11 mIoU, ImageNet linear 43.64.
Smoke:    --smoke, two steps of `coco`, then two of this, on rendered scenes.

Reading:  `finetune_79` continues the baseline from its epoch 79 (counted from 0). `4_1` with `4p` is one global
          pair plus four patches of the first view (its 2 x 2 quadrants), each of which predicts the other view's
          global target. Forty epochs and a fresh cosine at the baseline's learning rate are our choice.
"""

_base_ = "./_base_/coco_bootstrap.py"

init = dict(recipe="coco", epoch=79)
epochs = 40
objective = dict(name="patch_byol", patches=4, sampling="grid")

profiles = dict(
    mini=dict(init=dict(epoch=19), epochs=5),
    smoke=dict(init=dict(epoch=0)),
)
