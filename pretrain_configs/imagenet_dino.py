"""DINO with a ResNet-50 on ImageNet, 800 epochs.

Source:   Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (ICCV 2021); of the authors'
          ResNet-50 command from memory: SGD 0.03 x batch / 256, weight decay 1e-4 throughout, full crops from 0.14 of
          the area, small ones to 0.14, warm-up of 10 epochs, cosine, teacher's rate 0.996 -> 1. The batch, about 4096,
          is from memory, too; gradients are not clipped here.
Command:  bench run --pretrain imagenet_dino --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 102 GFLOP.
Expected: ImageNet linear about 75.3 after 800 epochs, from memory of the paper.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

export = "target"  # the teacher, as the default of eval_linear.py:264 and eval_knn.py:203
epochs = 800
batch_size = 4096
objective = dict(name="dino", freeze_share=1 / 800, temperature_warmup=50 / 800)
optimizer = dict(name="sgd", lr=0.03, lr_batch=256, momentum=0.9, weight_decay=1e-4)
schedule = dict(name="cosine", warmup_epochs=10)

profiles = dict(
    mini=dict(objective=dict(outputs_dim=256, crops=2, crop_size=64)),
    smoke=dict(objective=dict(outputs_dim=32, crops=2, crop_size=32)),
)
