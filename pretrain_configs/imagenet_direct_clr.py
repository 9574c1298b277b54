"""DirectCLR on ImageNet, 100 epochs at batch 4096.

Source:   Jing et al., "Understanding Dimensional Collapse" (ICLR 2022): LARS 4.8 at batch 4096, weight decay 1e-6;
          the last norm of each residual block starts at 0 (directclr/main.py:150).
Command:  bench run --pretrain imagenet_direct_clr --downstream imagenet_linear imagenet_knn --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine.
Expected: ImageNet linear 62.7 (the reference's README).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  the other projectors of the paper are SimCLR's: bench run --pretrain imagenet_simclr \
              --sweep objective.projector=none,linear,diagonal,low_rank,mlp --downstream imagenet_linear
"""

_base_ = "./_base_/imagenet_simclr.py"

zero_init_residual = True
objective = dict(name="direct_clr")
