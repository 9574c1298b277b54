"""DCLW on ImageNet, 200 epochs at batch 256.

Source:   Yeh et al., "Decoupled Contrastive Learning" (ECCV 2022), with SimCLR's optimizer.
Command:  bench run --pretrain imagenet_dclw --downstream imagenet_linear imagenet_knn --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 50 GFLOP.
Expected: ImageNet linear 64.5 after 100 epochs (lightly); DCL 65.1, SimCLR 63.2.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  the learning rate is 0.075 x the root of the batch, SimCLR's rule for small batches, which lightly uses, too.
"""

_base_ = "./_base_/imagenet_simclr.py"

epochs = 200
batch_size = 256
optimizer = dict(lr=1.2, lr_batch=None)
objective = dict(name="dclw")

profiles = dict(mini=dict(optimizer=dict(lr=0.3)), smoke=dict(optimizer=dict(lr=0.15)))
