"""What the runs of the positive control share: a narrow ResNet-18 on all of CIFAR-10, a few epochs, for CPU cores.

Source: ours. The network is torchvision's ResNet-18 with a quarter of its channels and a 3x3 stem with max-pool; two
views by `augmentation="small"` where the objective allows it (Ermolov et al., ICML 2021); SGD with momentum, cosine, as
lightly's benchmarks on CIFAR-10 have it (0.06 at batch 128, weight decay 5e-4). What differs between the runs is the
objective, and what its docstring names.
"""

dataset = "cifar10"
arch = "resnet18w16"
stem = "stl"
view_size = 32
augmentation = "small"
view_backend = "resident"
epochs = 6
batch_size = 256
optimizer = dict(name="sgd", lr=0.06, lr_batch=128, momentum=0.9, weight_decay=5e-4)
schedule = dict(name="cosine", warmup_steps=100)

profiles = dict(
    # Under a minute on 2 CPU cores, on 512 images: shows that all parts work, not which objective is better.
    mini=dict(epochs=5, batch_size=64, subset=512, schedule=dict(warmup_steps=4)),
    # Two steps.
    smoke=dict(epochs=1, batch_size=4, subset=8, precision="float32", schedule=dict(warmup_steps=1)),
)
