"""The finished audit that the tests here share."""

from __future__ import annotations

from pathlib import Path

import pytest

from score_mia import cli
from tests.beams import audit


@pytest.fixture(scope="session")
def audited(tmp_path_factory) -> Path:
    """The workdir of `tests.beams.audit`, as the command line leaves it."""
    workdir = tmp_path_factory.mktemp("beams") / "run"
    flags = [f"--config={audit.__file__}", f"--workdir={workdir}"]
    assert cli.main(["score-mia", "audit", *flags]) == 0
    return workdir
