"""Jigsaw puzzles on ImageNet, 105 epochs: in which order are nine patches?

Source:   Noroozi and Favaro (ECCV 2016), in VISSL's recipe for ResNet-50
          (configs/config/pretrain/jigsaw/jigsaw_8gpu_resnet.yaml): 2000 permutations, squares of 255 of 256 pixels,
          nine patches of 64 in cells of 85, grey with probability 0.66; SGD 0.1 at batch 256, from a quarter of it in
          5 epochs of warm-up, x0.1 after 30, 60, 90 and 100 epochs, weight decay 1e-4, norms and biases without
          (there: norms), norms over 32 images. Each patch normalised by itself, as in the paper:
          --set objective.standardise=True
Command:  bench run --pretrain imagenet_jigsaw --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 29 GFLOP.
Expected: 46.73 ImageNet top-1 in VISSL's model zoo, whose linear classifiers are on pooled maps of several layers, 28
          epochs: not `imagenet_linear`, whose number is not known.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

view_size = 255
epochs = 105
batch_size = 256
sync_bn = False
norm_images = 32
objective = dict(name="jigsaw", crop=255 / 256, permutations=2000, gap=21, jitter=10, grey=0.66, standardise=False)
schedule = dict(name="step", warmup_epochs=5, warmup_ratio=0.25, milestones=(30 / 105, 60 / 105, 90 / 105, 100 / 105))

profiles = dict(
    mini=dict(norm_images=4, objective=dict(permutations=100, patch_size=32, gap=10, jitter=5)),
    smoke=dict(
        norm_images=2, view_size=112, objective=dict(permutations=10, patch_size=32, gap=6, jitter=2, patch_dim=32)
    ),
)
