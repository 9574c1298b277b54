"""Linear classification of ImageNet on the frozen trunk: MoCo's protocol.

Source:   He et al., "Momentum Contrast" (CVPR 2020), main_lincls: encoder in eval mode throughout, weights N(0, 0.01),
          bias 0, SGD 30 x batch / 256, momentum 0.9, no weight decay, 100 epochs, x 0.1 at 60 and 80, random
          resized crop (0.08 to 1) and flip, test images 256 -> 224.
Command:  bench run --pretrain coco random_init --downstream imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. A hundred passes over the images, 8.2 GFLOP
          each: this wants a GPU.
Expected: the deck, whose protocol is not stated: `coco` 42.14, `coco_two_loss` 40.82. BYOL for 800 epochs on COCO:
          about 57.8. Supervised: about 76. Between protocols the same trunk differs by 0.5 to 2 points.
Control:  `random_init` stays at chance or little above. In eval mode its batch norms do nothing, so that its features
          are large (norm 1,200) and nearly the same for every image (cosine 0.999), and no learning rate fits them: at
          the mini schedule 1e-10 to 1,600 gave 17 at best where chance is 10. What random features hold is seen in
          `imagenet_knn`, whose features are normalised.
Mini:     4 epochs at 128 px, the size that mini pretraining has seen: 50 seconds for the 780 + 280 images of a
          ten-class subset, on 2 CPU cores. Rates from 0.1 to 100 gave the same within seeds on a trunk with random
          weights and its batch norms calibrated.
Trunk:    batch norms folded, weights in bf16: top-1 within noise of float32's (41.1 against 41.1 and 40.7 on 280 images
          of ten classes, one trunk). --set trunk=autocast is how results were measured before.
Smoke:    --smoke, one epoch at 64 px on rendered scenes, seconds.
"""

kind = "linear"
dataset = "imagenet"
epochs = 100
batch_size = 256
learning_rates = (30.0,)
momentum = 0.9
weight_decay = 0.0
schedule = "step"
milestones = (0.6, 0.8)
size = 224
resize = 256
trunk = "folded"

profiles = dict(
    mini=dict(epochs=4, batch_size=32, learning_rates=(10.0,), size=128, resize=146),
    smoke=dict(epochs=1, batch_size=16, learning_rates=(10.0,), size=64, resize=72),
)
