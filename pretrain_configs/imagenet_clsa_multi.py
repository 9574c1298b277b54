"""CLSA on ImageNet, 200 epochs, with five weak queries and five strong views of five sizes.

Source:   Wang and Qi, "Contrastive Learning with Stronger Augmentations" (2021), and its code's command for several
          crops: as `imagenet_clsa`, with crops of 224, 192, 160, 128 and 96 pixels, each weak and strong: 5 terms of
          L_C and 25 of L_D, all of weight 1.
Command:  bench run --pretrain imagenet_clsa_multi --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 142 GFLOP.
Expected: ImageNet linear top-1 73.3 (800 epochs: 76.2).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./imagenet_clsa.py"

objective = dict(weak_crops=5, strong_crops=5)
