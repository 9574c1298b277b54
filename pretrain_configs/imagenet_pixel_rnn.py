"""PixelRNN on ImageNet: 32x32 pixels of 8 bits, given the trunk's feature of another view.

Source:   van den Oord et al. (ICML 2016) for the network, about 12 row LSTMs of width 128; that paper's model has no
          encoder: the condition, the batch, the optimizer (there RMSProp, from memory) and the schedule are ours.
Command:  bench run --pretrain imagenet_pixel_rnn --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. Its 384 steps along rows wait for one another,
          so that FLOPs say little.
Expected: no published number for ResNet-50. bits_per_dim starts at about 8.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_generative.py"

objective = dict(name="pixel_rnn")
optimizer = dict(name="adam", lr=3e-4)

profiles = dict(
    mini=dict(objective=dict(image_size=16, depth=3, width=48)),
    smoke=dict(objective=dict(image_size=8, depth=1, width=12)),
)
