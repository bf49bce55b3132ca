"""The transcribed tables: what rows must satisfy, and what the text says of them."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.metrics import roc
from score_mia.papers.hu_pang.counting import paper_compatible
from score_mia.papers.hu_pang.published import FID_TABLES, RATE_TABLES


@pytest.mark.parametrize("name", RATE_TABLES)
def test_rows_can_be_rows_of_an_roc(name):
    for row in RATE_TABLES[name].rows:
        assert all(0 <= x <= 100 for x in (*row.tpr, row.accuracy))
        assert list(row.tpr) == sorted(row.tpr, reverse=True)
        # The best threshold is no worse than the one at 10 % FPR, nor than guessing,
        # if the accuracy is balanced; 10.5 thousandths are 21 of 2,000 images.
        assert row.accuracy >= max(50.0, 50 + (row.tpr[0] - 10) / 2) - 1.05, row


def test_rows_are_found_on_our_clock():
    table = RATE_TABLES["Table 2"]
    assert len(table.rows) == 24
    found = table.find("ddpm", 200)
    assert found is not None
    assert found.tpr == (100.0,) * 4
    # "close to 80 % TPR at 0.01 % FPR" for SMLD, at its step 800 counted from the top.
    smld = table.find("smld", 199.0)
    assert smld is not None
    assert (smld.printed, smld.tpr[3]) == (800, 76.1)
    # "the VPSDE model at t = 0.72 ..., the TPR is 2e-3"; "DDPM at t = 800 ... 3e-3".
    vp, ddpm = table.find("vp", 0.72), table.find("ddpm", 800)
    assert vp is not None
    assert ddpm is not None
    assert (vp.tpr[3], ddpm.tpr[3], ddpm.accuracy) == (0.2, 0.3, 52.8)
    assert table.find("ve", 0.72) is None
    assert table.find("smld", 800) is None
    assert table.find("ddpm", None) is None
    assert table.find("edm", 0.21) is None
    likelihood = RATE_TABLES["Table 3"].find("ve", None)
    assert likelihood is not None
    assert min(r.tpr[3] for r in RATE_TABLES["Table 3"].rows) == 23.1
    assert all(r.accuracy > 95 for r in RATE_TABLES["Table 3"].rows)


def test_fids_of_the_text():
    first = {f.process: f.value for f in FID_TABLES["Table 1"].rows}
    sizes = [f.value for f in FID_TABLES["Section 6.1"].rows]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == first["ddpm"]


def test_the_paper_counts_non_members_as_positive():
    # Half of the members lie above everything, a quarter of the non-members below.
    scores = np.array([9.0, 8.0, 1.0, 2.0, 1.5, 1.6, 1.7, 1.8, 1.9, 2.1, 0.1, 0.2])
    member = np.array([True] * 4 + [False] * 8)
    counted = paper_compatible(scores, member)
    assert counted["auc"] == pytest.approx(roc.auc(scores, member))
    assert counted["tpr_at_fpr"]["0.01"] == 0.25
    assert counted["positive_class"] == "nonmember"
    with pytest.raises(UserError, match="1 NaN or infinite"):
        paper_compatible(np.array([1.0, np.nan]), np.array([True, False]))
