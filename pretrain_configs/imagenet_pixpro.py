"""PixPro on ImageNet, 100 epochs.

Source:   Xie et al., "Propagate Yourself" (CVPR 2021) and its reference implementation: LARS, learning rate 1.0 at
          batch 256 and thus 4.0 at its 1,024, weight decay 1e-5, warm-up of 5 epochs from a hundredth, cosine, target
          rate .99 -> 1; the last norm of each residual block starts at 0 (contrast/resnet.py:164-173).
Command:  bench run --pretrain imagenet_pixpro --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 73 GFLOP.
Expected: the authors: 58.8 VOC detection AP after 100 epochs, 60.2 after 400 (both without the instance branch).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_bootstrap.py"

dataset = "imagenet"
epochs = 100
batch_size = 1024
optimizer = dict(lr=1.0, weight_decay=1e-5)
schedule = dict(warmup_epochs=5, warmup_ratio=0.01)

objective = dict(name="pixpro")
