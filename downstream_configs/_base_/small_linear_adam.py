"""A linear head under Adam on features that are taken once: the evaluation of the W-MSE code base.

Source: Ermolov et al. (ICML 2021), htdt/self-supervised, eval/sgd.py: encoder in eval mode, 500 epochs in batches of
1,000, Adam at 1e-2, falling by one factor each epoch to 1e-6, weight decay 5e-6 as L2, no augmentation.
"""

kind = "linear"
epochs = 500
batch_size = 1000
optimizer = "adam"
learning_rates = (1e-2,)
weight_decay = 5e-6
schedule = "exponential"
final_ratio = 1e-4
features = "centre"
precision = "float32"
trunk = "folded"

profiles = dict(
    mini=dict(epochs=100),
    smoke=dict(epochs=5, batch_size=16, size=32, resize=32),
)
