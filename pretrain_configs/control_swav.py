"""SwAV on CIFAR-10: clustering by 100 prototypes that a batch shares equally.

Source:   SwAV (Caron et al., NeurIPS 2020) without small crops, with epsilon 0.03 and prototypes that
          stand still for a tenth of the run (with the default 0.05 the loss stayed at the logarithm of their number);
          all else is that of `_base_/control.py`, which all runs of the positive control share.
Command:  bench run --pretrain control_swav --downstream cifar10_knn cifar10_linear_adam --data-root DIR
          (all of them, with their controls: bench reproduce positive-control)
Hours:    not measured; `bench plan --estimate` says it for your machine. What it took here: docs/positive_control.md.
Expected: `docs/positive_control.md` has the results of this project; there is no published number for so small a run.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.
"""

_base_ = "./_base_/control.py"

objective = dict(name="swav", prototypes=100, crops=0, hidden_dim=512, epsilon=0.03, freeze_share=0.1)
