"""What the runs on STL-10 share: a 3x3 stem and a max-pool, views of 96 pixels, 2,000 epochs on its 105,000 images.

Source: as `small_bootstrap`; Adam at 2e-3 and projections of 128 numbers are that code base's for STL-10, which
pretrains on the training images and those without labels. The deck's images have 96 pixels (there: crops of 64).
"""

_base_ = "./small_bootstrap.py"

dataset = "stl10"
stem = "stl"
view_size = 96
epochs = 2000
batch_size = 4096
objective = dict(projection_dim=128)
optimizer = dict(lr=2e-3)
schedule = dict(
    name="step", warmup_steps=500, warmup_ratio=1 / 500, milestones=(1 - 50 / 2000, 1 - 25 / 2000), gamma=0.2
)
checkpoint = dict(keep_every_epochs=200)

profiles = dict(mini=dict(view_size=64))
