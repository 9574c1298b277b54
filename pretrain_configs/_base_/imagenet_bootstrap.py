"""What all ImageNet runs share: BYOL's 100-epoch preset (LARS), at batch 512 and for 80 epochs.

Source: Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020) and its reference implementation: LARS with
learning rate 0.45 x batch / 256, weight decay 1e-6, warm-up of 10 epochs, cosine, target rate 0.99 -> 1. Biases and
norms neither decay nor adapt. ImageNet-100 has 126,689 images, so that the reference's batch of 4,096 would
leave 30 steps an epoch; 512 is our choice. The last norm of each residual block starts at 0, as in the reference's
network (haiku/_src/nets/resnet.py:104 of dm-haiku).

`dataset="imagenet100"` (the class list of CMC) or `dataset="imagenet"` (all classes): one setting.
"""

dataset = "imagenet100"
arch = "resnet50"
zero_init_residual = True
view_size = 224
epochs = 80
batch_size = 512
optimizer = dict(name="lars", lr=0.45, lr_batch=256, momentum=0.9, weight_decay=1e-6, trust_coefficient=0.001)
schedule = dict(name="cosine", warmup_epochs=10)
checkpoint = dict(keep_every_epochs=20)

profiles = dict(
    # Minutes on 2 CPU cores. The small subset that people keep has other classes than CMC's, so: all of ImageNet's.
    mini=dict(dataset="imagenet", view_size=128, epochs=5, batch_size=16, subset=512, schedule=dict(warmup_epochs=1)),
    smoke=dict(dataset="imagenet", view_size=64, epochs=1, batch_size=4, subset=8, schedule=dict(warmup_epochs=0)),
)
