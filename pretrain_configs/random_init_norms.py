"""Control: no pretraining, but batch norms that know what images look like: their statistics are those of 512 images.

Source:   the weights of `random_init` (He et al., "Delving Deep into Rectifiers", 2015); of the norms, layer by layer,
          the mean and variance of what reaches them from training images, as one batch of all of them has them
          (Ioffe and Szegedy 2015).
Command:  bench run --pretrain random_init_norms random_init --downstream imagenet_linear imagenet_knn --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image passes the network some five times.
Expected: no published row. In eval mode the norms of `random_init` change nothing, since they hold mean 0 and variance
          1; this row says what the same random weights give with working norms. That need not be more: it was less
          with a narrow ResNet-18 on CIFAR-10 (docs/positive_control.md). A pretraining that is frozen should beat
          both. Where the network is fine-tuned, norms find their statistics while it trains.
Smoke:    --smoke, with 8 rendered images.

`dataset` says whose images they are, `subset` how many, drawn by the seed, and `view_size` how large: as they are
evaluated, whole and with their middle cut out. Choose those of the pretrainings beside it (`--set dataset=cifar10`
reaches it in a grid, too).
"""

dataset = "imagenet"
arch = "resnet50"
epochs = 0
norm_statistics = "data"
subset = 512
objective = dict(name="random_init")

profiles = dict(mini=dict(view_size=128, subset=64), smoke=dict(view_size=64, subset=8))
