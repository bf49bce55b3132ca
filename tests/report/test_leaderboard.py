"""The leaderboard, of made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.metrics.roc import auc
from score_mia.report.exhibits.leaderboard import Leaderboard
from score_mia.report.exhibits.ranking import shared
from tests.report.made_up import IDS, MadeUp, lines, made


def rank(built, attack):
    (row,) = lines(built, attack=attack, measure="rank")
    return tuple(float(row[k]) for k in ("value", "low", "high"))


def test_a_clear_winner_leads_the_table():
    built = Leaderboard().build([made(poor=0.3, good=4.0, fair=1.0)])
    assert [row.cells[0].value for row in built.table.rows] == ["Good", "Fair", "Poor"]
    assert rank(built, "good") == (1, 1, 1)
    cells = built.table.rows[0].cells
    assert (cells[1].value, cells[1].below.replace("\N{NO-BREAK SPACE}", " ")) in [
        ("1", "[1, 1]")
    ]
    assert len(cells) == len(built.table.header)


def test_the_order_of_images_and_attacks_changes_nothing():
    audit = made(one=1.0, two=0.7, three=0.0)
    built = Leaderboard().build([audit])
    order = np.random.default_rng(3).permutation(len(IDS))
    again = Leaderboard().build([made(order=order, one=1.0, two=0.7, three=0.0)])
    assert built.csv == again.csv
    turned = dict(reversed(audit.judged.items()))
    other = Leaderboard().build([MadeUp("a", turned)])
    assert sorted(other.csv.splitlines()) == sorted(built.csv.splitlines())


def test_the_wrong_sign_is_shown_as_it_is_and_as_tables_turn_it():
    audit = made(right=1.0, wrong=-1.0)
    built = Leaderboard().build([audit])
    truth = auc(*audit.judged["wrong"][1:])
    (as_is,) = lines(built, attack="wrong", measure="auc", audit="", level="")
    (flipped,) = lines(
        built, attack="wrong", measure="auc_flipped_below_half", audit="", level=""
    )
    assert float(as_is["value"]) == pytest.approx(truth)
    assert float(flipped["value"]) == pytest.approx(1 - truth)
    assert rank(built, "wrong") == (2, 2, 2)


def test_levels_are_means_of_their_targets():
    audits = [made("a", seed=0, x=0.5, y=1.0), made("b", seed=1, x=0.5, y=1.0)]
    audits.append(made("c", seed=2, x=3.0, y=2.0))
    levels = {"half": ("a", "b"), "memorised": ("c",)}
    built = Leaderboard(levels=levels).build(audits)
    values = [auc(*audit.judged["x"][1:]) for audit in audits]
    (half,) = lines(built, attack="x", level="half", measure="auc", audit="")
    assert float(half["value"]) == pytest.approx(np.mean(values[:2]))
    assert (half["members"], half["nonmembers"]) == ("200", "600")
    (whole,) = lines(built, attack="x", level="", measure="auc", audit="")
    assert float(whole["value"]) == pytest.approx(np.mean(values))
    low, high = float(whole["low"]), float(whole["high"])
    assert low < float(whole["value"]) < high
    assert not lines(built, fpr="0.001")  # 300 non-members cannot show it
    assert lines(built, fpr="0.01", audit="c", attack="y")
    assert "AUC, half" in built.table.header
    # One that is not finished is left out, and so is its level.
    part = Leaderboard(levels=levels).build(audits[:2])
    assert "AUC, memorised" not in part.table.header


def test_only_what_every_target_has_is_ranked_on_images_that_all_judged():
    one, other = made("a", x=1.0, y=0.5, more=2.0), made("b", x=1.0, y=0.5)
    _, scores, member = one.judged["x"]
    one.judged["y"] = tuple(part[40:] for part in one.judged["y"])
    built = Leaderboard().build([one, other])
    assert not lines(built, attack="more", measure="rank")
    (more,) = lines(built, attack="more", measure="auc", audit="a")
    assert float(more["value"]) > 0.8
    (row,) = lines(built, attack="x", measure="auc", audit="a")
    assert float(row["value"]) == pytest.approx(auc(scores[40:], member[40:]))
    assert built.table.rows[-1].cells[0].value == "More"
    assert "not run on every target" in built.caption


def test_images_are_matched_by_their_ids():
    ids = np.array([7, 3, 9, 1])
    judged = [
        (ids, np.array([70.0, 30.0, 90.0, 10.0]), ids > 5),
        (
            np.array([9, 7, 2, 3]),
            np.array([9.0, 7.0, 2.0, 3.0]),
            np.array([1, 1, 0, 0]),
        ),
    ]
    scores, member = shared(judged)
    assert scores.tolist() == [[30.0, 70.0, 90.0], [3.0, 7.0, 9.0]]
    assert member.tolist() == [False, True, True]
    with pytest.raises(UserError, match="share no image"):
        shared([judged[0], (np.array([100]), np.zeros(1), np.zeros(1, bool))])


def test_cross_fitted_scores_have_wider_intervals():
    audit = made(x=1.0, y=1.0)
    audit.judged["y"] = audit.judged["x"]
    wide = MadeUp("a", audit.judged, y={"excess": 4.0})
    built = Leaderboard().build([wide])
    reach = {}
    for attack in ("x", "y"):
        (row,) = lines(built, attack=attack, measure="auc", audit="a")
        reach[attack] = float(row["high"]) - float(row["low"])
    assert reach["y"] == pytest.approx(2 * reach["x"], rel=0.05)


def test_seconds_costs_and_published_figures_stand_beside():
    board = Leaderboard(attacks={"x": "Ours"}, published={"x": ".881 / 9.1 %"})
    built = board.build([made(x=1.0, y=0.5)])
    (row,) = built.table.rows
    shown = [cell.value for cell in row.cells]
    assert shown[0] == "Ours"
    assert shown[-3:] == ["12", "0.1", ".881 / 9.1 %"]


def test_wrong_fields_are_told():
    with pytest.raises(UserError, match="name its audits"):
        Leaderboard(levels={"half": ()})
    with pytest.raises(UserError, match="attack"):
        Leaderboard(attacks=("nothing",)).check({})
    with pytest.raises(UserError, match="none of the leaderboard's attacks"):
        Leaderboard(attacks=("z",)).build([made(x=1.0)])
