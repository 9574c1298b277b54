"""CLSA on ImageNet, 200 epochs: MoCo v2 and one small, strongly augmented view.

Source:   Wang and Qi, "Contrastive Learning with Stronger Augmentations" (2021), and its code: MoCo v2's recipe,
          temperature 0.2, momentum 0.999, 65,536 keys, SGD 0.03 at batch 256, cosine (there a rate for each epoch, here
          for each step), weight decay 1e-4 on all parameters; a strong view of 96 pixels with five strong steps. Norms
          over 32 images, as MoCo's; there they are over a process's, and its README does not say of how many.
          `view_backend="device"` leaves the strong steps to the host.
Command:  bench run --pretrain imagenet_clsa --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 37 GFLOP.
Expected: ImageNet linear top-1 69.4 (800 epochs: 72.2; `imagenet_clsa_multi`: 73.3).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_contrast.py"

objective = dict(name="clsa")
schedule = dict(_delete_=True, name="cosine", warmup_epochs=0)

profiles = dict(mini=dict(objective=dict(queue_size=256)), smoke=dict(objective=dict(queue_size=16)))
