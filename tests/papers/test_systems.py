"""The attacks of the three later papers on Stable Diffusion's kind, and on a client."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import score_mia
from score_mia import cli
from score_mia.auditing import plan as planned
from score_mia.data.local import bundled
from score_mia.papers.laion_mi import SETTINGS, TITLES, setting
from score_mia.results import AuditResult
from tests.beams.service import Reworker

MODELS = Path(__file__).parents[1] / "golden" / "models"
PIXELS = dict(name="pixels", size=4)
KNOWN = dict(rule=dict(name="logistic", strengths=(1.0,)), knows="split")
RECONSTRUCT = dict(name="reconstruct", m=2, encoder=PIXELS)


def observe(**fields):
    return dict(name="observe", steps=2, strength=1.0, **fields)


ATTACKS = dict(
    told=dict(signal=RECONSTRUCT, rule=dict(name="mean")),
    untold=dict(signal=dict(RECONSTRUCT, prompt="null"), rule=dict(name="max")),
    likeness=dict(signal=RECONSTRUCT, rule=dict(name="gaussians"), knows="split"),
    grey=dict(signal=observe(), **KNOWN),
    black=dict(signal=observe(informer="black", blur=1), **KNOWN),
    partial=dict(
        signal=dict(
            name="score_mia.papers.laion_mi:setting", row="reversed_noising", draws=1
        ),
        **KNOWN,
    ),
    shifted=dict(
        signal=dict(name="denoise", step=125, draws=1, text_shift=0.1),
        rule=dict(name="mean"),
    ),
)


def get_config():
    return dict(
        target=dict(name="diffusers", folder=str(MODELS / "sd1")),
        data=dict(name="bundled", dataset="emoji"),
        split=dict(
            name="files", members=list(range(10)), nonmembers=list(range(10, 26))
        ),
        attacks=ATTACKS,
        sampler=dict(name="ddim", steps=2, guidance=2.0),
        engine=dict(tile=13, shard=26, devices=1),
        report=dict(samples=0, replicates=100, grid_check=0),
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("papers") / "run"
    file = folder.parent / "config.py"
    file.write_text(f"def get_config(arg=''):\n    return {get_config()!r}\n")
    assert cli.main(["x", "audit", f"--config={file}", f"--workdir={folder}"]) == 0
    return folder


def test_every_system_runs_on_stable_diffusion_s_kind(workdir):
    result = AuditResult.load(workdir)
    assert result.attacks.keys() == ATTACKS.keys()
    assert all(one.failed is None for one in result.attacks.values())
    found = result.attacks
    assert found["told"].access == found["black"].access == "samples"
    assert found["grey"].access == "observed"
    assert found["partial"].access == "scores"
    queries = {name: one.queries_per_image for name, one in found.items()}
    assert queries == dict(
        told=2, untold=2, likeness=2, grey=1, black=2, partial=None, shifted=None
    )
    assert found["partial"].network_evaluations_per_image == 10 * 2
    assert "queries per image" in (workdir / "report/index.html").read_text()
    kept = {p.name.split("-")[0] for p in (workdir / "products").iterdir()}
    assert kept == {"drawn", "traced", "runs"}


@pytest.mark.slow
def test_from_python_the_numbers_are_the_same(workdir, tmp_path):
    config = get_config()
    sections = {k: config[k] for k in ("sampler", "report")}
    audit = score_mia.audit(
        score_mia.load(MODELS / "sd1"),
        config["data"],
        config["split"],
        config["attacks"],
        workdir=tmp_path,
        how=score_mia.Engine(**config["engine"]),
        **sections,
    )
    assert audit.result.attacks == AuditResult.load(workdir).attacks


# --- LAION-mi's settings --------------------------------------------------------------


def test_all_their_settings_are_rows_of_one_signal():
    assert SETTINGS.keys() == TITLES.keys()
    made = {row: setting(row) for row in SETTINGS}
    same = [row for row in made if made[row] == made["partial"]]
    assert same == ["partial", "latent_shift_as_published"]  # the shift never happens
    assert len(made["partial"].levels) == 26
    assert made["reversed_noising"].levels[:2] == (0, 100)
    assert made["full_100_fixed"].fixed
    assert made["black_box"].losses == ("pixel",)
    assert setting("partial", losses=("model",), draws=2, guided=False).guidance == 0


# --- a client of one's own ------------------------------------------------------------

SERVICE = bundled("emoji")
IDS = SERVICE.ids[:60]


def client():
    """A service that memorised the first half of sixty captioned pictures."""
    known = SERVICE.columns(IDS, ("caption",))["caption"]
    images = SERVICE.images(IDS)
    learned = {str(c): x for c, x in zip(known[:30], images[:30], strict=True)}
    return Reworker(learned, SERVICE.shape)


def test_a_callable_of_one_s_own_is_attacked_by_a_config(tmp_path):
    recon = dict(RECONSTRUCT, m=1)
    config = dict(
        title="a client",
        target=dict(name="client", call=f"{__name__}:client", prompt="caption"),
        data=dict(name="bundled", dataset="emoji"),
        split=dict(
            name="files",
            members=IDS[:30].tolist(),
            nonmembers=IDS[30:].tolist(),
            reference=0.5,
        ),
        attacks=dict(
            mean=dict(signal=recon, rule=dict(name="mean"), knows="population"),
            logistic=dict(signal=recon, **KNOWN),
            black=dict(signal=observe(informer="black"), **KNOWN),
            grey=dict(signal=observe(distance="rmse"), rule=dict(name="mean")),
        ),
        engine=dict(tile=16, shard=64, devices=1),
        report=dict(samples=0, replicates=100),
    )
    score_mia.auditing.run(planned.plan(config), tmp_path)
    found = AuditResult.load(tmp_path).attacks
    assert {name: one.failed for name, one in found.items()} == dict.fromkeys(found)
    aucs = {name: one.auc.value for name, one in found.items()}
    assert np.mean(list(aucs.values())) > 0.95, aucs
    assert all(auc > 0.9 for auc in aucs.values()), aucs
