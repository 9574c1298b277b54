"""Variational autoencoder on ImageNet: 200 latent dimensions, decoded to 64x64 pixels.

Source:   Kingma and Welling (ICLR 2014) for the bound; the networks and the schedule are ours, no ResNet-50 recipe
          exists.
Command:  bench run --pretrain imagenet_vae --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 31 GFLOP.
Expected: no published number for ResNet-50. Watch active_dims: at 0 the posterior has collapsed to the prior.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_generative.py"

objective = dict(name="vae")
