"""MoCo v2 on ImageNet, 200 epochs: MoCo with an MLP head, blurred views and a cosine schedule.

Source:   Chen et al., "Improved Baselines with Momentum Contrastive Learning" (2020), and its code: temperature 0.2,
          momentum 0.999, 65,536 keys, SGD 0.03 at batch 256, cosine (there a rate for each epoch, here for each step),
          weight decay 1e-4 on all parameters; norms over 32 images, as there on each of 8 processes.
Command:  bench run --pretrain imagenet_moco_v2 --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 33 GFLOP.
Expected: ImageNet linear top-1 67.5 (800 epochs: 71.1).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_contrast.py"

objective = dict(name="moco_v2")
schedule = dict(_delete_=True, name="cosine", warmup_epochs=0)

profiles = dict(mini=dict(objective=dict(queue_size=256)), smoke=dict(objective=dict(queue_size=16)))
