"""BYOL's networks under the second loss alone on CIFAR-10, 1,000 epochs: the deck's `byol+loss2`.

Source:   the deck's "loss2", read off what it prints; networks, views and optimizer of htdt/self-supervised
          (`_base_/small_bootstrap.py`).
Command:  bench run --pretrain cifar10_byol_loss2 --downstream cifar10_linear_adam cifar10_knn5 --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 8.9 GFLOP.
Expected: the deck: top-1 88.50, top-5 99.66, 5 neighbours 85.71; loss at the end 0.5169.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.

Reading:  The deck names neither code nor recipe for its small images; its columns, data sets and epochs are those of
          htdt/self-supervised, so its settings are taken.
          Batch 512 and Adam at 3e-3 are that code base's.
          The deck does not define loss2; `logistic` is our reading of its plateau (docs/loss2.md). loss1 has
          weight 0, and is logged all the same.
"""

_base_ = "./_base_/cifar_bootstrap.py"

dataset = "cifar10"
batch_size = 512
objective = dict(name="two_loss", loss2="logistic", loss1_weight=0.0)
