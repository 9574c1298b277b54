"""Control: no pretraining, the encoder as its seed initialises it.

Source:   He et al., "Delving Deep into Rectifiers" (2015): fan-out initialisation, as torchvision's ResNet has it.
Command:  bench run --pretrain random_init --downstream cityscapes_pspnet imagenet_linear --data-root DIR
Hours:    none, as nothing is trained.
Expected: published FCN runs from random init on Cityscapes lie at about 63.5 to 65.3 mIoU, at longer schedules.
          Any pretraining that does not beat this row has shown nothing, or its weights did not arrive.
Smoke:    the same.
"""

dataset = "none"
arch = "resnet50"
epochs = 0
objective = dict(name="random_init")

profiles = dict(mini=dict(), smoke=dict())
