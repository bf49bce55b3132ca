"""A black box over HTTP: retries, a rate limit, and nothing that is asked twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from score_mia import cli
from score_mia.auditing import plan as build
from score_mia.check import UserError
from score_mia.data.source import ArraySource
from score_mia.engine import Engine, Reader, collect
from score_mia.hosts import TaskError
from score_mia.results import AuditResult
from score_mia.target import Generator
from tests.beams import audit
from tests.beams.parts import recon
from tests.beams.parts.recon import Client, Recon
from tests.beams.service import Day, Memory, served

N, SHAPE = 16, (6, 5, 3)
PIXELS = np.random.default_rng(5).integers(0, 256, (N, *SHAPE), np.uint8)
CAPTIONS = tuple(f"picture number {i}, 50 % off & more" for i in range(N))
SOURCE = ArraySource("captioned", PIXELS, np.arange(N), captions=CAPTIONS)
LEARNED = dict(zip(CAPTIONS[: N // 2], PIXELS[: N // 2] / 255, strict=True))
MEMORY = Memory(LEARNED, SHAPE)
DRAWS = 2


def prompts(ids):
    return tuple(SOURCE.columns(ids, ("caption",))["caption"])


def reader(model, **engine):
    how = Engine(**{"tile": 4, "shard": 4, "devices": 1, **engine})
    facts = {"target": "memory of eight"}
    return Reader("recon", Recon(DRAWS), model, SOURCE, 1, how, facts, prompts=prompts)


@pytest.fixture
def pauses(monkeypatch):
    """What the client waits for, instead of waiting."""
    waited = []
    monkeypatch.setattr(recon, "sleep", waited.append)
    return waited


@pytest.fixture(scope="module")
def direct(tmp_path_factory):
    """The readings without a service between, off images of 8 bits."""
    folder = tmp_path_factory.mktemp("direct")
    return collect(reader(MEMORY), SOURCE.ids, folder)


def test_what_was_memorised_is_told_and_nothing_else(direct):
    member = direct.ids < N // 2
    for column in direct.names:
        assert roc_auc_score(member, direct.column(column)) == 1.0
    # What was learned comes back within the noise that it is drawn with.
    np.testing.assert_allclose(direct.column("mean")[member], -0.1, atol=0.02)


def test_a_service_with_a_bad_day_gives_the_same_readings(direct, tmp_path, pauses):
    day = Day(faults={2: 503, 3: "drop", 9: 429, 20: 500}, retry_after="7")
    with served(MEMORY, day) as address:
        client = Client(address, str(tmp_path / "log"), SHAPE, interval=0.25)
        assert isinstance(client, Generator)
        found = collect(reader(client), SOURCE.ids, tmp_path / "rows")
    np.testing.assert_array_equal(found.matrix(), direct.matrix())
    assert set(day.answered.values()) == {1}
    assert len(day.answered) == N * DRAWS
    assert day.requests == N * DRAWS + 4
    assert len(pauses) == day.requests  # none is made without one
    assert min(pauses) == 0.25
    assert pauses[1:4] == [0.25, 7.0, 14.0]  # as asked for; then twice that
    assert (pauses.count(7.0), pauses.count(14.0)) == (3, 1)


def test_a_run_that_was_cut_off_asks_nothing_twice(direct, tmp_path, pauses):
    """The service closes in the middle of a part; the next run goes on in it."""
    asked, log = [], str(tmp_path / "log")
    for closes_after in (13, 6, None):
        day = Day(closes_after=closes_after)
        with served(MEMORY, day) as address:
            made = reader(Client(address, log, SHAPE, retries=1))
            if closes_after is not None:
                with pytest.raises(TaskError, match=r"HTTP 503; run again"):
                    collect(made, SOURCE.ids, tmp_path / "rows")
            else:
                found = collect(made, SOURCE.ids, tmp_path / "rows")
            asked += day.answered.elements()
    np.testing.assert_array_equal(found.matrix(), direct.matrix())
    assert len(asked) == len(set(asked)) == N * DRAWS
    # Nor does another signal on the same images, when the service is gone.
    nearer = dataclasses.replace(made, name="again")
    again = collect(nearer, SOURCE.ids, tmp_path / "again")
    np.testing.assert_array_equal(again.matrix(), found.matrix())


def test_what_is_no_moment_s_fault_is_not_tried_again(tmp_path, pauses):
    day = Day(faults={1: 403, 2: 404})
    with served(MEMORY, day) as address:
        client = Client(address, str(tmp_path), SHAPE)
        for status in (403, 404):
            with pytest.raises(UserError, match=f"HTTP {status}"):
                client.draw(["a"], np.asarray([1]))
        with pytest.raises(UserError, match=r"draws \(6, 5, 3\), not \(6, 5, 1\)"):
            dataclasses.replace(client, shape=(6, 5, 1)).draw(["a"], np.asarray([1]))
    assert day.requests == 3
    assert not list(tmp_path.glob("*.npz"))
    with pytest.raises(UserError, match="ConnectionRefusedError"):
        client.draw(["a"], np.asarray([1]))


# --- and all of it through the command line -------------------------------------------


def run_audit(workdir):
    flags = [f"--config={audit.__file__}:service", f"--workdir={workdir}"]
    return cli.main(["score-mia", "audit", *flags])


def test_a_black_box_is_audited_from_the_command_line(tmp_path, monkeypatch, capsys):
    """It closes on the first day: the other attack goes on; nothing is asked twice."""
    plan, workdir = build.plan(audit.service()), tmp_path / "run"
    source = plan.source()
    members = plan.split(source).members
    prompts = source.columns(members, ("caption",))["caption"].tolist()
    learned = dict(zip(prompts, source.images(members), strict=True))
    memory = Memory(learned, source.shape, noise=0.2)
    asked = []
    monkeypatch.setenv("SERVICE_LOG", str(tmp_path / "log"))
    for closes_after, status in ((130, 1), (None, 0)):
        day = Day(faults={5: 503, 9: "drop"}, closes_after=closes_after)
        with served(memory, day) as address:
            monkeypatch.setenv("SERVICE_ADDRESS", address)
            assert run_audit(workdir) == status
        asked += day.answered.elements()
        result = AuditResult.load(workdir).attacks
        assert (result["recon"].failed is None) is (closes_after is None)
        assert result["blind"].failed is None
    assert "HTTP 503; run again" in capsys.readouterr().err
    assert len(asked) == len(set(asked)) == 2 * len(source.ids)
    assert result["recon"].auc.value == 1.0
    assert result["blind"].auc.low < 0.5 < result["blind"].auc.high
