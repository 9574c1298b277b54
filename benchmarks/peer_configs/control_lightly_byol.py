"""`control_byol` with lightly's BYOL: its loss, heads and step under the same settings.

Command:  bench run --pretrain benchmarks/peer_configs/control_lightly_byol.py \
              --downstream cifar10_knn cifar10_linear_adam --data-root DIR --results-dir results/peers
"""

_base_ = "../../pretrain_configs/control_byol.py"

objective = dict(name="../peer_objectives.py:LightlyBYOL")
