"""Continued pretraining of `coco` with eight patches drawn anew: the deck's `coco_4_1finetune_79_8new`.

Source:   the deck (no paper, no public code).
Command:  bench run --pretrain coco_4_1finetune_79_8new --downstream cityscapes_pspnet imagenet_linear --data-root DIR
          (trains `coco` first if its checkpoint is not there yet)
Hours:    not measured; `bench plan --estimate` says it for your machine. `coco` is trained first.
Expected: the deck: Cityscapes PSPNet 69.16 mIoU, ImageNet linear 33.71 (a trade of classification for
          segmentation).
Smoke:    --smoke, two steps of `coco`, then two of this, on rendered scenes.

Reading:  as `coco_4_1finetune_79_4p`, but `8new` is eight patches, cropped from the image anew at every step
          instead of cut from the first view.
"""

_base_ = "./_base_/coco_bootstrap.py"

init = dict(recipe="coco", epoch=79)
epochs = 40
objective = dict(name="patch_byol", patches=8, sampling="random")

profiles = dict(
    mini=dict(init=dict(epoch=19), epochs=5, objective=dict(patch_size=56)),
    smoke=dict(init=dict(epoch=0), objective=dict(patch_size=32)),
)
