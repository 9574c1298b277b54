"""MoCo v2 with small crops that overlap the key's view, on COCO train2017, 200 epochs.

Source:   Van Gansbeke et al., "Revisiting Contrastive Methods for Unsupervised Learning of Visual Representations"
          (NeurIPS 2021) and its reference implementation (scripts/ours_coco_200ep.sh): two views of 160 pixels and four
          crops of 96, a tenth of each of which lies in the key's view; learning rate 0.3 at batch 256, τ = .2, m =
          .995. Its README trains on 2 GPUs, whose norms are over 128 images.
Command:  bench run --pretrain coco_constrained_crop --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 35 GFLOP.
Expected: no number is known without AutoAugment and the auxiliary loss on nearest neighbours, which are not here. With
          both: VOC segmentation 71.9 mIoU, Cityscapes 72.2 (MoCo v2 at 224 pixels and m = .999: 66.2, 70.3; an FCN, no
          PSPNet).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  the objective is densecl without its dense part, which is MoCo v2. --set objective.dense_weight=0.5 has both.
"""

_base_ = "./_base_/coco_moco.py"

view_size = 160
epochs = 200
norm_images = 128
checkpoint = dict(keep_every_epochs=50)

objective = dict(name="densecl", dense_weight=0.0, momentum=0.995, crops=4, overlap=0.1)

profiles = dict(
    mini=dict(objective=dict(crop_size=64)),
    smoke=dict(objective=dict(crop_size=32)),
)
