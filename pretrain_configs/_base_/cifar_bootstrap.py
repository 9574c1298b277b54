"""What the runs on CIFAR-10 and CIFAR-100 share: a 3x3 stem without max-pool, views of 32 pixels, 1,000 epochs.

Source: as `small_bootstrap`; Adam at 3e-3 and projections of 64 numbers are that code base's for CIFAR.
"""

_base_ = "./small_bootstrap.py"

stem = "cifar"
view_size = 32
epochs = 1000
objective = dict(projection_dim=64)
optimizer = dict(lr=3e-3)
schedule = dict(
    name="step", warmup_steps=500, warmup_ratio=1 / 500, milestones=(1 - 50 / 1000, 1 - 25 / 1000), gamma=0.2
)
checkpoint = dict(keep_every_epochs=200)
