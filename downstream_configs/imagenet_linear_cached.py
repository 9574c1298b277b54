"""Linear classification of ImageNet on features that are taken once: no augmentation, twelve learning rates at once.

Another protocol than `imagenet_linear`: heads are trained on each training image under the test transform (256 -> 224,
the centre), not on random crops and flips, so that the trunk sees each image once and not once an epoch. Top-1 is
commonly a little lower; columns of the two are never mixed.

Source:   features without augmentation as in Kornblith et al., "Do Better ImageNet Models Transfer Better?" (2019),
          with the schedule, the grid of rates and the choice on held-out training images of `imagenet_linear_sweep`.
Command:  bench run --pretrain coco random_init --downstream imagenet_linear_cached --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. One pass over ImageNet, then the heads. A
          further sweep reads the features (10 GiB below the work folder, BENCH_FEATURES_GIB) and goes on with the heads
          at once.
Expected: no published rows with this schedule.
Mini:     the features of 780 + 280 images at 128 px, and 20 epochs of the heads.
Smoke:    --smoke, two epochs at 64 px on rendered scenes, seconds.
"""

_base_ = "./imagenet_linear_sweep.py"

features = "centre"

profiles = dict(
    mini=dict(epochs=20),
    smoke=dict(epochs=2),
)
