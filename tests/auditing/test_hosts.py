"""Several processes share one audit, and it ends with the numbers of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from score_mia import auditing
from score_mia.auditing import plan as planning
from score_mia.check import UserError
from score_mia.files import load_sealed
from score_mia.hosts import Host
from score_mia.lease import lease
from tests.auditing.tiny import get_config
from tests.defects.test_fault_matrix import numbers

CONFIG = Path(__file__).with_name("tiny_quality.py")


@pytest.fixture(scope="module")
def plan():
    config = get_config()
    config.unlock()
    del config.attacks.likelihood
    config.report.samples = 0
    return planning.plan(config)


@pytest.fixture(scope="module")
def alone(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    auditing.train(plan, folder)
    auditing.attack(plan, folder)
    return folder


def test_any_host_may_compute_all_rows_and_the_first_writes_the_numbers(
    plan, alone, tmp_path
):
    auditing.train(plan, tmp_path)
    said = auditing.attack(plan, tmp_path, Host(1, 2))
    assert said == "host 1 of 2: its share is done, the rest is for host 0"
    assert not (tmp_path / "metrics.json").exists()
    assert not (tmp_path / "checks.json").exists()
    auditing.attack(plan, tmp_path, Host(0, 2))
    assert numbers(tmp_path) == numbers(alone)
    # The first host found nothing to do.
    assert not list(tmp_path.rglob("seconds-00000.json"))


def test_generate_shares_its_rows(plan, alone):
    said = auditing.generate(plan, alone, 6, Host(2, 3))
    assert said == "host 2 of 3: its share is done, the rest is for host 0"
    assert not list(alone.glob("samples/*.png"))
    auditing.generate(plan, alone, 6, Host(0, 3))
    assert len(list(alone.glob("samples/*.png"))) == 6


def test_a_host_that_waits_for_a_failed_training_ends_with_its_reason(plan, tmp_path):
    (tmp_path / "target").write_text("in the way")
    with lease(tmp_path, 1):  # so that the start of the first forgets nothing of it
        with pytest.raises(UserError) as failed:
            auditing.run(plan, tmp_path, Host(0, 2))
        assert (tmp_path / "failed-00000.json").exists()
    host = Host(1, 2, tmp_path)
    with pytest.raises(UserError, match="host 0 of 2 failed: ") as told:
        host.wait_for("the target", lambda: False)
    assert str(failed.value) in str(told.value)
    # Its next start forgets it.
    (tmp_path / "target").unlink()
    auditing.run(plan, tmp_path, Host(0, 2))
    assert not list(tmp_path.rglob("failed-*"))


# Dies at the moment at which a file whose path holds the given text would be finished.
PROGRAM = """
import os, signal, sys
finish = os.replace
def replace(temporary, path, **rest):
    if sys.argv[1] and sys.argv[1] in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
    finish(temporary, path, **rest)
os.replace = replace
from score_mia import hosts
hosts.POLL = 0.05
from score_mia.cli import main
sys.exit(main(["score-mia", *sys.argv[2:]]))
"""


def start(workdir: Path, *flags: str, die_at: str = "") -> subprocess.Popen:
    words = ["audit", f"--config={CONFIG}", f"--workdir={workdir}", *flags]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, die_at, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
    )


def test_two_processes_of_which_one_is_killed_end_with_the_numbers_of_one(tmp_path):
    with start(tmp_path / "one") as one:
        assert one.wait(300) == 0, one.stderr.read()
    both = tmp_path / "both"
    with start(both, "--host=1/2", die_at="part-00003-of-00004") as lost:
        said = (line for line in lost.stderr if "waits" in line)
        assert next(said) == "host 1 of 2: waits for the target of host 0\n"
        with start(both, "--host=0/2") as left:
            assert lost.wait(300) == -signal.SIGKILL
            out, err = left.communicate(timeout=300)
            assert left.returncode == 0, err
    assert f"report: {both / 'report' / 'index.html'}" in out
    assert numbers(both) == numbers(tmp_path / "one")
    (record,) = both.glob("signals/*/seconds-00001.json")
    (took,) = load_sealed(record)["devices"].values()
    assert took["parts"] == 2
    assert not list(both.glob("signals/*/failed-*"))


@pytest.mark.slow
def test_when_the_first_host_is_killed_the_other_goes_on_and_a_new_start_ends_it(
    tmp_path,
):
    with start(tmp_path / "one") as one:
        assert one.wait(300) == 0, one.stderr.read()
    both = tmp_path / "both"
    with start(both, "--host=1/2") as left:
        with start(both, "--host=0/2", die_at="part-00002-of-00004") as lost:
            assert lost.wait(300) == -signal.SIGKILL
        out, err = left.communicate(timeout=300)
        assert left.returncode == 0, err
    assert out == "host 1 of 2: its share is done, the rest is for host 0\n"
    assert not (both / "metrics.json").exists()
    with start(both, "--host=0/2") as again:
        assert again.wait(300) == 0, again.stderr.read()
    assert numbers(both) == numbers(tmp_path / "one")
