"""A signal is read of the images that an attack needs, and of no others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from score_mia import auditing
from score_mia.attacks import Reconstruct
from score_mia.auditing import plan as build
from score_mia.auditing.costs import costs
from score_mia.auditing.work import look
from score_mia.results import AuditResult
from score_mia.rules.cdi import Cdi
from score_mia.rules.scheme import CrossFit
from tests.auditing import tiny


def plan(knows):
    """Two attacks on losses; the second chooses nothing unless it knows the split."""
    config = tiny.get_config()
    rule = dict(name="best" if knows == "split" else "mean")
    second = dict(signal=dict(name="loss", times=3), rule=rule, knows=knows)
    config.attacks = dict(loss=config.attacks.loss, second=second)
    return build.plan(config)


def read(work, name):
    return work.collect(name).ids


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("needed") / "run"
    auditing.run(plan("none"), folder)
    return folder


def test_a_rule_that_knows_nothing_reads_no_reference_image(audited):
    work = look(plan("none"), audited)
    np.testing.assert_array_equal(read(work, "loss"), work.split.ids)
    judged = work.split.ids[~work.split.reference]
    np.testing.assert_array_equal(read(work, "second"), judged)
    result = AuditResult.load(audited)
    assert result.timings.images == {"loss": 64, "second": len(judged)}
    one = result.attacks["second"]
    assert one.members + one.nonmembers == len(judged)


def test_the_numbers_are_those_of_all_images_read(audited, tmp_path):
    # An earlier version's workdir, or one whose attack was another before.
    auditing.run(plan("split"), tmp_path / "run")
    before = look(plan("split"), tmp_path / "run")
    assert len(read(before, "second")) == 64
    auditing.run(plan("none"), tmp_path / "run")
    now = look(plan("none"), tmp_path / "run")
    assert now.signal_folder(now.reader("second")) == before.signal_folder(
        before.reader("second")
    )
    here, there = (AuditResult.load(f) for f in (tmp_path / "run", audited))
    assert here.attacks["second"] == there.attacks["second"]
    assert here.timings.images["second"] == 64


def test_the_bill_counts_what_is_read(audited):
    work = look(plan("none"), audited)
    target = work.target
    found = costs(work.plan, target, work.split, work.source.shape)
    judged = int(np.sum(~work.split.reference))
    assert found["loss"].passes == 4 * 64
    assert found["second"].passes == 3 * judged


def test_who_needs_reference_images():
    (one,) = plan("none").attacks[1:]
    assert not one.needs_reference
    assert dataclasses.replace(one, knows="split").needs_reference
    assert dataclasses.replace(one, scheme=CrossFit()).needs_reference
    assert dataclasses.replace(one, rule=Cdi()).needs_reference  # of other non-members
    shared = dict(one.signals, shared=Reconstruct(m=1))
    assert dataclasses.replace(one, signals=shared).needs_reference
