"""What SimCLR's runs on ImageNet share: LARS, batch 4096, 100 epochs.

Source: Chen et al., "SimCLR" (ICML 2020) and its reference implementation: LARS with learning rate 0.3 x batch / 256,
weight decay 1e-6 (the paper's; the commands of the code have 1e-4), 10 epochs of warm-up, cosine; biases and norms
neither decay nor adapt; batch norm over all ranks.
"""

dataset = "imagenet"
arch = "resnet50"
view_size = 224
epochs = 100
batch_size = 4096
sync_bn = True
optimizer = dict(name="lars", lr=0.3, lr_batch=256, momentum=0.9, weight_decay=1e-6, trust_coefficient=0.001)
schedule = dict(name="cosine", warmup_epochs=10)
checkpoint = dict(keep_every_epochs=20)

profiles = dict(
    mini=dict(dataset="imagenet", view_size=128, epochs=5, batch_size=16, subset=512, schedule=dict(warmup_epochs=1)),
    smoke=dict(dataset="imagenet", view_size=64, epochs=1, batch_size=4, subset=8, schedule=dict(warmup_epochs=0)),
)
