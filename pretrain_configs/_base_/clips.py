"""What all runs on videos share: SGD and a cosine, with a ResNet-50 on frames.

The papers train 3D networks, whose schedules do not carry over; the optimizer and the 100 epochs are our choice.
"""

dataset = "clips"
arch = "resnet50"
view_size = 224
epochs = 100
batch_size = 64
optimizer = dict(name="sgd", lr=0.03, lr_batch=256, momentum=0.9, weight_decay=1e-4)
schedule = dict(name="cosine", warmup_epochs=5)
checkpoint = dict(keep_every_epochs=20)

profiles = dict(
    mini=dict(view_size=64, epochs=10, batch_size=8, subset=128, schedule=dict(warmup_epochs=1)),
    smoke=dict(view_size=64, epochs=1, batch_size=4, subset=8, schedule=dict(warmup_epochs=0)),
)
