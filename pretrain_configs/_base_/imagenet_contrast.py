"""What the contrastive runs with a queue or a memory bank share: ImageNet, 200 epochs, SGD as in MoCo and before it.

Source: Wu et al., "Instance Discrimination" (CVPR 2018), and He et al., "Momentum Contrast" (CVPR 2020): learning rate
0.03 at batch 256, x0.1 at 120 and 160 of 200 epochs, momentum 0.9, weight decay 1e-4 on all parameters, biases and
norms as well; no warm-up. Norms are over 32 images, on any number of processes, as in MoCo's code, which has 8 of them
with 32 images each and no other form, in CMC's command (128 images on 4 GPUs) and in VISSL's PIRL and instance
discrimination. With statistics over all images a query would be normalised among those of its key.
"""

dataset = "imagenet"
arch = "resnet50"
view_size = 224
epochs = 200
batch_size = 256
sync_bn = False
norm_images = 32
optimizer = dict(name="sgd", lr=0.03, lr_batch=256, momentum=0.9, weight_decay=1e-4, decay="all")
schedule = dict(name="step", warmup_epochs=0, milestones=(120 / 200, 160 / 200))
checkpoint = dict(keep_every_epochs=50)

profiles = dict(
    # Minutes on 2 CPU cores, on at most 512 images: shows that all parts work, not which objective is better.
    mini=dict(view_size=128, epochs=5, batch_size=16, norm_images=4, subset=512),
    smoke=dict(view_size=64, epochs=1, batch_size=4, norm_images=2, subset=8),
)
