"""MoCo v2 on CIFAR-10: contrast with a queue of keys.

Source:   MoCo v2 (Chen et al. 2020) with the queue and the momentum of lightly's benchmark on CIFAR-10, 4,096 and 0.99; all else is that of
          `_base_/control.py`, which all runs of the positive control share.
Command:  bench run --pretrain control_moco_v2 --downstream cifar10_knn cifar10_linear_adam --data-root DIR
          (all of them, with their controls: bench reproduce positive-control)
Hours:    minutes on a CPU core; `docs/positive_control.md` has what was measured.
Expected: `docs/positive_control.md` has the results of this project; there is no published number for so small a run.
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.
"""

_base_ = "./_base_/control.py"

objective = dict(name="moco_v2", queue_size=4096, momentum=0.99)
