"""Dubinski et al. 2023, "Towards More Realistic Membership Inference Attacks on Large
Diffusion Models" (2306.12983): LAION-mi.

    signal=dict(name="score_mia.papers.laion_mi:setting", row="reversed_noising")

`settings`: every row of their attacks, as fields of `score_mia.attacks.Denoise`.
`tables`: their way of counting, beside ours in a study.
`python -m score_mia.papers.laion_mi.fetch` fetches what is left of the released lists,
`... .pokemon` splits the data of their control. `counting`: a rate as they print it.
`published`: printed numbers, theirs and of those who repeated them.
configs/laion_mi has their study, at full size and at mini size.
"""

from score_mia.papers.laion_mi.settings import SETTINGS, TITLES, setting

__all__ = ["SETTINGS", "TITLES", "setting"]
