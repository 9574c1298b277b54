"""DenseCL on COCO train2017, 800 epochs.

Source:   Wang et al., "Dense Contrastive Learning for Self-Supervised Visual Pre-Training" (CVPR 2021); its recipe for
          COCO (configs/selfsup/densecl/densecl_coco_800ep.py), learning rate 0.3 at batch 256, cosine.
Command:  bench run --pretrain coco_densecl --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 35 GFLOP.
Expected: the authors: 56.7 VOC detection AP, 67.5 VOC segmentation mIoU (MoCo v2: 54.7, 64.5); on Cityscapes 1.8 mIoU
          above MoCo v2. Their segmentation is no PSPNet.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/coco_moco.py"

objective = dict(name="densecl")

profiles = dict(
    mini=dict(objective=dict(dense_queue_size=512)),
    smoke=dict(objective=dict(dense_queue_size=16)),
)
