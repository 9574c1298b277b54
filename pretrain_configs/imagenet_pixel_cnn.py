"""PixelCNN on ImageNet: 32x32 pixels of 8 bits, given the trunk's feature of another view.

Source:   van den Oord et al. (ICML 2016) for the network, about 15 blocks of width 128; that paper's model has no
          encoder: the condition, the batch, the optimizer (there RMSProp, from memory) and the schedule are ours.
Command:  bench run --pretrain imagenet_pixel_cnn --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 46 GFLOP.
Expected: no published number for ResNet-50. bits_per_dim starts at about 8.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_generative.py"

objective = dict(name="pixel_cnn")
optimizer = dict(name="adam", lr=3e-4)

profiles = dict(
    mini=dict(objective=dict(image_size=16, depth=3, width=48)),
    smoke=dict(objective=dict(image_size=8, depth=1, width=12)),
)
