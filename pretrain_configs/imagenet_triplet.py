"""The triplet loss on ImageNet, 200 epochs: semi-hard negatives from the batch.

Source:   Schroff et al., "FaceNet" (CVPR 2015), for the loss and its margin 0.2; the recipe is MoCo v2's, SGD 0.03 at
          batch 256 with a cosine, which is our choice: none is published for ImageNet.
Command:  bench run --pretrain imagenet_triplet --downstream imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 49 GFLOP.
Expected: nothing is published.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_contrast.py"

sync_bn = True  # both views pass one network, with gradient: there is no key to be given away
norm_images = None
objective = dict(name="triplet")
schedule = dict(_delete_=True, name="cosine", warmup_epochs=0)

profiles = dict(mini=dict(norm_images=None), smoke=dict(norm_images=None))
