"""The majority of the five nearest by distance: the second evaluation of the W-MSE code base.

Source: Ermolov et al. (ICML 2021), htdt/self-supervised, eval/knn.py: k = 5, Euclidean distance of the encoder's
features as they are, each neighbour one vote; of classes with as many votes the lowest label.
"""

kind = "knn"
k = 5
vote = "majority"
metric = "euclidean"
precision = "float32"
trunk = "folded"

profiles = dict(
    mini=dict(batch_size=64),
    smoke=dict(batch_size=16, size=32, resize=32),
)
