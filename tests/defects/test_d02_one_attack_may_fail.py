"""NaN in one attack, or a user's signal that raises, ended the whole audit: hours of
good attacks were computed and no metrics.json told of them.
"""

from __future__ import annotations

import dataclasses
import json
from typing import ClassVar

import jax.numpy as jnp
import pytest

from score_mia import auditing
from score_mia.attacks.protocol import Columns, Reading
from score_mia.auditing import plan as build
from score_mia.check import Incomplete, UserError
from score_mia.cli import main
from score_mia.report.verdict import verdict
from score_mia.results import AuditResult
from tests.auditing.tiny import get_config


@dataclasses.dataclass(frozen=True)
class Broken:
    """A user's signal; `how` it is broken is a config field."""

    how: str = "nan"
    access: ClassVar = "scores"
    needs: ClassVar = ()

    def columns(self, model):
        return Columns(("broken",))

    def __call__(self, model, query, products):
        if self.how == "raises":
            raise ZeroDivisionError("no such\nlayer")
        if self.how == "shape":
            return Reading(jnp.zeros(3))
        return Reading(jnp.full((1,), jnp.nan) + query.image.mean())


def config(**attacks):
    made = get_config()
    made.train.steps = 2
    made.report.samples = 0
    del made.attacks.likelihood
    for name, how in attacks.items():
        signal = dict(name=f"{__name__}:Broken", how=how)
        made.attacks[name] = dict(signal=signal)
    return made


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partly")
    plan = build.plan(config(empty="nan", torn="raises", wide="shape"))
    with pytest.raises(Incomplete) as caught:
        auditing.run(plan, folder)
    return folder, caught.value, json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty", "has no members with finite signals"),
        ("torn", "ZeroDivisionError: no such layer; see"),
        ("wide", "returned (3,) numbers a row for 1 names"),
    ],
)
def test_what_failed_is_told_and_has_no_number(done, name, reason):
    _, error, metrics = done
    entry = metrics["attacks"][name]
    assert not {"auc", "tpr_at_fpr", "tpr_at_zero_fp"} & set(entry)
    assert (entry["access"], entry["knows"]) == ("scores", "none")
    assert reason in entry["failed"]
    assert "\n" not in entry["failed"]
    assert f"attack {name!r} failed ({entry['failed']})" in str(error)


def test_the_others_are_whole(done):
    folder, error, metrics = done
    assert 0 <= metrics["attacks"]["loss"]["auc"]["value"] <= 1
    assert (folder / "report" / "index.html").exists()
    lines = error.done.splitlines()
    assert lines[0].split() == ["loss"]
    assert any(line.startswith("empty: failed (") for line in lines)
    said = verdict(AuditResult.load(folder))
    assert said.attack == "loss"
    assert said.finding.endswith("not part of this answer: empty, torn, wide.")


def test_the_traceback_is_kept_for_the_author(done):
    trace = done[0] / "signals" / "torn-failed.txt"
    assert "raise ZeroDivisionError" in trace.read_text()
    assert not (done[0] / "signals" / "loss-failed.txt").exists()


def test_the_command_prints_the_table_and_ends_with_1(monkeypatch, capsys, done):
    def run(argv):
        raise done[1]

    monkeypatch.setattr("score_mia.cli._run", run)
    assert main(["score-mia", "audit"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(done[1].done)
    assert err.startswith("score-mia: attack 'empty' failed (")
    assert err.count("\n") == 1


def test_where_all_fail_nothing_is_written(tmp_path):
    made = config(empty="nan")
    del made.attacks.loss
    plan = build.plan(made)
    with pytest.raises(UserError, match=r"attack 'empty': .*no members with finite"):
        auditing.run(plan, tmp_path)
    assert not (tmp_path / "metrics.json").exists()
