"""CAST on COCO train2017, 200 epochs.

Source:   Selvaraju et al., "CASTing Your Model" (CVPR 2021) and the command of its reference implementation: MoCo v1's
          linear head, temperature 0.07 and views, SGD, learning rate 0.5 at batch 256, weight decay 1e-4 on all
          parameters, gradients clipped to a norm of 2, cosine (there a rate for each epoch, here for each step), 200
          epochs.
Command:  bench run --pretrain coco_cast --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 41 GFLOP.
Expected: no number is known for this recipe with saliency that is computed from the image alone.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/coco_moco.py"

epochs = 200
optimizer = dict(lr=0.5, clip_norm=2.0)
checkpoint = dict(keep_every_epochs=50)

objective = dict(name="cast")
