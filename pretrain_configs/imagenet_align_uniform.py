"""Alignment and uniformity on ImageNet-100, 200 epochs.

Source:   Wang and Isola (ICML 2020): SGD 0.12 x batch / 256, batch 768, weight decay 1e-4 on all parameters, steps at
          155, 170 and 185 of 200 epochs: the reference implementation's recipe for STL-10 (examples/stl10/main.py).
Command:  bench run --pretrain imagenet_align_uniform --downstream imagenet100_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 50 GFLOP.
Expected: no number for this network and data is known to us.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  ImageNet-100 takes the place of STL-10, at 224 pixels instead of 64.
"""

_base_ = "./_base_/imagenet_simclr.py"

dataset = "imagenet100"
epochs = 200
batch_size = 768
optimizer = dict(_delete_=True, name="sgd", lr=0.12, lr_batch=256, momentum=0.9, weight_decay=1e-4, decay="all")
schedule = dict(_delete_=True, name="step", milestones=(155 / 200, 170 / 200, 185 / 200))
objective = dict(name="align_uniform")
