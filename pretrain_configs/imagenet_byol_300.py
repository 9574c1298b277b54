"""BYOL on ImageNet, 300 epochs at batch 4096.

Source:   Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020) and its reference implementation's preset for 300
          epochs (configs/byol.py): LARS 0.3 x batch / 256, weight decay 1e-6, warm-up of 10 epochs, cosine, target rate
          0.99 -> 1. Biases and norms neither decay nor adapt. The last norm of each residual
          block starts at 0, as in the published code; in the paper at 1: --set zero_init_residual=False.
Command:  bench run --pretrain imagenet_byol_300 --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine.
Expected: ImageNet linear 72.5 (the baseline of the paper's ablations, from memory).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_bootstrap.py"

dataset = "imagenet"
epochs = 300
batch_size = 4096
objective = dict(name="byol", tau0=0.99)
optimizer = dict(lr=0.3, weight_decay=1e-6)
checkpoint = dict(keep_every_epochs=50)
