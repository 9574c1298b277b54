"""CAST on COCO train2017, 200 epochs.

Source:   Selvaraju et al., "CASTing Your Model" (CVPR 2021) and the command of its reference implementation: SGD,
          learning rate 0.5 at batch 256, weight decay 1e-4 on all parameters, gradients clipped to a norm of 2, cosine,
          200 epochs.
Command:  bench run --pretrain coco_cast --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    about 3.5 on one A100, estimated from 41 GFLOP an image (the query forward and backward, two keys forward) at
          a quarter of the bf16 peak; not measured.
Expected: no number is known for this recipe with saliency that is computed from the image alone.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/coco_moco.py"

epochs = 200
optimizer = dict(lr=0.5, clip_norm=2.0)
checkpoint = dict(keep_every_epochs=50)

objective = dict(name="cast")
