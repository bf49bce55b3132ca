"""Two pools of images, made alike: `score-mia sanitise`.

An audit means something only if members and non-members are of one distribution. From a
pool of members and a pool of candidates this makes lists that the split "files" reads:
candidates that are near-duplicates of what may be in training are dropped, then rounds
of adversarial filtering remove what a classifier tells the pools apart by
(docs/sanitise.md).
"""

from score_mia.auditing.sanitising.settings import Sanitising, plan
from score_mia.auditing.sanitising.stages import describe, run

__all__ = ["Sanitising", "describe", "plan", "run"]
