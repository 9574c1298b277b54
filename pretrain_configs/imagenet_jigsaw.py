"""Jigsaw puzzles on ImageNet, 105 epochs: in which order are nine patches?

Source:   Noroozi and Favaro (ECCV 2016), in VISSL's recipe for ResNet-50: 2000 permutations, squares of 255 pixels,
          nine patches of 64 in cells of 85, grey with probability 0.66 (there: of the whole image); SGD 0.1
          at batch 256, from a quarter of it in 5 epochs of warm-up, x0.1 after 30, 60, 90 and 100 epochs, weight decay
          1e-4, norms without. Each patch is normalised by itself, as in the paper.
Command:  bench run --pretrain imagenet_jigsaw --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 29 GFLOP.
Expected: no number for exactly this; a widened ResNet-50 has 44.6 ImageNet linear top-1 (Kolesnikov et al. 2019, as the
          AMDIM authors quote it).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

view_size = 255
epochs = 105
batch_size = 256
objective = dict(name="jigsaw", permutations=2000, gap=21, jitter=10, grey=0.66)
schedule = dict(name="step", warmup_epochs=5, warmup_ratio=0.25, milestones=(30 / 105, 60 / 105, 90 / 105, 100 / 105))

profiles = dict(
    mini=dict(objective=dict(permutations=100, patch_size=32, gap=10, jitter=5)),
    smoke=dict(view_size=112, objective=dict(permutations=10, patch_size=32, gap=6, jitter=2, patch_dim=32)),
)
