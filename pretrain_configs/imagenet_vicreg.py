"""VICReg on ImageNet, 1000 epochs.

Source:   Bardes et al., "VICReg" (ICLR 2022) and the command for 1000 epochs in its reference implementation's README:
          LARS 0.2 x batch / 256, weight decay 1e-6, batch 2048, warm-up of 10 epochs, cosine to a thousandth, SyncBN;
          the last norm of each residual block starts at 0 (main_vicreg.py:189-190).
          Its command for 100 epochs: --set pretrain.epochs=100 pretrain.batch_size=512 optimizer.lr=0.3
          (no number stands beside it).
Command:  bench run --pretrain imagenet_vicreg --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 51 GFLOP.
Expected: ImageNet linear 73.2 after 1000 epochs (the reference's README).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

zero_init_residual = True
epochs = 1000
batch_size = 2048
objective = dict(name="vicreg")
optimizer = dict(name="lars", lr=0.2, lr_batch=256, momentum=0.9, weight_decay=1e-6)
schedule = dict(name="cosine", warmup_epochs=10, final_ratio=0.001)

profiles = dict(mini=dict(objective=dict(projection_dim=512)), smoke=dict(objective=dict(projection_dim=64)))
