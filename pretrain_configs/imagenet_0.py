"""BYOL on ImageNet-100, 80 epochs: the deck's baseline `imagenet_0`.

Source:   Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020).
Command:  bench run --pretrain imagenet_0 --downstream cityscapes_pspnet imagenet100_linear --data-root DIR
          (all of ImageNet: --set pretrain.dataset=imagenet, and imagenet_linear downstream)
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 66 GFLOP.
Expected: the deck: Cityscapes PSPNet 67.84 mIoU, ImageNet-100 linear 77.82.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  the deck gives an ImageNet-100 accuracy only, too low for pretraining on all of ImageNet; so the
          pretraining set is read as ImageNet-100.
"""

_base_ = "./_base_/imagenet_bootstrap.py"

objective = dict(name="byol")
