"""Linear classification of CIFAR-100 by SGD on random crops and flips, the rate chosen on held-out training images.

Source:   `_base_/small_linear.py`, on its 50,000 training and 10,000 test images,
          32 pixels; test images as they are.
Command:  bench run --pretrain cifar100_byol_loss1 --downstream cifar100_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. A hundred passes over the images.
Expected: no row of the deck: another protocol than `cifar100_linear_adam`, hence other columns.
Smoke:    --smoke, one epoch on rendered images, seconds.
"""

_base_ = "./_base_/small_linear.py"

dataset = "cifar100"
size = 32
resize = 32
