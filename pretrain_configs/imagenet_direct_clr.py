"""DirectCLR on ImageNet, 100 epochs at batch 4096.

Source:   Jing et al., "Understanding Dimensional Collapse" (ICLR 2022), and the command of its reference
          implementation's README: LARS 4.8 at batch 4096, weight decay 1e-6, warm-up of 10 epochs, cosine to a
          thousandth, SyncBN; biases and norms neither decay nor adapt; the last norm of each residual block starts at 0
          (directclr/main.py:150).
Command:  bench run --pretrain imagenet_direct_clr --downstream imagenet_linear imagenet_knn --data-root DIR
          The paper's other projectors, with the same views and loss, are one command:
          bench run --pretrain imagenet_direct_clr --sweep objective.projector=subvector,none,linear,mlp \
              --downstream imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine.
Expected: ImageNet linear 62.7 (the reference's README). From memory of the paper: about 51.5 with projector=none, 61.1
          with linear, 66.5 with mlp.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_simclr.py"

zero_init_residual = True
objective = dict(name="direct_clr")
schedule = dict(final_ratio=0.001)
