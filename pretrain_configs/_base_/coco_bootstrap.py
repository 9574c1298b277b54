"""What all COCO runs share: ORL's stage-1 recipe (BYOL on COCO), 80 epochs instead of its 800.

Source: Xie et al., "Unsupervised Object-Level Representation Learning from Scene Images" (NeurIPS 2021), whose
first stage is BYOL on COCO train2017 (Jiahao000/ORL, configs/selfsup/orl/coco/stage1/r50_bs512_ep800.py:93-105): SGD,
learning rate 0.4 at batch 512, weight decay 1e-4 on all parameters, biases and norms as well, warm-up of 4 epochs,
cosine, SyncBN, target rate 0.99 -> 1. Its views are resized bilinearly, ours bicubically, as in BYOL.
"""

dataset = "coco"
arch = "resnet50"
view_size = 224
epochs = 80
batch_size = 512
optimizer = dict(name="sgd", lr=0.4, lr_batch=512, momentum=0.9, weight_decay=1e-4, decay="all")
schedule = dict(name="cosine", warmup_epochs=4)
checkpoint = dict(keep_every_epochs=20)

profiles = dict(
    # Minutes on 2 CPU cores, on at most 512 images: shows that all parts work, not which objective is better.
    mini=dict(view_size=128, epochs=20, batch_size=16, subset=512, schedule=dict(warmup_epochs=1)),
    # Two steps on rendered scenes.
    smoke=dict(view_size=64, epochs=1, batch_size=4, subset=8, schedule=dict(warmup_epochs=0)),
)
