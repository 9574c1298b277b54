"""SwAV on ImageNet, 800 epochs at batch 4096, with small crops.

Source:   Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (NeurIPS 2020)
          and its reference implementation, scripts/swav_800ep_pretrain.sh: LARS 4.8 at batch 4096 for all parameters,
          biases and norms as well, weight decay 1e-6, warm-up of 10 epochs from 0.3, cosine to 0.0048, norms over 512
          images (there SyncBN in groups of 8 processes with 64 images each), prototypes held for one epoch, no queue.
Command:  bench run --pretrain imagenet_swav --downstream cityscapes_pspnet imagenet_linear --data-root DIR
          (200 epochs: --set pretrain.epochs=200 objective.freeze_share=0.005)
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 76 GFLOP.
Expected: ImageNet linear 75.3 after 800 epochs; of the same recipe 72.1 after 100, 73.9 after 200, 74.6 after 400 (the
          reference's README). The loss starts near ln 3000 = 8.006; if it stays there, set objective.epsilon=0.03.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

epochs = 800
batch_size = 4096
sync_bn = False
norm_images = 512
objective = dict(name="swav", freeze_share=1 / 800)
optimizer = dict(name="lars", lr=4.8, lr_batch=4096, momentum=0.9, weight_decay=1e-6, decay="all")
schedule = dict(name="cosine", warmup_epochs=10, warmup_ratio=0.3 / 4.8, final_ratio=0.001)

profiles = dict(
    mini=dict(norm_images=8, objective=dict(prototypes=30, crops=2, crop_size=64)),
    smoke=dict(norm_images=2, objective=dict(prototypes=10, crops=2, crop_size=32)),
)
