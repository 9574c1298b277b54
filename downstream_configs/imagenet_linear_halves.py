"""Linear classification of ImageNet on the features of an image's lightness and of its colours, joined.

For split_brain without `image_statistics`, whose norms have the statistics of such halves.

Source:   Zhang, Isola and Efros, "Split-Brain Autoencoders" (CVPR 2017), section 3.2: the features of both halves are
          joined; there each has a network of its own. The rest is `imagenet_linear`.
Command:  bench run --pretrain imagenet_split_brain random_init --downstream imagenet_linear_halves --data-root DIR \\
          --set objective.image_statistics=False
Hours:    not measured; `bench plan --estimate` says it for your machine. Twice the forward passes of `imagenet_linear`.
Expected: no published number for a ResNet-50.
Smoke:    --smoke, one epoch at 64 px on rendered scenes, seconds.
"""

_base_ = "./imagenet_linear.py"

inputs = "halves"
