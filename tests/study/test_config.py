"""What a study's config may say, and what is told before anything is computed."""

from __future__ import annotations

import dataclasses

import pytest

from score_mia.check import UserError
from score_mia.report.exhibits.base import Steps, column_at
from tests.report.example import attack

from .command import run, variant


def test_dry_run_touches_nothing(tmp_path, capsys):
    assert run(tmp_path / "none", "--dry_run") == 0
    assert not (tmp_path / "none").exists()
    out = capsys.readouterr().out
    assert "audit smld" in out
    assert "24 members, 240 non-members" in out
    assert "LossTable of smld, ddpm" in out


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("c.exhibits.loss.name = 'los_table'", "exhibit 'loss': kind 'los_table' is "
         "unknown; did you mean 'loss_table'"),
        ("c.exhibits.loss.time = 3", "has no field 'time'; did you mean 'times'"),
        ("c.exhibits.roc.audits = ('ddmp',)", "audit='ddmp': is unknown; did you mean "
         "'ddpm'"),
        ("c.exhibits.roc.attack = 'los'", "did you mean 'loss'"),
        ("c.exhibits.loss.times = (200, 201)", "time 201: is no column of attack "
         "'loss'; put it into the attack's times, or take one of them (nearest: 200"),
        ("c.exhibits.loss.times = ('chosn',)", "did you mean 'chosen'"),
        ("c.exhibits.loss.times = dict(ddpm=(200,))", "times of audit 'smld'"),
        ("c.exhibits.loss.log_snr = (0.0,)", "are not one of the two"),
        ("c.exhibits.loss.beside.table = 'Table 7'", "table='Table 7'"),
        ("c.exhibits.quality.beside.table = 'Table 2'", "table='Table 2'"),
        ("c.exhibits.quality.beside = c.exhibits.loss.beside", "gives no rows to such"),
        ("c.exhibits.loss.beside.name = 'rates'", "beside 'rates' is unknown"),
        ("c.exhibits.loss.attack = 'likelihood'; c.exhibits.loss.audits = ('ddpm',)",
         "not measured step by step"),
        ("c.exhibits.steps.panels = 'fpr'", "axis='log_snr'"),
        ("c.exhibits.steps.axis = 'logsnr'", "did you mean 'log_snr'"),
        ("c.exhibits.steps.fprs = (0.2,)", "fprs='0.2'"),
        ("c.exhibits.samples.count = 7", "draws 6 samples and 7 are to be shown"),
        ("c.exhibits.noised.log_snr = (); c.exhibits.noised.times = (1000,)", "1000"),
        ("c.exhibits.frontier.fpr = 0.05", "fpr='0.05'"),
        ("c.exhibits.grown.curves = dict(a=[(1, 'ddmp', 'loss')])", "audit='ddmp'"),
        ("c.exhibits.grown.curves = dict(a=[(1, 'ddpm', 'los')])", "did you mean"),
        ("c.exhibits.grown.curves = dict(a=[(0, 'ddpm', 'loss')])", "has x = 0"),
        ("c.exhibits.grown.curves = dict(a=[(1, 'a')])", "has the point [1, 'a']"),
        ("c.exhibits.grown.curves = dict(a=3)", "curves.a: is no list of points"),
        ("c.exhibits.mine = dict(name='json:JSONEncoder')", "is no exhibit"),
        ("c.exhibits = {'a/b': dict(name='roc')}", "exhibit 'a/b': cannot be the name"),
        ("c.audits.exhibits = c.audits.ddpm", "audit 'exhibits': cannot be the name"),
        ("c.audits.ddpm.sde.name = 'ddmp'", "audit 'ddpm': sde 'ddmp' is unknown"),
        ("c.audits = {}", "audits: none is given"),
        ("c.labels.dppm = 'x'", "did you mean 'ddpm'"),
        ("c.exhibts = {}", "study has no section 'exhibts'; did you mean 'exhibits'"),
        ("c.exhibits.roc.scale = object()", "not JSON serializable"),
    ],
)  # fmt: skip
def test_wrong_configs(code, said, tmp_path, capsys):
    config = variant(tmp_path, code)
    assert run(tmp_path / "run", config=config) == 2
    err = capsys.readouterr().err
    (line,) = [x for x in err.splitlines() if x.startswith("score-mia: ")]
    assert said in line
    assert ";" in line
    assert not (tmp_path / "run").exists()


def test_steps_are_never_taken_from_the_rows_reported():
    steps = Steps(times=("chosen", 200))
    shown = attack().stepped
    last = dataclasses.replace(shown, chosen=4)
    assert steps.columns("ddpm", "loss", last) == [4, 2]
    assert steps.columns("ddpm", "loss", shown) == [2]  # each once
    with pytest.raises(UserError, match="nearest: 100 and 200"):
        column_at("loss", shown.time, 140.0)
