"""Weighted nearest neighbours on ImageNet: no training, no hyperparameter to choose, the cheapest look at a trunk.

Source:   Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (CVPR 2018): 200
          neighbours by cosine, each votes exp(cosine / 0.07). The bank is the training set under the test transform.
Command:  bench run --pretrain coco random_init --downstream imagenet_knn --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. The bank takes 10 GiB.
Expected: Caron et al. (DINO, 2021) list 64.8 for BYOL with a ResNet-50 after 1,000 epochs on ImageNet, at k = 20.
Mini:     20 neighbours at 128 px: 20 seconds for the 780 + 280 images of a ten-class subset, on 2 CPU cores.
          Random weights gave 26 where chance is 10 (one seed).
Trunk:    batch norms folded, weights in bf16; neighbours are those of float32 (bench/nn/neighbours.py). --set
          trunk=autocast search=float32 is how results were measured before.
Smoke:    --smoke, 5 neighbours at 64 px on rendered scenes, seconds.
"""

kind = "knn"
dataset = "imagenet"
k = 200
temperature = 0.07
batch_size = 256
size = 224
resize = 256
trunk = "folded"
search = "auto"

profiles = dict(
    mini=dict(k=20, batch_size=64, size=128, resize=146),
    smoke=dict(k=5, batch_size=16, size=64, resize=72),
)
