"""BiGAN on ImageNet: codes of 200 dimensions, images of 64x64 pixels.

Source:   Donahue et al. (ICLR 2017) for the objective; Adam 2e-4 with beta1 0.5 as in DCGAN. Batch and epochs are
          ours; no ResNet-50 recipe exists.
Command:  bench run --pretrain imagenet_bigan --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 35 GFLOP.
Expected: no published number for ResNet-50; BigBiGAN, whose networks are far larger, about 55.4 to 56.6 ImageNet
          linear. loss_discriminator starts near ln 2 = 0.69, a mean of both kinds of pairs.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_generative.py"

objective = dict(name="bigan")
optimizer = dict(name="adam", lr=2e-4, lr_batch=None, betas=(0.5, 0.999))
schedule = dict(name="constant", warmup_epochs=0)

profiles = dict(mini=dict(schedule=dict(warmup_epochs=0)), smoke=dict(schedule=dict(warmup_epochs=0)))
