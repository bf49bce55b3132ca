"""Hu & Pang 2023, "Membership Inference of Diffusion Models" (2301.09956).

    signal=dict(name="score_mia.papers.hu_pang:PublishedLoss", times=(200.0,))
    signal=dict(name="score_mia.papers.hu_pang:PublishedLikelihood")
    data=dict(name="score_mia.papers.hu_pang:ffhq", data_dir="DIR")

`attacks`: their attacks as their code computes them; ours, which do what the paper
says, are `score_mia.attacks`. `data`: FFHQ and DRD, which
`python -m score_mia.papers.hu_pang.prepare` writes. `tables`: its printed numbers,
which a study shows beside ours. configs/paper has its experiments.
"""

from score_mia.papers.hu_pang.attacks import PublishedLikelihood, PublishedLoss
from score_mia.papers.hu_pang.data import drd, ffhq

__all__ = ["PublishedLikelihood", "PublishedLoss", "drd", "ffhq"]
