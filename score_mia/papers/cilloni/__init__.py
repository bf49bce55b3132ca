"""Cilloni, Fleming & Walter 2023, "Privacy Threats in Stable Diffusion Models"
(2311.09355).

    signal=dict(name="observe", ...)

`published`: what it reports, which is little more than one AUC. Its attack is the
library's own, `score_mia.attacks.observe`, whose fields are choices of ours wherever
`published.UNKNOWN` has them.
"""

from score_mia.papers.cilloni.published import BEST, FINDINGS, UNKNOWN

__all__ = ["BEST", "FINDINGS", "UNKNOWN"]
