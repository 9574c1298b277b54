"""Linear classification of STL-10 by SGD on random crops and flips, the rate chosen on held-out training images.

Source:   `_base_/small_linear.py`, on its 5,000 labelled training and 8,000 test images,
          96 pixels; test images as they are.
Command:  bench run --pretrain stl10_byol_loss1 --downstream stl10_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. A hundred passes over the images.
Expected: no row of the deck: another protocol than `stl10_linear_adam`, hence other columns.
Smoke:    --smoke, one epoch on rendered images, seconds.
"""

_base_ = "./_base_/small_linear.py"

dataset = "stl10"
size = 96
resize = 96
