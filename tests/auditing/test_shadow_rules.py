"""Every rule that knows shadows, looks or whole sets, in one small audit."""

from __future__ import annotations

import pytest

from score_mia import auditing
from score_mia.auditing import plan as build
from score_mia.results import AuditResult
from tests.auditing.tiny import get_config

pytestmark = pytest.mark.slow  # tests/laws and tests/rules have each by itself

SHADOWED = ("lira", "offline", "rmia", "share", "reference_ratio")


def config():
    made = get_config()
    made.unlock()
    made.split = dict(name="shuffled", members=24, nonmembers=60, reference=0.5)
    made.shadows = dict(count=4, overlap=0.5)
    made.signals = dict(
        loss=dict(name="loss", times=(100.0, 300.0)), looks=dict(name="covariates")
    )
    one = dict(signals="loss", knows="shadows")
    both = dict(signals=["loss", "looks"])
    column, set_mean = "loss/loss@100", dict(name="set_mean", column="loss@100")
    quantile = dict(name="quantile", column=column, leaf=5, bag=2)
    made.attacks = dict(
        lira=dict(rule=dict(name="lira"), **one),
        offline=dict(rule=dict(name="lira", online=False), **one),
        rmia=dict(rule=dict(name="rmia", column="loss@100"), **one),
        share=dict(
            rule=dict(
                name="rmia", column="loss@300", online=False, a=0.3, temperature=1.0
            ),
            **one,
        ),
        reference_ratio=dict(
            rule=dict(name="reference_ratio", column="loss@100", kind="ratio"), **one
        ),
        duci=dict(rule=dict(name="duci"), **one),
        quantile=dict(rule=quantile, knows="population", **both),
        all=dict(
            rule=dict(name="ridge"),
            knows="split",
            scheme=dict(name="cross_fit", permutations=5),
            **both,
        ),
        cdi=dict(
            rule=dict(name="cdi", permutations=99, trials=10),
            knows="population",
            **both,
        ),
        set_mean=dict(rule=set_mean, knows="population", signals="loss"),
    )
    made.controls = ["blind", "permuted", "generated"]
    return made


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    auditing.run(build.plan(config()), folder)
    return AuditResult.load(folder).attacks


def test_each_has_its_numbers(results):
    assert set(results) == set(config().attacks)
    for name, one in results.items():
        assert one.failed is None, f"{name}: {one.failed}"
        assert one.knows == config().attacks[name].knows
        assert one.access == "scores"
        assert one.network_evaluations_per_image == 2
        if one.kind == "image":
            assert one.auc.known
            assert one.permuted.known


def test_sets_are_judged_twice(results):
    for name in ("cdi", "set_mean", "duci"):
        one = results[name]
        assert one.kind == "set"
        numbers = (one.share, one.innocent.share)
        if name != "duci":
            numbers = (one.p_value, one.innocent.p_value)
        assert None not in numbers


def test_thresholds_come_off_the_shadows_and_not_off_drawn_images(results):
    for name in SHADOWED:
        assert results[name].at_fixed_threshold.nominal_fpr == 0.01
        assert results[name].calibration_nonmembers == 4 * 42
        assert results[name].generated is None
    assert results["quantile"].generated is not None
