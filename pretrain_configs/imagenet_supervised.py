"""Control: ResNet-50 trained on ImageNet's labels, 90 epochs, by the same loop.

Source:   Goyal et al., "Accurate, Large Minibatch SGD" (2017): SGD 0.1 x batch / 256, weight decay 1e-4, steps at
          30, 60 and 80 of 90 epochs, 5 epochs of warm-up, the last norm of each residual block starting at 0. Here with
          torchvision's crop and flip only, a warm-up from 0 (there from 0.1, so that batch 256 has none), norms over
          all images (there over the 32 of a GPU) and plain momentum (there Nesterov's, as in train.lua:24 of
          facebookarchive/fb.resnet.torch, whose code it starts from; the rest from memory).
Command:  bench run --pretrain imagenet_supervised --downstream cityscapes_pspnet imagenet_linear --data-root DIR
          (ImageNet-100: --set pretrain.dataset=imagenet100)
Hours:    not measured; `bench plan --estimate` says it for your machine. An image takes 25 GFLOP.
Expected: ImageNet top-1 about 76; PSPNet-R50-d8 from supervised weights, 40k: 77.85 mIoU with mmseg's deep stem.
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

dataset = "imagenet"
arch = "resnet50"
zero_init_residual = True
view_size = 224
epochs = 90
batch_size = 256
objective = dict(name="supervised")
optimizer = dict(name="sgd", lr=0.1, lr_batch=256, momentum=0.9, weight_decay=1e-4)
schedule = dict(name="step", warmup_epochs=5, milestones=(30 / 90, 60 / 90, 80 / 90))
checkpoint = dict(keep_every_epochs=30)

profiles = dict(
    mini=dict(view_size=128, epochs=5, batch_size=16, subset=512, schedule=dict(warmup_epochs=1)),
    smoke=dict(view_size=64, epochs=1, batch_size=4, subset=8, schedule=dict(warmup_epochs=0)),
)
