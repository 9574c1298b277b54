"""Cityscapes semantic segmentation: PSPNet with the trunk in its ResNet, fine-tuned as mmsegmentation ships it.

Source: Zhao et al., Pyramid Scene Parsing Network, CVPR 2017; config `pspnet_r50-d8_4xb2-40k_cityscapes-512x1024` of
mmsegmentation, with the 7×7 stem (`type="ResNet"`) in place of ResNetV1c, so that torchvision's key names fit.

Protocol: train on the 2,975 fine images, test on the 500 of val. 40,000 iterations of 8 images, crops 512×1024 from
images scaled by 0.5 to 2, flip, photometric distortion; SGD, lr 0.01, momentum 0.9, weight decay 5e-4, poly 0.9 down to
1e-4; all layers are trained, batch norms included (synchronised over GPUs); auxiliary FCN head, weight 0.4. Test: whole
image, single scale. aAcc, mIoU and mAcc over 19 classes, 255 ignored, sums over the data set first.

A ResNet-18 trunk gets mmseg's PSPNet of that depth, `pspnet_r18-d8_4xb2-80k_cityscapes-512x1024`, whose heads have a
quarter of the channels, for 40,000 iterations as well: another protocol, with a column of its own.

Command: bench run --pretrain coco_two_loss --downstream cityscapes_pspnet --data-root coco=DIR cityscapes=DIR

Expected: mmsegmentation reports 77.85 mIoU for ImageNet-supervised ResNetV1c-50-d8 (40k; 78.55 at 80k); seeds differ by
0.3 and more. Time for `full` is not measured here.

Profiles: `mini` is for a hundred images of 320×240 on two CPU cores (crops 192×256, batches of 4); `smoke` is for the
rendered scenes of 128×256 and only shows that the path is whole: its numbers mean nothing.
"""

kind = "segmentation"
dataset = "cityscapes"
config = "pspnet_r50-d8_4xb2-40k_cityscapes-512x1024"
follow_depth = True
batch_size = 8  # 4 GPUs × 2 images

profiles = dict(
    mini=dict(
        iterations=90,
        batch_size=4,
        crop=(192, 256),
        scale=(320, 240),
        validate_every=90,
        channels_last=True,
    ),
    smoke=dict(
        iterations=4,
        batch_size=2,
        crop=(64, 128),
        scale=(256, 128),
        validate_every=4,
        channels_last=True,
    ),
)
