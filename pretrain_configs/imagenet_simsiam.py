"""SimSiam on ImageNet, 100 epochs.

Source:   Chen and He, "Exploring Simple Siamese Representation Learning" (CVPR 2021), and the command of its reference
          implementation's README: SGD 0.05 x batch / 256 at batch 512, weight decay 1e-4 on all parameters, cosine
          without warm-up, the predictor's rate constant, SyncBN; the last norm of each residual block starts at 0
          (simsiam/builder.py:24).
Command:  bench run --pretrain imagenet_simsiam --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 49 GFLOP.
Expected: ImageNet linear 68.1 (batch 512) and 68.3 (batch 256) after 100 epochs; about 70.0, 70.8 and 71.3 after 200,
          400 and 800. Segmentation from these weights has been reported far below what the linear number suggests
          (mmselfsup: VOC FCN mIoU 48.35 after 100 epochs): try other learning rates there.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

zero_init_residual = True
epochs = 100
batch_size = 512
objective = dict(name="simsiam")
optimizer = dict(name="sgd", lr=0.05, lr_batch=256, momentum=0.9, weight_decay=1e-4, decay="all")
schedule = dict(name="cosine", warmup_epochs=0)
