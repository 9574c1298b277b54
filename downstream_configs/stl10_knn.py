"""Weighted nearest neighbours on STL-10: 200 by cosine.

Source:   `_base_/small_knn.py`, on its 5,000 labelled training and 8,000 test images,
          96 pixels as they are.
Command:  bench run --pretrain stl10_byol_loss1 --downstream stl10_knn --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over the images.
Expected: no row of the deck: another vote than `stl10_knn5`.
Smoke:    --smoke, 5 neighbours on rendered images, seconds.
"""

_base_ = "./_base_/small_knn.py"

dataset = "stl10"
size = 96
resize = 96
