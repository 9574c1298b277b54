"""BYOL plus a second loss on CIFAR-10, 1,000 epochs: the deck's `byol+two-loss`.

Source:   the deck's "two-loss": loss = loss1 + loss2 with unit weights (its printed values add up to the digit);
          networks, views and optimizer of htdt/self-supervised (`_base_/small_bootstrap.py`).
Command:  bench run --pretrain cifar10_byol_two_loss --downstream cifar10_linear_adam cifar10_knn5 --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 8.9 GFLOP.
Expected: the deck: top-1 91.92, top-5 99.70, 5 neighbours 89.86; loss at the end 0.7711.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.

Reading:  The deck names neither code nor recipe for its small images; its columns, data sets and epochs are those of
          htdt/self-supervised, so its settings are taken.
          Batch 512 and Adam at 3e-3 are that code base's.
          loss1 is 4 - 4 cos, BYOL's loss summed over both directions, as that code base logs it. The deck does not
          define loss2; `logistic` is our reading of its plateau (docs/loss2.md).
"""

_base_ = "./_base_/cifar_bootstrap.py"

dataset = "cifar10"
batch_size = 512
objective = dict(name="two_loss", loss2="logistic")
