"""TaCo on clips: contrast across temporal transformations, and a prediction of which one was applied.

Source:   Bai et al., "Can Temporal Information Help with Contrastive Self-Supervised Learning?" (arXiv 2011.13046).
          Optimizer and length are our choice.
Command:  bench run --pretrain clips_taco --downstream imagenet_knn --data-root DIR
          (DIR holds clips/train/<clip>/*.jpg or clips/train/*.mp4)
Hours:    not measured; `bench plan --estimate` says it for your machine. 12 frames a clip go through the trunk, each
          once for all transformations that show it.
Expected: the paper: 85.1 on UCF-101 with a 3D network; nothing is published for a ResNet-50 on frames.
Smoke:    --smoke, two steps on rendered clips.
"""

_base_ = "./_base_/clips.py"

objective = dict(name="taco")

profiles = dict(
    mini=dict(objective=dict(frames=3)),
    smoke=dict(objective=dict(frames=3, stride=1, hidden_dim=64, projection_dim=16)),
)
