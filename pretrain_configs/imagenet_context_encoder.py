"""Context encoder on ImageNet: the middle 64x64 of 128x128 pixels is filled in.

Source:   pathak22/context-encoder, train.lua and the command in README.md:75: squares of 128 pixels of images whose
          shorter side has 350, a band of 4 pixels (the paper: 7), Adam 2e-4 with beta1 0.5, ten times that for encoder
          and decoder, batch 64, weights 0.999 and 0.001. Epochs are ours (there: 500, of another data set); no
          ResNet-50 recipe exists.
Command:  bench run --pretrain imagenet_context_encoder --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 20 GFLOP.
Expected: no published number for ResNet-50. loss_discriminator starts near ln 2 = 0.69, a mean of real and fake.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_generative.py"

view_size = 128
batch_size = 64
objective = dict(name="context_encoder", crop=128 / 350, overlap=4)
optimizer = dict(name="adam", lr=2e-4, lr_batch=None, betas=(0.5, 0.999))
schedule = dict(name="constant", warmup_epochs=0)

profiles = dict(
    mini=dict(schedule=dict(warmup_epochs=0)),
    smoke=dict(objective=dict(image_size=32, overlap=3)),
)
