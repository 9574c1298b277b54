"""What the ImageNet runs of SimSiam, SwAV, Barlow Twins, VICReg, VICRegL and DINO share: data, encoder, profiles.

Source: each of these papers pretrains a ResNet-50 on ImageNet's training set, with full views of 224 pixels and batch
norms over all GPUs. Optimizer, schedule, batch and epochs are each config's own.
"""

dataset = "imagenet"
arch = "resnet50"
view_size = 224
sync_bn = True
checkpoint = dict(keep_every_epochs=100)

profiles = dict(
    # Minutes on 2 CPU cores, on at most 512 images: shows that all parts work, not which objective is better.
    mini=dict(view_size=128, epochs=5, batch_size=16, subset=512, schedule=dict(warmup_epochs=0)),
    # Two steps on rendered scenes.
    smoke=dict(view_size=64, epochs=1, batch_size=4, subset=8, schedule=dict(warmup_epochs=0)),
)
