"""Linear classification of small images on the frozen trunk: SGD on random crops and flips, six learning rates at once.

Source: MoCo's protocol (as `imagenet_linear`) with the choice among rates on held-out training images of
`imagenet_linear_sweep`: what scale the features have, and so which rate suits them, differs between pretrainings.
"""

kind = "linear"
epochs = 100
batch_size = 256
learning_rates = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
selection_share = 0.1
momentum = 0.9
schedule = "step"
milestones = (0.6, 0.8)
trunk = "folded"

profiles = dict(
    mini=dict(epochs=4, batch_size=32),
    smoke=dict(epochs=1, batch_size=8, size=32, resize=32, selection_share=0.25),
)
