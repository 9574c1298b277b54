"""SwAV on ImageNet, 200 epochs at batch 256, with small crops and a queue.

Source:   the small-batch recipe of SwAV's reference implementation, scripts/swav_200ep_bs256_pretrain.sh: LARS 0.6 at
          batch 256 for all parameters, weight decay 1e-6, cosine to 0.0006 without warm-up, norms over all images, a
          queue of 3,840 embeddings from epoch 15 on, prototypes held for one epoch.
Command:  bench run --pretrain imagenet_swav_256 --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 76 GFLOP.
Expected: ImageNet linear 72.7 after 200 epochs; of the same recipe 74.3 after 400 (the reference's README).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

epochs = 200
batch_size = 256
objective = dict(name="swav", freeze_share=1 / 200, queue_size=3840, queue_start=15 / 200)
optimizer = dict(name="lars", lr=0.6, lr_batch=256, momentum=0.9, weight_decay=1e-6, decay="all")
schedule = dict(name="cosine", final_ratio=0.001)

profiles = dict(
    mini=dict(objective=dict(prototypes=30, queue_size=64, crops=2, crop_size=64)),
    smoke=dict(objective=dict(prototypes=10, queue_size=8, crops=2, crop_size=32)),
)
