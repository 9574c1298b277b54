"""Linear classification of ImageNet on a frozen trunk that is shown lightness alone, as three equal channels.

For trunks that learnt from grey images, with the norms' statistics of these: colorization and split_brain without
`image_statistics`.

Source:   VISSL evaluates colorization on lightness alone (configs/config/benchmark/linear_image_classification/
          imagenet1k/models/resnet50_colorization.yaml: INPUT_TYPE lab). The rest is `imagenet_linear`; there
          classifiers are on pooled maps of several layers, for 28 epochs.
Command:  bench run --pretrain imagenet_colorization random_init --downstream imagenet_linear_grey --data-root DIR \\
          --set objective.image_statistics=False
          (neighbours on the same inputs: --downstream imagenet_knn --set inputs=grey)
Hours:    not measured; `bench plan --estimate` says it for your machine. As `imagenet_linear`.
Expected: no published number for this protocol. VISSL's is 40.11 for colorization.
Smoke:    --smoke, one epoch at 64 px on rendered scenes, seconds.
"""

_base_ = "./imagenet_linear.py"

inputs = "grey"
