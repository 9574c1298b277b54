"""Jigsaw on CIFAR-10: in which order nine patches lie.

Source:   Noroozi and Favaro (ECCV 2016): patches of 32 pixels of an image at 112, of 100 permutations,
          for one epoch, as each image has nine; all else is that of `_base_/control.py`, which all runs of the
          positive control share.
Command:  bench run --pretrain control_jigsaw --downstream cifar10_knn cifar10_linear_adam --data-root DIR
          (all of them, with their controls: bench reproduce positive-control)
Hours:    not measured; `bench plan --estimate` says it for your machine. What it took here: docs/positive_control.md.
Expected: `docs/positive_control.md` has the results of this project; there is no published number for so small a run.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.
"""

_base_ = "./_base_/control.py"

augmentation = "own"
view_size = 112
epochs = 1
objective = dict(name="jigsaw", crop=1.0, permutations=100, patch_size=32, gap=5, jitter=2, patch_dim=128)
