"""DINO with a ResNet-50 on ImageNet, 100 epochs at batch 512: the command of the reference's README.

Source:   Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (ICCV 2021), and the section on
          ResNet-50 in the README of facebookresearch/dino (8 GPUs of 64 images): SGD 0.03 x batch / 256, weight decay
          1e-4, none of biases and norms; main_dino.py's defaults for the rest: warm-up of 10 epochs, cosine to 1e-6,
          65,536 outputs, no norms in the head, the teacher's temperature 0.04 throughout and its rate 0.996 -> 1, the
          last layer held for one epoch, 2 crops of 0.14 to 1 of the area and 8 of 0.05 to 0.14, SyncBN. Each
          parameter's gradient is clipped to a norm of 3 (utils.py:132-141); the teacher is what is evaluated.
Command:  bench run --pretrain imagenet_dino_100 --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    not measured; `bench plan --estimate` says it for your machine.
Expected: no number: the README has the logs of that run alone. (75.3 is of another recipe, `imagenet_dino`.)
Smoke:    --smoke, two steps on rendered scenes, seconds on 2 CPU cores.
"""

_base_ = "./_base_/imagenet_joint_embedding.py"

export = "target"  # the teacher, as the default of eval_linear.py and eval_knn.py
epochs = 100
batch_size = 512
objective = dict(name="dino", freeze_share=1 / 100, last_temperature=0.04, temperature_warmup=0.0)
optimizer = dict(name="sgd", lr=0.03, lr_batch=256, momentum=0.9, weight_decay=1e-4, clip_each=3.0)
schedule = dict(name="cosine", warmup_epochs=10, final_ratio=1e-6 / (0.03 * 512 / 256))

profiles = dict(
    mini=dict(objective=dict(outputs_dim=256, crops=2, crop_size=64)),
    smoke=dict(objective=dict(outputs_dim=32, crops=2, crop_size=32)),
)
