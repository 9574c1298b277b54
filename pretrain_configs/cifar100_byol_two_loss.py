"""BYOL plus a second loss on CIFAR-100, 1,000 epochs: the deck's `byol+two-loss`.

Source:   the deck's "two-loss": loss = loss1 + loss2 with unit weights (its printed values add up to the digit);
          networks, views and optimizer of htdt/self-supervised (`_base_/small_bootstrap.py`).
Command:  bench run --pretrain cifar100_byol_two_loss --downstream cifar100_linear_adam cifar100_knn5 --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 8.9 GFLOP.
Expected: the deck: top-1 68.39, top-5 90.93, 5 neighbours 61.64 (which stands in two rows of the deck,
          perhaps a slip); loss at the end 0.9035, of 0.3831 and 0.5203.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.

Reading:  The deck names neither code nor recipe for its small images; its columns, data sets and epochs are those of
          htdt/self-supervised, so its settings are taken.
          The deck's batch is 4,096, where that code base has 512; what learning rate the deck took with it is
          not known. 3e-3 is kept as it is, not scaled. 500 steps of warm-up are then 42 epochs.
          loss1 is 4 - 4 cos, BYOL's loss summed over both directions, as that code base logs it. The deck does not
          define loss2; `logistic` is our reading of its plateau (docs/loss2.md).
"""

_base_ = "./_base_/cifar_bootstrap.py"

dataset = "cifar100"
batch_size = 4096
objective = dict(name="two_loss", loss2="logistic")
