"""The majority of the five nearest of CIFAR-10 by distance: the deck's `acc_knn`.

Source:   `_base_/small_knn5.py`, on its 50,000 training and 10,000 test images,
          32 pixels as they are.
Command:  bench run --pretrain cifar10_byol_loss1 --downstream cifar10_knn5 --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over the images.
Expected: the deck: 90.13 (`byol+loss1`), 89.86 (`byol+two-loss`), 85.71 (`byol+loss2`).
          Top-5 is over the classes that have a vote, five at most, and says little.
Smoke:    --smoke, on rendered images, seconds.
"""

_base_ = "./_base_/small_knn5.py"

dataset = "cifar10"
size = 32
resize = 32
