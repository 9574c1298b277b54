"""DSM on clips: scene and motion are separated by triplets.

Source:   Wang et al., "Enhancing Unsupervised Video Representation Learning by Decoupling the Scene and the Motion"
          (AAAI 2021): margin 0.5, unsquared distances, weights 1 and 1. Optimizer and length are our choice.
Command:  bench run --pretrain clips_dsm --downstream imagenet_knn --data-root DIR
          (DIR holds clips/train/<clip>/*.jpg or clips/train/*.mp4)
          --set objective.negative=shift for the clip some frames later instead of its flow scaled;
          --set objective.gate=consistent (or inconsistent) for the gate of frame differences.
Hours:    not measured; `bench plan --estimate` says it for your machine. 24 frames a clip go through the trunk.
Expected: nothing is published for a ResNet-50 on frames. The authors' README, for these triplets and an I3D that is
          pretrained on UCF-101 and fine-tuned: 70.7 on UCF-101, 48.5 on HMDB-51.
Smoke:    --smoke, two steps on rendered clips.
"""

_base_ = "./_base_/clips.py"

objective = dict(name="dsm")

profiles = dict(
    mini=dict(objective=dict(frames=4)),
    smoke=dict(objective=dict(frames=3, stride=1, hidden_dim=64, projection_dim=16)),
)
