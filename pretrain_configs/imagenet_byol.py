"""BYOL on ImageNet, 1000 epochs at batch 4096.

Source:   Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020) and its reference implementation's preset for 1000
          epochs (configs/byol.py): LARS 0.2 x batch / 256, weight decay 1.5e-6, warm-up of 10 epochs, cosine, target
          rate 0.996 -> 1. Biases and norms neither decay nor adapt. The last norm of each residual
          block starts at 0, as in the published code; in the paper at 1: --set zero_init_residual=False.
Command:  bench run --pretrain imagenet_byol --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine.
Expected: ImageNet linear 74.3 (the paper); 74.0 to 74.5 (the reference's README).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_bootstrap.py"

dataset = "imagenet"
epochs = 1000
batch_size = 4096
objective = dict(name="byol", tau0=0.996)
optimizer = dict(lr=0.2, weight_decay=1.5e-6)
checkpoint = dict(keep_every_epochs=100)
