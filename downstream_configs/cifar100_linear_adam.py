"""Linear classification of CIFAR-100 under Adam on features that are taken once: the deck's `acc` and `acc_5`.

Source:   `_base_/small_linear_adam.py`, on its 50,000 training and 10,000 test images,
          32 pixels as they are.
Command:  bench run --pretrain cifar100_byol_loss1 --downstream cifar100_linear_adam --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over the images, then the head.
Expected: the deck, top-1: 68.68 (`byol+loss1`), 68.39 (`byol+two-loss`), 57.49 (`byol+loss2`).
Smoke:    --smoke, 5 epochs on rendered images, seconds.
"""

_base_ = "./_base_/small_linear_adam.py"

dataset = "cifar100"
size = 32
resize = 32
