"""DCL on ImageNet, 200 epochs at batch 256.

Source:   Yeh et al., "Decoupled Contrastive Learning" (ECCV 2022), with SimCLR's optimizer.
Command:  bench run --pretrain imagenet_dcl --downstream imagenet_linear imagenet_knn --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 50 GFLOP.
Expected: ImageNet linear about 65.9, SimCLR 61.8 (from memory of the paper); lightly, 100 epochs: 65.1, SimCLR 63.2.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  the learning rate is 0.075 x the root of the batch, SimCLR's rule for small batches, which lightly uses, too.
"""

_base_ = "./_base_/imagenet_simclr.py"

epochs = 200
batch_size = 256
optimizer = dict(lr=1.2, lr_batch=None)
objective = dict(name="dcl")

profiles = dict(mini=dict(optimizer=dict(lr=0.3)), smoke=dict(optimizer=dict(lr=0.15)))
