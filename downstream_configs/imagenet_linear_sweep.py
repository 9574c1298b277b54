"""Linear classification of ImageNet on the frozen trunk: twelve learning rates at once.

Source:   the grid of heads of Oquab et al., "DINOv2" (2023), over the pooled feature of a ResNet, with the schedule of
          `imagenet_linear`. The best learning rate depends on the scale of the features, which pretraining
          decides; one fixed rate can favour a pretraining for its scale alone. Departs from DINOv2: the head is chosen
          on a held-out share of the training images, never on val, and each head starts from the same weights. The
          lowest rates are for features without a scale, as those of `random_init`.
Command:  bench run --pretrain coco random_init --downstream imagenet_linear_sweep --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. As long as `imagenet_linear`: the trunk runs
          once for all heads.
Expected: no published rows. Not comparable with `imagenet_linear`: another protocol, hence other columns.
Mini:     as `imagenet_linear`, with a fifth of the training images held out.
Smoke:    --smoke, one epoch at 64 px on rendered scenes, seconds.
"""

_base_ = "./imagenet_linear.py"

learning_rates = (1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
selection_share = 0.01  # 12,800 images of ImageNet

profiles = dict(
    mini=dict(learning_rates=learning_rates, selection_share=0.2),
    smoke=dict(learning_rates=learning_rates, selection_share=0.25),
)
