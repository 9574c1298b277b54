"""VAE on CIFAR-10: a code from which the image can be drawn.

Source:   Kingma and Welling (ICLR 2014), on single crops, under Adam (a run under SGD at 0.12 ended in NaN);
          all else is that of `_base_/control.py`, which all runs of the positive control share.
Command:  bench run --pretrain control_vae --downstream cifar10_knn cifar10_linear_adam --data-root DIR
          (all of them, with their controls: bench reproduce positive-control)
Hours:    not measured; `bench plan --estimate` says it for your machine. What it took here: docs/positive_control.md.
Expected: `docs/positive_control.md` has the results of this project; there is no published number for so small a run.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.
"""

_base_ = "./_base_/control.py"

augmentation = "own"
objective = dict(name="vae", image_size=32, width=16, latent_dim=128)
optimizer = dict(name="adam", lr=1e-3, lr_batch=None, weight_decay=0.0)
