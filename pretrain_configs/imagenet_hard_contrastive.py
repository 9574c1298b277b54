"""Hard contrastive loss on ImageNet-100, 200 epochs.

Source:   Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), with SimCLR's optimizer.
Command:  bench run --pretrain imagenet_hard_contrastive --downstream imagenet100_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 50 GFLOP.
Expected: no number for ImageNet with two views is known to us.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  the paper's networks read CIFAR, SVHN and ImageNet-100 with a memory of all images. Here the loss is in
          SimCLR's place, with SimCLR's optimizer at batch 512.
"""

_base_ = "./_base_/imagenet_simclr.py"

dataset = "imagenet100"
epochs = 200
batch_size = 512
objective = dict(name="hard_contrastive")
