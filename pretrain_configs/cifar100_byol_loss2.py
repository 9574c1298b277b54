"""BYOL's networks under the second loss alone on CIFAR-100, 1,000 epochs: the deck's `byol+loss2`.

Source:   the deck's "loss2", read off what it prints; networks, views and optimizer of htdt/self-supervised
          (`_base_/small_bootstrap.py`).
Command:  bench run --pretrain cifar100_byol_loss2 --downstream cifar100_linear_adam cifar100_knn5 --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 8.9 GFLOP.
Expected: the deck: top-1 57.49, top-5 84.36, 5 neighbours 47.24; loss at the end 0.5181.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.

Reading:  The deck names neither code nor recipe for its small images; its columns, data sets and epochs are those of
          htdt/self-supervised, so its settings are taken.
          The deck's batch is 4,096, where that code base has 512; what learning rate the deck took with it is
          not known. 3e-3 is kept as it is, not scaled. 500 steps of warm-up are then 42 epochs.
          The deck does not define loss2; `logistic` is our reading of its plateau (docs/loss2.md). loss1 has
          weight 0, and is logged all the same.
"""

_base_ = "./_base_/cifar_bootstrap.py"

dataset = "cifar100"
batch_size = 4096
objective = dict(name="two_loss", loss2="logistic", loss1_weight=0.0)
