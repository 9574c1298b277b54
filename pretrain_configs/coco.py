"""BYOL on COCO train2017, 80 epochs: the deck's baseline `coco`.

Source:   Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020); recipe of ORL's first stage (NeurIPS 2021).
Command:  bench run --pretrain coco --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 66 GFLOP.
Expected: the deck: Cityscapes PSPNet 64.97 mIoU, ImageNet linear 42.14. For scale, BYOL for 800 epochs on COCO is
          known to reach about 57.8 in ImageNet linear evaluation.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  The deck names this run and does not define it. That it is BYOL on COCO follows from the deck's text;
          80 epochs is read off the name of its successors (`finetune_79`, counted from 0) and fits the
          low linear accuracy. The optimizer is our choice.
"""

_base_ = "./_base_/coco_bootstrap.py"

objective = dict(name="byol")
