"""SimCLR on ImageNet, 100 epochs at batch 4096: the command of the reference's README.

Source:   Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (ICML 2020), and the
          command for ImageNet in the README of google-research/simclr: weight decay 1e-4, run.py's three layers in the
          head, the sum of both views' losses. The last norm of each residual block starts at 0 (resnet.py:395 and 480).
          The paper's recipe is `imagenet_simclr_1000`.
Command:  bench run --pretrain imagenet_simclr --downstream imagenet_linear imagenet_knn --data-root DIR
          The study of temperatures is one command, a row for each value:
          bench run --pretrain imagenet_simclr --set pretrain.dataset=imagenet100 pretrain.batch_size=512 \
              --sweep objective.temperature=0.07,0.1,0.3,0.7,1.0 --downstream imagenet100_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 50 GFLOP.
Expected: ImageNet linear around 64.5 (the reference's README, beside this command).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.

Reading:  gradients scale with 1/temperature, so that a study at one learning rate compares both; LARS evens that out
          for all weights but not for biases and norms.
"""

_base_ = "./_base_/imagenet_simclr.py"

zero_init_residual = True
optimizer = dict(weight_decay=1e-4)
objective = dict(name="simclr", projector_layers=3, reduction="sum")
