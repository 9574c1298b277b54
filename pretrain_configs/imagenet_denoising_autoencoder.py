"""Denoising autoencoder on ImageNet: a quarter of all values is set to 0, and restored.

Source:   Vincent et al. (ICML 2008) for the corruption and the loss; the schedule is ours, no ResNet-50 recipe exists.
Command:  bench run --pretrain imagenet_denoising_autoencoder --downstream cityscapes_pspnet imagenet_linear \\
          --data-root DIR
          (another noise: --set objective.noise=gaussian objective.amount=0.1)
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 42 GFLOP.
Expected: no published number for ResNet-50.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_generative.py"

objective = dict(name="denoising_autoencoder", stride=2)  # restored at half the view's resolution
