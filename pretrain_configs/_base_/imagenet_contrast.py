"""What the contrastive runs with a queue or a memory bank share: ImageNet, 200 epochs, SGD as in MoCo and before it.

Source: Wu et al., "Instance Discrimination" (CVPR 2018), and He et al., "Momentum Contrast" (CVPR 2020): learning rate
0.03 at batch 256, x0.1 at 120 and 160 of 200 epochs, momentum 0.9, weight decay 1e-4 on all parameters, biases and
norms as well; no warm-up. Norms are of each process: with statistics over all of them a query would be normalised
among the images of its key.
"""

dataset = "imagenet"
arch = "resnet50"
view_size = 224
epochs = 200
batch_size = 256
sync_bn = False
optimizer = dict(name="sgd", lr=0.03, lr_batch=256, momentum=0.9, weight_decay=1e-4, decay="all")
schedule = dict(name="step", warmup_epochs=0, milestones=(120 / 200, 160 / 200))
checkpoint = dict(keep_every_epochs=50)

profiles = dict(
    # Minutes on 2 CPU cores, on at most 512 images: shows that all parts work, not which objective is better.
    mini=dict(view_size=128, epochs=5, batch_size=16, subset=512),
    smoke=dict(view_size=64, epochs=1, batch_size=4, subset=8),
)
