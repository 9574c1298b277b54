"""BYOL plus a second loss on COCO train2017, 80 epochs: the deck's `coco_two loss`.

Source:   the deck's "two-loss": loss = loss1 + loss2 with unit weights (its printed values add up to the digit).
Command:  bench run --pretrain coco_two_loss --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. The second loss costs less than a percent of a
          step.
Expected: the deck: Cityscapes PSPNet 65.19 mIoU, ImageNet linear 40.82. The difference to `coco` in mIoU, 0.22, is
          below the noise between seeds.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  loss1 is BYOL's regression loss summed over both directions. The deck does not define loss2. Ours is a
          slot: `logistic` (default) is the balanced logistic loss over the cosine of positive against
          other-instance pairs without a temperature, whose value fits the deck's plateau of .516 to .520;
          `logistic_centred`, `least_squares`, `dense_byol`, `align_uniform` and `variance_covariance` are the
          alternatives by name, for example --set objective.loss2=dense_byol. docs/loss2.md has what speaks for each.
"""

_base_ = "./_base_/coco_bootstrap.py"

objective = dict(name="two_loss", loss2="logistic")
