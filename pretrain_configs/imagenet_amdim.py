"""AMDIM on ImageNet, 50 epochs: a summary against the locations of another view.

Source:   Bachman et al. (NeurIPS 2019) and its code: 128 pixels, batch 480, Adam 2e-4 with betas 0.8 and 0.999, weight
          decay 1e-5 on all parameters, 500 updates of warm-up, c = 20, rkhs 1536; x0.2 after 31 and 46 of 50
          epochs: its milestones are 30 and 45, and it steps the schedule by the number of the epoch that has ended
          (task_self_supervised.py:109).
Command:  bench run --pretrain imagenet_amdim --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 23 GFLOP.
Expected: no number for a ResNet-50; the authors' own network (ndf 192) has a bit over 62 by an online classifier with
          this recipe; 68.1 when it is widest, with Fast AutoAugment and a longer schedule.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

view_size = 128
epochs = 50
batch_size = 480
objective = dict(name="amdim", rkhs_dim=1536)
optimizer = dict(name="adam", lr=2e-4, lr_batch=None, weight_decay=1e-5, betas=(0.8, 0.999), decay="all")
schedule = dict(name="step", warmup_epochs=0.19, milestones=(31 / 50, 46 / 50), gamma=0.2)

profiles = dict(smoke=dict(objective=dict(rkhs_dim=64)), mini=dict(objective=dict(rkhs_dim=256)))
