"""What the pretext tasks on ImageNet share: SGD with momentum 0.9 and weight decay 1e-4, and their small forms."""

dataset = "imagenet"
arch = "resnet50"
view_size = 224
optimizer = dict(name="sgd", lr=0.1, lr_batch=256, momentum=0.9, weight_decay=1e-4)
checkpoint = dict(keep_every_epochs=20)

profiles = dict(
    # Minutes on 2 CPU cores, on at most 512 images: shows that all parts work, not which objective is better.
    mini=dict(view_size=128, epochs=5, batch_size=16, subset=512, schedule=dict(warmup_epochs=1)),
    smoke=dict(view_size=64, epochs=1, batch_size=4, subset=8, schedule=dict(warmup_epochs=0)),
)
