"""Linear classification of ImageNet-100 on the frozen trunk: MoCo's protocol.

Source:   as `imagenet_linear`, on the 100 classes of Tian et al., "Contrastive Multiview Coding" (ECCV 2020): about
          126,700 training and 5,000 validation images.
Command:  bench run --pretrain imagenet_0 random_init --downstream imagenet100_linear --data-root DIR
          (a folder with all of ImageNet serves: its other classes are left out)
Hours:    not measured; `bench plan --estimate` says it for your machine. A hundred passes over the images, 8.2 GFLOP
          each.
Expected: the deck, whose protocol is not stated: `imagenet_0` 77.82, `imagenet_1` 78.28,
          `imagenet_4_1finetune_79_sys4_T5_lr` 74.04. BYOL for 400 epochs with a ResNet-18: about 80.2.
Mini:     as `imagenet_linear`. The small subsets that people keep have other classes, so: all classes that are there.
Smoke:    --smoke, one epoch at 64 px on rendered scenes, seconds.
"""

_base_ = "./imagenet_linear.py"

dataset = "imagenet100"

profiles = dict(mini=dict(dataset="imagenet"), smoke=dict(dataset="imagenet"))
