"""Control: the same network trained on CIFAR-10's labels, by the same loop.

Source:   cross-entropy on single crops; all else is that of
          `_base_/control.py`, which all runs of the positive control share.
Command:  bench run --pretrain control_supervised --downstream cifar10_knn cifar10_linear_adam --data-root DIR
          (all of them, with their controls: bench reproduce positive-control)
Hours:    not measured; `bench plan --estimate` says it for your machine. What it took here: docs/positive_control.md.
Expected: `docs/positive_control.md` has the results of this project; there is no published number for so small a run.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.
"""

_base_ = "./_base_/control.py"

augmentation = "own"
objective = dict(name="supervised")
