"""Linear classification of CIFAR-10 under Adam on features that are taken once: the deck's `acc` and `acc_5`.

Source:   `_base_/small_linear_adam.py`, on its 50,000 training and 10,000 test images,
          32 pixels as they are.
Command:  bench run --pretrain cifar10_byol_loss1 --downstream cifar10_linear_adam --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over the images, then the head.
Expected: the deck, top-1: 91.59 (`byol+loss1`), 91.92 (`byol+two-loss`), 88.50 (`byol+loss2`).
Smoke:    --smoke, 5 epochs on rendered images, seconds.
"""

_base_ = "./_base_/small_linear_adam.py"

dataset = "cifar10"
size = 32
resize = 32
