"""What the runs on COCO that build on MoCo v2 share: DenseCL's recipe for COCO.

Source: Wang et al., "DenseCL" (CVPR 2021) and its reference implementation: SGD, learning rate 0.3 at batch 256 (ten
times that of ImageNet), weight decay 1e-4 on all parameters, cosine without warm-up (there a rate for each epoch, here
for each step), 800 epochs; norms over 32 images (imgs_per_gpu=32), keys shuffled between them. CAST has the same batch
on as many GPUs; the constrained crops have it on 2.
"""

dataset = "coco"
arch = "resnet50"
view_size = 224
epochs = 800
batch_size = 256
sync_bn = False
norm_images = 32
optimizer = dict(name="sgd", lr=0.3, lr_batch=256, momentum=0.9, weight_decay=1e-4, decay="all")
schedule = dict(name="cosine")
checkpoint = dict(keep_every_epochs=100)

profiles = dict(
    # Minutes on 2 CPU cores, on at most 512 images: shows that all parts work, not which objective is better.
    mini=dict(
        view_size=128,
        epochs=20,
        batch_size=16,
        norm_images=4,
        subset=512,
        optimizer=dict(lr=0.03),
        objective=dict(queue_size=512),
    ),
    # Two steps on rendered scenes.
    smoke=dict(view_size=64, epochs=1, batch_size=4, norm_images=2, subset=8, objective=dict(queue_size=16)),
)
