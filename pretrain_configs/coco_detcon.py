"""DetConB on COCO train2017, 800 epochs, on segments of similar colour or on the annotated objects.

Source:   Hénaff et al., "Efficient Visual Pretraining with Contrastive Detection" (ICCV 2021); optimisation as in
          `coco` (ORL's first stage), our choice: DetCon's batch of 4,096 would leave 28 steps an epoch. The last norm
          of each residual block starts at 0, as in its network (utils/networks.py:123, of dm-haiku's blocks).
Command:  bench run --pretrain coco_detcon --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 68 GFLOP. Segments cost a
          loader's process 40 ms an image, objects 1 ms.
Expected: no number is known for this recipe.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Masks:    --set objective.masks=objects takes COCO's annotations (annotations/instances_train2017.json), which makes it
          a supervised pretraining.
"""

_base_ = "./_base_/coco_bootstrap.py"

zero_init_residual = True
epochs = 800
checkpoint = dict(keep_every_epochs=100)

objective = dict(name="detcon")
