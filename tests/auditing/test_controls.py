"""Controls beside every attack, and attacks on whole sets, in whole audits."""

from __future__ import annotations

import dataclasses
import html
from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from score_mia.auditing import controls, run, stages
from score_mia.auditing import plan as build
from score_mia.auditing.verify import verify
from score_mia.check import Damaged, UserError
from score_mia.report.controls import finding
from score_mia.report.verdict import verdict
from score_mia.results import AuditResult, Estimate
from score_mia.rules.protocol import SetEstimate, TestResult
from tests.auditing.tiny import get_config


@dataclasses.dataclass(frozen=True)
class RankSum:
    """Whether the mean of the columns is larger in the set than among the unseen."""

    accepts: ClassVar[frozenset] = frozenset(("none",))
    share: bool = False

    def judge(self, suspects, unseen, seed):
        assert suspects.target.member is None
        assert unseen.target.member is None
        groups = [rows.target.matrix().mean(1) for rows in (suspects, unseen)]
        p = float(stats.ranksums(*groups, alternative="greater").pvalue)
        if self.share:
            return SetEstimate(1 - p, 0.0, 1.0, "one less p")
        return TestResult(p, float(seed), "rank sum of the mean")


def config(**changes):
    one = get_config()
    one.report.samples = 12
    one.split = dict(name="shuffled", members=24, nonmembers=60, reference=0.5)
    one.attacks = dict(
        best=dict(
            signal=dict(name="loss", times=4),
            rule=dict(name="best"),
            knows="split",
            scheme=dict(name="cross_fit", permutations=5),
        ),
        mean=dict(
            signal=dict(name="loss", times=4),
            rule=dict(name="mean"),
            knows="population",
        ),
        sets=dict(
            signal=dict(name="loss", times=4),
            rule=dict(name="tests.auditing.test_controls:RankSum"),
        ),
    )
    one.controls = ["blind", "permuted", "untrained", "generated"]
    one.update(changes)
    return one


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("controls") / "audit"
    run(build.plan(config()), folder)
    return folder


def test_every_control_is_beside_every_attack_on_images(workdir):
    result = AuditResult.load(workdir)
    assert set(result.scored) == {"best", "mean"}
    for entry in result.scored.values():
        for control in (entry.margin, entry.permuted, entry.untrained):
            assert control.low <= control.value <= control.high
        assert entry.permuted.low < 0.5 < entry.permuted.high
    assert result.attacks["best"].excess >= 1
    assert result.attacks["mean"].excess is None
    # 15 of 30 known non-members set a threshold at 10 %; all images are held against it
    share = result.attacks["mean"].generated
    assert share.value * 12 == pytest.approx(round(share.value * 12))


def test_a_set_has_a_finding_and_no_auc(workdir):
    entry = AuditResult.load(workdir).sets["sets"]
    assert 0 < entry.p_value <= 1
    assert 0 < entry.innocent.p_value <= 1
    assert not entry.auc.known
    assert not entry.tpr_at_fpr
    # Of 30 evaluation non-members half are accused, the other 15 and 30 known are not.
    assert (entry.members, entry.nonmembers, entry.innocent.images) == (12, 45, 15)
    said = finding(entry)
    assert "for 12 training images held against 45 others" in said
    folder = workdir / "report"
    assert said in html.unescape((folder / "index.html").read_text())
    lines = (folder / "attacks.csv").read_text().splitlines()
    measures = [line.split(",")[1] for line in lines if line.startswith("sets,")]
    assert measures[:2] == ["p_value", "p_value_of_nonmembers"]
    assert "auc" not in measures


def test_the_margin_is_said_in_the_verdict(workdir):
    result = AuditResult.load(workdir)
    attacks = {
        "mean": dataclasses.replace(
            result.attacks["mean"],
            auc=Estimate(0.8, 0.75, 0.85),
            margin=Estimate(0.1, 0.05, 0.2),
            members=100,
            nonmembers=100,
        )
    }
    said = verdict(dataclasses.replace(result, attacks=attacks)).finding
    assert "does not explain this" in said
    attacks["mean"] = dataclasses.replace(
        attacks["mean"], margin=Estimate(0.1, -0.05, 0.2)
    )
    said = verdict(dataclasses.replace(result, attacks=attacks)).finding
    assert "is not shown" in said


def test_numbers_are_verified_and_stay(workdir):
    before = (workdir / "metrics.json").read_bytes()
    assert not verify(workdir).differing
    stages.attack(build.plan(config()), workdir)
    assert (workdir / "metrics.json").read_bytes() == before


def test_without_controls_there_are_none(workdir):
    stages.attack(build.plan(config(controls=[])), workdir)
    result = AuditResult.load(workdir)
    assert result.controls.blind is None
    for entry in result.scored.values():
        assert (entry.margin, entry.permuted, entry.generated) == (None, None, None)


def test_an_unknown_control_is_refused():
    with pytest.raises(UserError, match="untrained"):
        build.plan(config(controls=["untrianed"]))
    with pytest.raises(UserError, match=r"report\.samples"):
        build.plan(config(controls=["generated"], report=dict(samples=0)))


def test_a_rule_that_fails_on_what_says_nothing_costs_its_control_only():
    def fails():
        raise np.linalg.LinAlgError("Singular matrix")

    assert controls._tried(fails) is None

    def damaged():
        raise Damaged("part-00001.npz: is damaged; delete it")

    with pytest.raises(Damaged):
        controls._tried(damaged)
