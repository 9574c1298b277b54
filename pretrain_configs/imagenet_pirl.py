"""PIRL on ImageNet, 800 epochs: images and their shuffled patches match one vector in a memory bank.

Source:   Misra and van der Maaten, "Pretext-Invariant Representations" (CVPR 2020), and VISSL's
          pirl_jigsaw_4node_resnet50: 32,000 negatives, temperature 0.07, SGD 0.03 at batch 256, cosine to a thousandth
          (there a rate for each epoch, here for each step), weight decay 1e-4 (not on norms and biases), batch 1024,
          there of 32 processes. The rows that a step compares with are 16 GB at that batch: hence accumulate=4. Views
          need view_backend "reference" or "fast".
Command:  bench run --pretrain imagenet_pirl --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 42 GFLOP.
Expected: ImageNet linear top-1 64.3 in VISSL (200 epochs: 62.6).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_contrast.py"

epochs = 800
batch_size = 1024
accumulate = 4
objective = dict(name="pirl")
optimizer = dict(decay="weights")
schedule = dict(_delete_=True, name="cosine", warmup_epochs=0, final_ratio=0.001)

profiles = dict(
    mini=dict(accumulate=1, objective=dict(negatives=256, puzzle_size=144, patch_size=40)),
    smoke=dict(accumulate=1, objective=dict(negatives=16, puzzle_size=108, patch_size=32)),
)
