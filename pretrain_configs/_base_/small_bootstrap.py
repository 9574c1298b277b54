"""What the runs on CIFAR-10, CIFAR-100 and STL-10 share: BYOL as the code base of W-MSE has it, with a ResNet-18.

Source: Ermolov et al., "Whitening for Self-Supervised Representation Learning" (ICML 2021), and their code,
htdt/self-supervised: projector 512-1024-BN-ReLU-D, predictor D-1024-BN-ReLU-D; Adam with weight decay 1e-6 on all
parameters; the rate rises linearly over 500 steps and falls to a fifth 50 and again 25 epochs before the end; target
rate 0.99 -> 1 along a half cosine; views of jitter, grey, crop and flip, without blur or solarize. That is the code
whose log has the columns of the deck's table.

Departs from it: the last layers of projector and predictor have no bias (there: they have); images are normalised by
ImageNet's mean and deviation (there: by each data set's); in a view colours come after the crop (there: before it);
step s of the warm-up has (1 + 0.998 s)/500 of the rate (there: (1 + s)/500); the target rate rises at every step
(there: after every epoch, by train.py's model.step(ep / cfg.epoch)); the first convolution starts by fan-out as all
others do (there: as torch starts it).
"""

arch = "resnet18"
augmentation = "small"
view_backend = "resident"
objective = dict(hidden_dim=1024, tau0=0.99)
optimizer = dict(name="adam", lr_batch=None, weight_decay=1e-6, decay="all")

profiles = dict(
    # Minutes on 2 CPU cores, on at most 512 images: shows that all parts work, not which objective is better.
    mini=dict(view_size=32, epochs=10, batch_size=64, subset=512, precision="float32", schedule=dict(warmup_steps=20)),
    # Two steps.
    smoke=dict(view_size=32, epochs=1, batch_size=4, subset=8, precision="float32", schedule=dict(warmup_steps=1)),
)
