"""BiGAN on ImageNet: codes of 200 dimensions, images of 64x64 pixels.

Source:   Donahue et al. (ICLR 2017) and jeffdonahue/bigan (train_gan.py:164-183, train_imagenet.sh and README): Adam
          2e-4 with beta1 0.5, batch 128, L2 of 2.5e-5 (there on biases as well), 50 epochs at the full rate and 50 in
          which it falls by a factor each epoch, to a hundredth. Their E is an AlexNet on 112 pixels, here a ResNet-50
          on 224.
Command:  bench run --pretrain imagenet_bigan --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 35 GFLOP.
Expected: no published number for ResNet-50; BigBiGAN, whose networks are far larger, about 55.4 to 56.6 ImageNet
          linear (from memory). loss_discriminator starts near ln 2 = 0.69, a mean of both kinds of pairs.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_generative.py"

batch_size = 128
objective = dict(name="bigan")
optimizer = dict(name="adam", lr=2e-4, lr_batch=None, betas=(0.5, 0.999), weight_decay=2.5e-5)
schedule = dict(
    name="step",
    warmup_epochs=0,
    milestones=[epoch / 100 for epoch in range(50, 100)],
    gamma=0.9120108393559098,  # 0.01 ** (1 / 50)
)

profiles = dict(mini=dict(schedule=dict(warmup_epochs=0)), smoke=dict(schedule=dict(warmup_epochs=0)))
