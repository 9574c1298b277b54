"""MoCo v3 with ResNet-50 on ImageNet, 100 epochs, batch 4096.

Source:   Chen et al., "An Empirical Study of Training Self-Supervised Vision Transformers" (2021), and its code's
          ResNet-50: LARS 0.6 x batch / 256, weight decay 1e-6, warm-up of 10 epochs, cosine, momentum 0.99 -> 1,
          temperature 1, norms over all processes, the last of each residual block starting at 0 (main_moco.py:186).
          300 epochs: --set optimizer.lr=0.3; 1000 epochs, too, with
          --set optimizer.weight_decay=1.5e-6 objective.momentum=0.996.
Command:  bench run --pretrain imagenet_moco_v3 --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 66 GFLOP.
Expected: ImageNet linear top-1 68.9 (300 epochs: 72.8, 1000 epochs: 74.6).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

dataset = "imagenet"
arch = "resnet50"
zero_init_residual = True
view_size = 224
epochs = 100
batch_size = 4096
objective = dict(name="moco_v3")
optimizer = dict(name="lars", lr=0.6, lr_batch=256, momentum=0.9, weight_decay=1e-6, trust_coefficient=0.001)
schedule = dict(name="cosine", warmup_epochs=10)
checkpoint = dict(keep_every_epochs=25)

profiles = dict(
    mini=dict(view_size=128, epochs=5, batch_size=16, subset=512, schedule=dict(warmup_epochs=1)),
    smoke=dict(view_size=64, epochs=1, batch_size=4, subset=8, schedule=dict(warmup_epochs=0)),
)
