"""CMC on ImageNet, 240 epochs: lightness and colour of an image, contrasted through two memory banks.

Source:   Tian et al., "Contrastive Multiview Coding" (ECCV 2020), and its code: 16,384 negatives, temperature 0.07, SGD
          0.03 at batch 256, x0.1 at 120, 160 and 200 of 240 epochs, weight decay 1e-4. Half precision cost about a
          point there: float32.
Command:  bench run --pretrain imagenet_cmc --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 49 GFLOP.
Expected: ImageNet linear top-1 58.6 for a pair of half the width, 200 epochs; nothing is known of one whole trunk.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_contrast.py"

epochs = 240
precision = "float32"
objective = dict(name="cmc")
schedule = dict(milestones=(120 / 240, 160 / 240, 200 / 240))
checkpoint = dict(keep_every_epochs=60)

profiles = dict(mini=dict(objective=dict(negatives=256)), smoke=dict(objective=dict(negatives=16)))
