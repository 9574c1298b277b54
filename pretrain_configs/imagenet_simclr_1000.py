"""SimCLR on ImageNet, 1000 epochs at batch 4096: the paper's recipe.

Source:   Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (ICML 2020): LARS 4.8 at
          batch 4096, weight decay 1e-6, two layers in the head, warm-up of 10 epochs, cosine (from memory of it); the
          sum of both views' losses, and last norms of residual blocks that start at 0, as in its code.
Command:  bench run --pretrain imagenet_simclr_1000 --downstream imagenet_linear imagenet_knn --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 50 GFLOP.
Expected: ImageNet linear 69.3 (the paper, from memory); the released network has 69.1 (the reference's README).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_simclr.py"

zero_init_residual = True
epochs = 1000
checkpoint = dict(keep_every_epochs=100)
objective = dict(name="simclr", projector_layers=2, reduction="sum")
