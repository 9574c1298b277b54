"""Weighted nearest neighbours on CIFAR-100: 200 by cosine.

Source:   `_base_/small_knn.py`, on its 50,000 training and 10,000 test images,
          32 pixels as they are.
Command:  bench run --pretrain cifar100_byol_loss1 --downstream cifar100_knn --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over the images.
Expected: no row of the deck: another vote than `cifar100_knn5`.
Smoke:    --smoke, 5 neighbours on rendered images, seconds.
"""

_base_ = "./_base_/small_knn.py"

dataset = "cifar100"
size = 32
resize = 32
