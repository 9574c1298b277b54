"""BYOL plus a second loss on ImageNet-100, 80 epochs: the deck's `imagenet_1`.

Source:   the deck's "two-loss"; see `coco_two_loss` for what loss2 is read as.
Command:  bench run --pretrain imagenet_1 --downstream cityscapes_pspnet imagenet100_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine.
Expected: the deck: Cityscapes PSPNet 69.61 mIoU, ImageNet-100 linear 78.28.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  the deck calls this the first variant of `imagenet_0` and says no more; we read it as two-loss.
"""

_base_ = "./_base_/imagenet_bootstrap.py"

objective = dict(name="two_loss", loss2="logistic")
