"""DetConB on ImageNet, 300 epochs, on segments of similar colour.

Source:   Hénaff et al., "Efficient Visual Pretraining with Contrastive Detection" (ICCV 2021) and its reference
          implementation, detcon_b_config.py: LARS, learning rate 0.2 at batch 256 and thus 3.2 at its 4,096, weight
          decay 1.5e-6, warm-up of a hundredth of the epochs, cosine, target rate .996 -> 1. Its default is 100 epochs;
          300 is of the paper (from memory).
Command:  bench run --pretrain imagenet_detcon --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 68 GFLOP. Segments cost a
          loader's process 40 ms an image.
Expected: the authors: about 77.0 Cityscapes mIoU (from memory of the paper; no PSPNet). The released code's
          checkpoints are of 1,000 epochs (issue 4 of google-deepmind/detcon); no number stands beside them.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_bootstrap.py"

dataset = "imagenet"
epochs = 300
batch_size = 4096
optimizer = dict(lr=0.2, weight_decay=1.5e-6)
schedule = dict(warmup_epochs=3)
checkpoint = dict(keep_every_epochs=50)

objective = dict(name="detcon")
