"""The majority of the five nearest of STL-10 by distance: the deck's `acc_knn`.

Source:   `_base_/small_knn5.py`, on its 5,000 labelled training and 8,000 test images,
          96 pixels as they are (that code base: 64 of 70).
Command:  bench run --pretrain stl10_byol_loss1 --downstream stl10_knn5 --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over the images.
Expected: the deck: 89.0 (`byol+loss1`), 87.8 (`byol+two-loss`).
          Top-5 is over the classes that have a vote, five at most, and says little.
Smoke:    --smoke, on rendered images, seconds.
"""

_base_ = "./_base_/small_knn5.py"

dataset = "stl10"
size = 96
resize = 96
