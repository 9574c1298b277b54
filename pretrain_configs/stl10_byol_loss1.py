"""BYOL on STL-10, 2,000 epochs: the deck's `byol+loss1`.

Source:   Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020), with the networks, views and optimizer of
          htdt/self-supervised (`_base_/small_bootstrap.py`).
Command:  bench run --pretrain stl10_byol_loss1 --downstream stl10_linear_adam stl10_knn5 --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 20 GFLOP. A batch of 4,096
          leaves about 85 GB of activations, estimated: take more GPUs, or --set checkpoint_activations=True, which
          costs a third more and changes no result.
Expected: the deck: top-1 91.74, top-5 99.6, 5 neighbours 89.0; loss at the end 0.246.
          That code base's paper has about 92.0 and 88.6 (top-1 and 5 neighbours, batch 512; from memory).
Smoke:    --smoke, two steps on rendered images, seconds on 2 CPU cores.

Reading:  The deck names neither code nor recipe for its small images; its columns, data sets and epochs are those of
          htdt/self-supervised, so its settings are taken.
          The deck's batch is 4,096, where that code base has 512; what learning rate the deck took with it is
          not known. 2e-3 is kept as it is, not scaled. 500 steps of warm-up are then 20 epochs.
          loss1 is 4 - 4 cos, BYOL's loss summed over both directions, as that code base logs it.
"""

_base_ = "./_base_/stl10_bootstrap.py"

objective = dict(name="byol")
