"""MoCo v1 on ImageNet, 200 epochs: 65,536 past keys from a slowly moving encoder.

Source:   He et al., "Momentum Contrast" (CVPR 2020), and its code: temperature 0.07, momentum 0.999, SGD 0.03 at batch
          256 with steps at 120 and 160, weight decay 1e-4 on all parameters; norms over 32 images, as there on each
          of 8 processes.
Command:  bench run --pretrain imagenet_moco --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 33 GFLOP.
Expected: ImageNet linear top-1 60.6.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_contrast.py"

objective = dict(name="moco")

profiles = dict(mini=dict(objective=dict(queue_size=256)), smoke=dict(objective=dict(queue_size=16)))
