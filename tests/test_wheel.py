"""What an installed package holds, outside of a clone: configs, by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from score_mia.cli.config import shipped

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The files of a wheel, as setuptools lays them out in one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["setup.py", "-q", "build_py", f"--build-lib={folder}"]
    run = subprocess.run(
        [sys.executable, *build], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return folder


def command(installed, *argv):
    """A command, with nothing of the clone on the path."""
    code = "import sys; from score_mia import cli; sys.exit(cli.main(sys.argv))"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *argv],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_configs_are_in_it(installed):
    folder = installed / "score_mia" / "configs"
    there = {p.relative_to(folder) for p in folder.rglob("*.py")}
    ours = ROOT / "configs"
    assert there == {p.relative_to(ours) for p in ours.rglob("*.py")}
    assert {"quickstart", "mini/study", "paper/ffhq1k_ddpm"} <= set(shipped())
    assert not any("_base" in name for name in shipped())


def test_a_config_by_name_outside_of_a_clone(installed):
    run = command(installed, "audit", "--config=mini/target:vesde-smoke", "--dry_run")
    assert run.returncode == 0, run.stderr
    config = json.loads(run.stdout[: run.stdout.rindex("}") + 1])
    assert config["sde"]["name"] == "ve"
