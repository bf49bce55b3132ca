"""Coarse to fine: what is found, and what has no part in finding it."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from score_mia import auditing
from score_mia.attacks import SIGNALS, Loss, Refined, Terms
from score_mia.attacks.calibration import calibrated
from score_mia.attacks.protocol import Refinable, Signal, identity
from score_mia.auditing import plan as build
from score_mia.auditing.costs import costs
from score_mia.auditing.describe import describe
from score_mia.auditing.ready import abstract_target
from score_mia.auditing.work import look
from score_mia.check import Incomplete, UserError
from score_mia.files import digest, load_json
from score_mia.readings import Readings
from score_mia.registry import make
from score_mia.results import AuditResult
from score_mia.rules.scheme import calibrating
from score_mia.sde import DDPM
from tests.defects.tiny_work import config
from tests.helpers import ask
from tests.oracles import memorising_target

TARGET = memorising_target(DDPM(), np.zeros((1, 4, 4, 1), np.float32))
MODEL = TARGET.denoiser
MEMBER = np.arange(60) % 3 == 0


def known(signal: Refined, power: dict[int, float]) -> Readings:
    """Noise in every column, and members ahead by so much in some."""
    columns = signal.coarse.columns(MODEL)
    values = np.random.RandomState(0).standard_normal((60, len(columns.names)))
    for place, ahead in power.items():
        values[MEMBER, place] += ahead
    return Readings.of(values, np.arange(60), columns.names, MEMBER)


def test_the_times_are_found_where_members_stand_out():
    signal = Refined(Loss(draws=8), times=10, keep=2)
    times = signal.coarse.columns(MODEL).times
    found = signal.refined(MODEL, known(signal, {5: 3.0, 6: 9.0, 7: 3.0}))
    assert found.found in {tuple(times[[5, 6]]), tuple(times[[6, 7]])}
    assert found.fine == Loss(found.found, draws=8)
    assert found.columns(MODEL).evaluations == 16 == signal.columns(MODEL).evaluations
    assert identity(found) != identity(signal)


def test_a_lucky_time_with_poor_neighbours_is_not_taken():
    signal = Refined(Loss(draws=8), times=12)
    times = signal.coarse.columns(MODEL).times
    lucky = {2: 2.0, 1: -2.0, 3: -2.0, 7: 1.5, 8: 1.5, 9: 1.5}
    assert signal.refined(MODEL, known(signal, lucky)).found == (times[8],)


def test_of_several_columns_at_one_time_the_best_counts():
    signal = Refined(Terms(kinds=("path", "error")), times=6)
    names = signal.coarse.columns(MODEL).names
    assert names[9].startswith("error@")
    power = {8: 3.0, 9: 9.0, 10: 3.0}
    found = signal.refined(MODEL, known(signal, power))
    assert found.found == (signal.coarse.columns(MODEL).times[3],)
    assert len(found.columns(MODEL).names) == 2


def test_what_is_read_there_is_the_signal_itself():
    signal = Refined(Loss(draws=3), times=10, found=(200.0,))
    image, key = jnp.full((4, 4, 1), 0.3), random.key(3)
    one, two = (ask(s, TARGET, image, key) for s in (signal, Loss((200.0,), draws=3)))
    np.testing.assert_array_equal(one, two)


def test_a_config_names_it():
    spec = {"name": "refined", "signal": {"name": "loss", "draws": 4}, "keep": 2}
    made = make("signal", SIGNALS, spec)
    assert made == Refined(Loss(draws=4), keep=2)
    assert isinstance(made, Signal)
    assert isinstance(made, Refinable)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: Refined(SIGNALS["likelihood"]()), "Likelihood is not read at times"),
        (lambda: Refined(Loss(times=3)), "has times of its own"),
        (lambda: Refined(calibrated(Loss())), "is not read at times"),
        (lambda: Refined(Loss(), times=1), "times=1"),
        (lambda: Refined(Loss(), keep=21), "keep=21"),
        (lambda: calibrated(Refined(Loss())), "put it around this one"),
        (lambda: Refined(Refined(Loss())), "put it around this one"),
    ],
)
def test_what_is_refused(act, said):
    with pytest.raises(UserError, match=said):
        act()


def test_images_of_one_kind_find_nothing():
    signal = Refined(Loss(), times=4)
    rows = dataclasses.replace(known(signal, {}), member=np.ones(60, bool))
    with pytest.raises(UserError, match="60 known members and 0 others"):
        signal.refined(MODEL, rows)


FIRST = Loss(5)
FINE = dict(name="refined", signal=dict(name="loss", draws=3), times=5)


def plan(**changes):
    made = config()
    attack = dict(signal=FINE, rule=dict(name="column"), knows="split")
    made.attacks.fine = {**attack, **changes}
    return build.plan(made)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(knows="none"), "known members and non-members refine"),
        (
            dict(rule=dict(name="best"), scheme=dict(name="cross_fit")),
            "by which its signal was refined",
        ),
    ],
)
def test_no_audit_judges_the_images_that_refined_it(changes, said):
    with pytest.raises(UserError, match=said):
        plan(**changes)


def test_known_images_of_both_kinds_are_needed(tmp_path):
    made = config()
    attack = dict(signal=FINE, rule=dict(name="column"), knows="split")
    made.attacks = dict(fine=attack)
    made.split.reference = 0.0
    said = "0 known members and 0 known non-members"
    with pytest.raises(UserError, match=said):
        look(build.plan(made), tmp_path / "run")


def test_an_audit_reads_coarsely_what_is_known_and_finely_all(tmp_path):
    folder, audit = tmp_path / "run", plan()
    auditing.train(audit, folder)
    assert "fine       missing" in describe(audit, folder)
    assert not (folder / "signals").exists()  # a dry run reads nothing

    auditing.run(audit, folder)
    assert "fine       done" in describe(audit, folder)
    work = look(audit, folder)
    split, signal = work.split, work.reader("fine").signal
    told = [load_json(p) for p in (folder / "signals").glob("fine-*/manifest.json")]
    known_images = split.counts["reference"]
    read = {t["rows"]: (t["ids"], t["signal"]) for t in told}
    assert read == {
        known_images: (digest(split.ids[split.reference]), identity(FIRST)),
        len(split.ids): (digest(split.ids), identity(signal)),
    }
    result = AuditResult.load(folder).attacks["fine"]
    assert result.network_evaluations_per_image == 3
    strangers = split.reference & ~split.member
    shown = known_images - calibrating(split.ids, strangers).sum()
    said = f"at the best of 5 times on {shown} known images"
    assert result.title == f"Loss at one time, {said}"
    assert result.chosen == "the only column"
    assert work.collect("fine").names == signal.fine.names(work.target.sde)

    passes = costs(audit, abstract_target(audit, work.source.shape), split, (8, 8, 1))
    assert passes["fine"].passes == 3 * len(split.ids) + 5 * known_images

    before = {p: p.stat().st_mtime_ns for p in (folder / "signals").rglob("*.npz")}
    auditing.run(audit, folder)
    after = {p: p.stat().st_mtime_ns for p in (folder / "signals").rglob("*.npz")}
    assert before == after


def test_who_sets_a_threshold_refined_nothing(tmp_path, monkeypatch):
    """Ten known non-members: too few to spare any; with forty, half are spared."""
    shown, refined = [], Refined.refined

    def spy(self, model, known):
        shown.append(known)
        return refined(self, model, known)

    monkeypatch.setattr(Refined, "refined", spy)
    audit = plan()
    auditing.run(audit, tmp_path / "run")
    split = look(audit, tmp_path / "run").split
    strangers = split.reference & ~split.member
    spared = calibrating(split.ids, strangers)
    assert 0 < spared.sum() <= strangers.sum() / 2 + 1
    assert not {*shown[0].ids} & {*split.ids[spared]}
    assert {*shown[0].ids} == {*split.ids[split.reference & ~spared]}
    entry = AuditResult.load(tmp_path / "run").attacks["fine"]
    assert entry.calibration_nonmembers == spared.sum()


def test_what_finds_nothing_is_one_attack_that_failed(tmp_path, monkeypatch):
    def nothing(self, model, known):
        raise UserError("signal 'refined': finds nothing; name the times yourself")

    monkeypatch.setattr(Refined, "refined", nothing)
    with pytest.raises(Incomplete, match="attack 'fine' failed"):
        auditing.run(plan(), tmp_path / "run")
    attacks = AuditResult.load(tmp_path / "run").attacks
    assert attacks["fine"].failed.startswith("signal 'refined': finds nothing")
    assert attacks["loss"].failed is None
