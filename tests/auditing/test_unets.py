"""U-Nets that others trained through the whole audit, each told by one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import score_mia
from score_mia import cli
from score_mia.results import AuditResult
from tests.auditing.test_diffusers import get_config
from tests.helpers import slow
from tests.interop.test_pytorch_ddpm import models, saved

MODELS = Path(__file__).parents[1] / "golden" / "models"


def target(kind, folder):
    if kind == "pytorch_ddpm":
        path = saved(folder / "ckpt.pt", models(), step=7)
        return dict(name=kind, file=str(path), size=8)
    return dict(name="diffusers", folder=str(MODELS / "unet2d_google"))


@pytest.mark.parametrize("kind", [slow("diffusers"), slow("pytorch_ddpm")])
def test_a_line_of_the_config_audits_it(kind, tmp_path):
    config = get_config("")
    config["target"] = target(kind, tmp_path)
    config["data"]["size"] = 8
    config["attacks"]["likelihood"]["rule"]["column"] = "log_prob"
    file = tmp_path / "config.py"
    file.write_text(f"def get_config(arg=''):\n    return {config!r}\n")
    workdir = tmp_path / "run"
    flags = ["score-mia", "audit", f"--config={file}", f"--workdir={workdir}"]
    assert cli.main(flags) == 0
    result = AuditResult.load(workdir)
    assert result.attacks.keys() == {"loss", "likelihood", "recon"}
    assert all(one.failed is None for one in result.attacks.values())
    assert result.target.imported.format == kind
    own = score_mia.load(workdir).params
    if kind == "diffusers":
        theirs = score_mia.load(MODELS / "unet2d_google").params
        np.testing.assert_array_equal(own["first"]["kernel"], theirs["first"]["kernel"])
    else:
        path = config["target"]["file"]
        theirs = score_mia.load(path, shape=(8, 8, 3))
        np.testing.assert_array_equal(
            own["first"]["kernel"], theirs.params["first"]["kernel"]
        )
        assert theirs.codec.shape((8, 8, 3)) == (8, 8, 3)
        assert theirs.sde.discrete_steps == 100
