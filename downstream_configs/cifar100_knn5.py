"""The majority of the five nearest of CIFAR-100 by distance: the deck's `acc_knn`.

Source:   `_base_/small_knn5.py`, on its 50,000 training and 10,000 test images,
          32 pixels as they are.
Command:  bench run --pretrain cifar100_byol_loss1 --downstream cifar100_knn5 --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over the images.
Expected: the deck: 61.64 (`byol+loss1`), 61.64 (`byol+two-loss`; perhaps a slip), 47.24 (`byol+loss2`).
          Top-5 is over the classes that have a vote, five at most, and says little.
Smoke:    --smoke, on rendered images, seconds.
"""

_base_ = "./_base_/small_knn5.py"

dataset = "cifar100"
size = 32
resize = 32
