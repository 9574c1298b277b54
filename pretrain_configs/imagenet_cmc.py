"""CMC on ImageNet, 240 epochs: lightness and colour of an image, contrasted through two memory banks.

Source:   Tian et al., "Contrastive Multiview Coding" (ECCV 2020), and its code's command for ResNets: batch 128, SGD
          0.03, 16,384 negatives, temperature 0.07, x0.1 at 120, 160 and 200 of 240 epochs, weight decay 1e-4 on all
          parameters, norms over 32 images, as there on each of 4 GPUs. Half precision cost 0.5 to 1 points there:
          float32.
Command:  bench run --pretrain imagenet_cmc --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 49 GFLOP.
Expected: nothing is known of this recipe with one whole trunk. A pair of half the width has 58.6 ImageNet linear top-1
          in PyContrast after 200 epochs, with a softmax over 65,536 negatives, batch 256 and a cosine.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_contrast.py"

epochs = 240
batch_size = 128
precision = "float32"
objective = dict(name="cmc")
optimizer = dict(lr=0.03, lr_batch=128)
schedule = dict(milestones=(120 / 240, 160 / 240, 200 / 240))
checkpoint = dict(keep_every_epochs=60)

profiles = dict(mini=dict(objective=dict(negatives=256)), smoke=dict(objective=dict(negatives=16)))
