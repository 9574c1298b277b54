"""Weighted nearest neighbours on CIFAR-10: 200 by cosine.

Source:   `_base_/small_knn.py`, on its 50,000 training and 10,000 test images,
          32 pixels as they are.
Command:  bench run --pretrain cifar10_byol_loss1 --downstream cifar10_knn --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over the images.
Expected: no row of the deck: another vote than `cifar10_knn5`.
Smoke:    --smoke, 5 neighbours on rendered images, seconds.
"""

_base_ = "./_base_/small_knn.py"

dataset = "cifar10"
size = 32
resize = 32
