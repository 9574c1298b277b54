"""VICRegL on ImageNet, 300 epochs.

Source:   Bardes et al., "VICRegL" (NeurIPS 2022) and, from memory, its ResNet-50 command: LARS 0.2 x batch / 256,
          weight decay 1e-6, batch 512, alpha 0.9, warm-up of 10 epochs, cosine to a thousandth, SyncBN; the last
          norm of each residual block starts at 0 (main_vicregl.py:269-270).
Command:  bench run --pretrain imagenet_vicregl --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 51 GFLOP.
Expected: ImageNet linear 71.2 and a linear segmentation head 54.0 mIoU with alpha 0.9; 70.4 and 55.9 with 0.75.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

zero_init_residual = True
epochs = 300
batch_size = 512
objective = dict(name="vicregl")
optimizer = dict(name="lars", lr=0.2, lr_batch=256, momentum=0.9, weight_decay=1e-6)
schedule = dict(name="cosine", warmup_epochs=10, final_ratio=0.001)

profiles = dict(
    mini=dict(objective=dict(projection_dim=512, local_dim=64)),
    smoke=dict(objective=dict(projection_dim=64, local_dim=16)),
)
