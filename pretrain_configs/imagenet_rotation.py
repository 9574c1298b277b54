"""Rotation prediction on ImageNet, 70 epochs: which way is up.

Source:   Gidaris et al. (ICLR 2018), in mmselfsup's recipe for ResNet-50: SGD 0.2 at 128 images (512 with their
          rotations), weight decay 1e-4 on all parameters, 5 epochs of warm-up from a tenth, x0.1 after 30 and 50 of 70
          epochs, norms over all processes
          (configs/selfsup/rotation_pred/rotation-pred_resnet50_8xb16-steplr-70e_in1k.py).
Command:  bench run --pretrain imagenet_rotation --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 98 GFLOP.
Expected: ImageNet linear top-1 47.0, VOC12aug FCN 64.31 mIoU (mmselfsup, this recipe).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

epochs = 70
batch_size = 128
objective = dict(name="rotation")
optimizer = dict(lr=0.2, lr_batch=128, decay="all")
schedule = dict(name="step", warmup_epochs=5, warmup_ratio=0.1, milestones=(30 / 70, 50 / 70))
