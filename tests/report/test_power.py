"""Power per evaluation, of made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.metrics.paired import paired
from score_mia.metrics.roc import auc
from score_mia.report.exhibits.power import Power
from tests.report.made_up import lines, made

TITLES = {"good": "Good", "fair": "Fair", "blind": "Blind"}
COSTS = {
    "good": {"network_evaluations_per_image": 12.0},
    "fair": {"network_evaluations_per_image": 50.0},
    "blind": {"network_evaluations_per_image": None},
}


def audit(name="a", seed=0, **shifts):
    shifts = {"good": 2.0, "fair": 0.5, "blind": 0.0, **shifts}
    return made(name, seed=seed, about=COSTS, **shifts)


def test_attacks_stand_by_what_they_cost():
    built = Power(attacks=TITLES, of="good").build([audit(), audit("b", 1)])
    shown = [[cell.value for cell in row.cells[:2]] for row in built.table.rows]
    assert shown == [["Good", "12"], ["Fair", "50"]]  # a blind one costs nothing
    assert "2 targets, each of 100 members and 300 non-members" in built.caption


def test_differences_are_of_the_same_images():
    audits = [audit(), audit("b", 1, fair=2.0)]
    built = Power(attacks=TITLES, of="good").build(audits)
    apart = [
        auc(*one.judged["good"][1:]) - auc(*one.judged["fair"][1:]) for one in audits
    ]
    (row,) = lines(built, attack="fair", audit="", measure="good_less_this")
    assert float(row["value"]) == pytest.approx(np.mean(apart))
    assert float(row["low"]) < float(row["value"]) < float(row["high"])
    ahead = [
        paired(one.scores("good"), one.scores("fair"), one.member("good")).low > 0
        for one in audits
    ]
    assert ahead == [True, False]
    assert built.table.rows[1].cells[-1].value == "1, 0"


def test_long_names_stay_within_the_figure():
    long = {name: f"{title}, along the log-SNR" * 2 for name, title in TITLES.items()}
    found = Power(attacks=long, of="good").build([audit()]).figure
    (legend,) = found.legends
    assert len(legend.get_texts()) > 1
    assert legend.get_window_extent().width <= found.bbox.width


def test_who_is_behind_is_told():
    built = Power(attacks=TITLES, of="fair").build([audit()])
    (good,) = (row for row in built.table.rows if row.cells[0].value == "Good")
    assert good.cells[-1].value == "0, 1"


def test_a_rate_that_the_images_cannot_show_is_left_out():
    small = audit()
    for attack, (ids, scores, member) in small.judged.items():
        few = member | (ids < 60)
        small.judged[attack] = tuple(part[few] for part in (ids, scores, member))
    built = Power(attacks=TITLES, of="good").build([small])
    assert not lines(built, measure="tpr@0.01")
    assert not built.table.rows[0].cells[3].known
    assert lines(Power(attacks=TITLES, of="good").build([audit()]), measure="tpr@0.01")


def test_wrong_fields_are_told():
    with pytest.raises(UserError, match="several"):
        Power(attacks={"good": "Good"}, of="good")
    with pytest.raises(UserError, match="better"):
        Power(attacks=TITLES, of="better")
