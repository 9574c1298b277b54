"""How a representation spreads: rank, spectrum, uniformity, tolerance, neighbours; of the trunk and of the projector.

Source:   RankMe (Garrido et al. 2023); the spectrum of Jing et al. 2022; alignment and uniformity (Wang and Isola
          2020); tolerance (Wang and Liu 2021); all in eval mode on validation images under the test transform, and
          alignment on two views as SimCLR draws them, at half its colour jitter.
Command:  bench run --pretrain coco random_init --downstream diagnostics --data-root DIR
          bench run --pretrain coco --downstream diagnostics --set downstream.dataset=coco --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine. 54,000 forward passes in float32, and float64
          for singular values.
Expected: none that is published for these recipes. A rank can't exceed the number of images, and wants four times as
          many images as dimensions: 8,192 for the trunk. Nothing here is an accuracy, and more is not better.
Reads:    the trunk with its proof, and last.ckpt of the pretraining for its projector: where a training state was
          deleted, this task has it trained again. `random_init` has no projector.
Leaves:   spectrum.json (all singular values) and spectrum.svg in the stage's folder.
Smoke:    --smoke, on rendered scenes, seconds.
"""

kind = "diagnostics"
dataset = "imagenet"
batch_size = 256
size = 224
resize = 256

profiles = dict(
    mini=dict(batch_size=64, size=128, resize=146, pairs=256),
    smoke=dict(batch_size=16, size=64, resize=72, pairs=8, neighbours=5),
)
