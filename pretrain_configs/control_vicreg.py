"""VICReg on CIFAR-10: redundancy reduction with a variance term.

Source:   VICReg (Bardes et al., ICLR 2022) with narrow heads, in batches of 128 under Adam, as
          `control_barlow_twins`; all else is that of `_base_/control.py`, which all runs of the positive control share.
Command:  bench run --pretrain control_vicreg --downstream cifar10_knn cifar10_linear_adam --data-root DIR
          (all of them, with their controls: bench reproduce positive-control)
Hours:    not measured; `bench plan --estimate` says it for your machine. What it took here: docs/positive_control.md.
Expected: `docs/positive_control.md` has the results of this project; there is no published number for so small a run.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.
"""

_base_ = "./_base_/control.py"

batch_size = 128
objective = dict(name="vicreg", projection_dim=512)
optimizer = dict(name="adam", lr=1e-3, lr_batch=None, weight_decay=1e-6)
