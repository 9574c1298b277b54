"""Weighted nearest neighbours on small images: 200 by cosine, each votes exp(cosine / 0.1).

Source: Wu et al. (CVPR 2018), with the temperature that is usual on CIFAR.
"""

kind = "knn"
k = 200
temperature = 0.1
precision = "float32"
trunk = "folded"

profiles = dict(
    mini=dict(k=20, batch_size=64),
    smoke=dict(k=5, batch_size=16, size=32, resize=32),
)
