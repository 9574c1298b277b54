"""What the generative ImageNet runs share: Adam, a cosine, 100 epochs.

Source: our choice: none of these papers trains a ResNet-50. A config says what it changes, and after whom.
"""

dataset = "imagenet"
arch = "resnet50"
view_size = 224
epochs = 100
batch_size = 256
optimizer = dict(name="adam", lr=1e-3, lr_batch=None)
schedule = dict(name="cosine", warmup_epochs=5)
checkpoint = dict(keep_every_epochs=25)

profiles = dict(
    mini=dict(view_size=128, epochs=5, batch_size=16, subset=512, schedule=dict(warmup_epochs=1)),
    smoke=dict(view_size=64, epochs=1, batch_size=4, subset=8, schedule=dict(warmup_epochs=0)),
)
