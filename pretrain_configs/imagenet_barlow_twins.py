"""Barlow Twins on ImageNet, 1000 epochs.

Source:   Zbontar et al., "Barlow Twins" (ICML 2021) and its reference implementation: LARS 0.2 x batch / 256 for
          weights and 0.0048 x batch / 256 for biases and norms, weight decay 1e-6, batch 2048, warm-up of 10 epochs,
          cosine to a thousandth, SyncBN; the last norm of each residual block starts at 0 (main.py:191). Gradients are
          a 16th of the loss's, as there on the README's 16 GPUs. The paper's, from memory, on 32 GPUs:
          --set optimizer.weight_decay=1.5e-6 objective.gradient_ranks=32.
Command:  bench run --pretrain imagenet_barlow_twins --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 51 GFLOP.
Expected: ImageNet linear 73.5 after 1000 epochs (the reference's README); 73.2 in the paper, from memory.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

zero_init_residual = True
epochs = 1000
batch_size = 2048
objective = dict(name="barlow_twins", gradient_ranks=16)
optimizer = dict(name="lars", lr=0.2, lr_batch=256, momentum=0.9, weight_decay=1e-6)
schedule = dict(name="cosine", warmup_epochs=10, final_ratio=0.001)

profiles = dict(mini=dict(objective=dict(projection_dim=512)), smoke=dict(objective=dict(projection_dim=64)))
