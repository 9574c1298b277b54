"""Linear classification of STL-10 under Adam on features that are taken once: the deck's `acc` and `acc_5`.

Source:   `_base_/small_linear_adam.py`, on its 5,000 labelled training and 8,000 test images,
          96 pixels as they are (that code base: 64 of 70).
Command:  bench run --pretrain stl10_byol_loss1 --downstream stl10_linear_adam --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over the images, then the head.
Expected: the deck, top-1: 91.74 (`byol+loss1`), 91.08 (`byol+two-loss`).
Smoke:    --smoke, 5 epochs on rendered images, seconds.
"""

_base_ = "./_base_/small_linear_adam.py"

dataset = "stl10"
size = 96
resize = 96
