"""Relative patch location on ImageNet, 70 epochs: where does a patch lie beside another?

Source:   Doersch et al. (ICCV 2015), in mmselfsup's recipe for ResNet-50
          (configs/selfsup/relative_loc/relative-loc_resnet50_8xb64-steplr-70e_in1k.py): squares of 255 of 292 pixels,
          never mirrored, grey with probability 0.66, nine patches of 64 pixels in cells of 85, moved by up to 10 (there
          11); none of the paper's other defences against shortcuts; half of h dropped; SGD 0.2 at batch 512, weight
          decay 1e-4 on all parameters (there: five times that on h), 5 epochs of warm-up from a tenth, x0.1 after 30
          and 50 of 70 epochs, norms over 64 images (there: middle patches and neighbours apart).
          The paper's defences: --set objective.downsample=0.33 objective.drop_colours=True objective.standardise=True
Command:  bench run --pretrain imagenet_relative_patch --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 29 GFLOP.
Expected: ImageNet linear top-1 40.4, VOC12aug FCN 63.49 mIoU (mmselfsup).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_pretext.py"

view_size = 255
epochs = 70
batch_size = 512
sync_bn = False
norm_images = 64
objective = dict(
    name="relative_patch",
    crop=255 / 292,
    patch_size=64,
    gap=21,
    jitter=10,
    downsample=0.0,
    drop_colours=False,
    standardise=False,
    grey=0.66,
    dropout=0.5,
)
optimizer = dict(lr=0.2, lr_batch=512, decay="all")
schedule = dict(name="step", warmup_epochs=5, warmup_ratio=0.1, milestones=(30 / 70, 50 / 70))

profiles = dict(
    mini=dict(norm_images=4, objective=dict(patch_size=32, gap=10, jitter=5)),
    smoke=dict(norm_images=2, view_size=112, objective=dict(patch_size=32, gap=6, jitter=2)),
)
