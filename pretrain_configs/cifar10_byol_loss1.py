"""BYOL on CIFAR-10, 1,000 epochs: the deck's `byol+loss1`.

Source:   Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020), with the networks, views and optimizer of
          htdt/self-supervised (`_base_/small_bootstrap.py`).
Command:  bench run --pretrain cifar10_byol_loss1 --downstream cifar10_linear_adam cifar10_knn5 --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 8.9 GFLOP.
Expected: the deck: top-1 91.59, top-5 99.73, 5 neighbours 90.13; loss at the end 0.2623.
          That code base's paper has about 91.7 and 89.5 (top-1 and 5 neighbours, batch 512; from memory).
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.

Reading:  The deck names neither code nor recipe for its small images; its columns, data sets and epochs are those of
          htdt/self-supervised, so its settings are taken.
          Batch 512 and Adam at 3e-3 are that code base's.
          loss1 is 4 - 4 cos, BYOL's loss summed over both directions, as that code base logs it.
"""

_base_ = "./_base_/cifar_bootstrap.py"

dataset = "cifar10"
batch_size = 512
objective = dict(name="byol")
