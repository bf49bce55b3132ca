"""Pang & Wang 2023, "Black-box Membership Inference Attacks against Fine-tuned
Diffusion Models" (2312.08207).

    data=dict(name="folder", path="DIR", size=512)
    split=dict(name="files", members="DIR/members.txt",
               nonmembers="DIR/nonmembers.txt", auxiliary="DIR/auxiliary.txt")

`builders`: CelebA-Dialog, WIT and COCO, which
`python -m score_mia.papers.pang_wang.prepare` turns into such a folder. `published`:
its printed numbers. `protocol`: how it counts, where we do otherwise. Its attack is the
library's own, `score_mia.attacks.reconstruct`; configs/pang_wang has its study.
"""

from score_mia.papers.pang_wang.protocol import Overlapping
from score_mia.papers.pang_wang.published import PRIVATE, RATE_TABLES, TRAININGS

__all__ = ["PRIVATE", "RATE_TABLES", "TRAININGS", "Overlapping"]
