"""DINO with a ResNet-50 on ImageNet, 800 epochs at batch 4080: the recipe of the released network.

Source:   Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (ICCV 2021). The released network
          ran with the args.txt beside it, batch 4080 on 80 GPUs (issue 133 of facebookresearch/dino). That file was not
          seen: these are its settings as another project lists them, with which the commands of two more agree: LARS
          0.3 x batch / 256 to 0.0048, weight decay 1e-6, warm-up of 10 epochs, cosine, no clipping, 60,000 outputs,
          batch norms in the head, 2 crops of 0.14 to 1 of the area and 6 of 0.05 to 0.14, the teacher's temperature
          0.04 -> 0.07 in 50 epochs and its rate 0.996 -> 1, the last layer held for one epoch, SyncBN.
Command:  bench run --pretrain imagenet_dino --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine.
Expected: ImageNet linear 75.3, 20 nearest neighbours 67.5 (the reference's README, of the teacher).
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

export = "target"  # the teacher, as the default of eval_linear.py:264 and eval_knn.py:203
epochs = 800
batch_size = 4080
objective = dict(
    name="dino", outputs_dim=60_000, norm_in_head=True, crops=6, freeze_share=1 / 800, temperature_warmup=50 / 800
)
optimizer = dict(name="lars", lr=0.3, lr_batch=256, momentum=0.9, weight_decay=1e-6)
schedule = dict(name="cosine", warmup_epochs=10, final_ratio=0.0048 / (0.3 * 4080 / 256))

profiles = dict(
    mini=dict(objective=dict(outputs_dim=256, crops=2, crop_size=64)),
    smoke=dict(objective=dict(outputs_dim=32, crops=2, crop_size=32)),
)
