"""Instance discrimination on ImageNet, 200 epochs: each image a class of its own, its weight in a memory bank.

Source:   Wu et al., "Instance Discrimination" (CVPR 2018), and its code: 4,096 negatives, temperature 0.07, SGD 0.03 at
          batch 256, x0.1 at 120 and 160, weight decay 1e-4 on all parameters. The bank is 1.28 million x 128 numbers,
          0.66 GB.
Command:  bench run --pretrain imagenet_instance_discrimination --downstream imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 25 GFLOP.
Expected: ImageNet linear top-1 54.99, of the authors' weights as VISSL measures them (MODEL_ZOO.md:143); 54.0 in the
          paper (from memory). HobbitLong/CMC (README.md:127-132) has 56.5 on 4 GPUs, hence norms over 64 images, and
          57.1 with --set objective.loss=softmax, both with crops from 8 % of the area on, here from 20 %.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_contrast.py"

norm_images = 64
objective = dict(name="instance_discrimination")

profiles = dict(mini=dict(objective=dict(negatives=256)), smoke=dict(objective=dict(negatives=16)))
