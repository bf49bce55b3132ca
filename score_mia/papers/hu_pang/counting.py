"""How the paper counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from score_mia.metrics.roc import FPRS, auc, tpr_at_fpr


def paper_compatible(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
) -> dict[str, Any]:
    """The table columns "as published" (Hu & Pang 2023): *non-members* positive.

    The released evaluation of that paper labels members 0 and non-members 1 and ranks
    by the loss, so its "TPR at FPR f" is the share of non-members recognised while at
    most f of the members are misjudged. Here so that a published number can be found
    again; it is no measure of what members risk. The AUC is the same either way.

    Returns:
      {"positive_class": "nonmember", "auc": x, "tpr_at_fpr": {"0.1": x, ...}}; like
      the paper, it prints a number even where the images cannot resolve the rate.
    """
    flipped = ~np.asarray(member, bool)
    return {
        "positive_class": "nonmember",
        "auc": auc(-scores, flipped),
        "tpr_at_fpr": {f"{f:g}": tpr_at_fpr(-scores, flipped, f) for f in FPRS},
    }
