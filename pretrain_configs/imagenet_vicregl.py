"""VICRegL on ImageNet, 300 epochs.

Source:   Bardes et al., "VICRegL" (NeurIPS 2022) and the command for 300 epochs of a ResNet-50 in its reference
          implementation's README: LARS 0.2 x batch / 256, weight decay 1e-6, batch 2048, warm-up of 10 epochs, cosine
          to a thousandth, SyncBN, two views and no small crops; the last norm of each residual block starts at 0
          (main_vicregl.py:269-270). The command has --alpha 0.75, the README's table both 0.75 and 0.9:
          --set objective.alpha=0.75 is the command to the letter.
Command:  bench run --pretrain imagenet_vicregl --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 51 GFLOP.
Expected: with alpha 0.9 ImageNet linear 71.2 and a linear segmentation head on Pascal VOC 54.0 mIoU; with 0.75 70.4
          and 55.9 (the reference's README).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

zero_init_residual = True
epochs = 300
batch_size = 2048
objective = dict(name="vicregl", alpha=0.9)
optimizer = dict(name="lars", lr=0.2, lr_batch=256, momentum=0.9, weight_decay=1e-6)
schedule = dict(name="cosine", warmup_epochs=10, final_ratio=0.001)

profiles = dict(
    mini=dict(objective=dict(projection_dim=512, local_dim=64)),
    smoke=dict(objective=dict(projection_dim=64, local_dim=16)),
)
