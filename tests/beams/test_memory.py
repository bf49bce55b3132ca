"""A model that memorised its training set, through the front door: all is told."""

from __future__ import annotations

import numpy as np
import pytest

import score_mia
from score_mia.data.local import bundled
from score_mia.sde import DDPM
from tests.beams import audit
from tests.oracles import memorising_target

MEMBERS, IMAGES = 40, 100


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    source = bundled("digits")
    images = source.images(source.ids[:IMAGES])
    member = np.random.default_rng(1).permutation(IMAGES) < MEMBERS
    target = memorising_target(DDPM(), images[member], width=0.1)
    config = audit.get_config().to_dict()
    attacks = {name: config["attacks"][name] for name in ("pia", "both")}
    attacks["cdi"] = {
        "signals": ["loss", "pia"],
        "rule": {"name": "cdi"},
        "knows": "population",
    }
    done = score_mia.audit(
        target,
        images,
        member,
        attacks,
        workdir=tmp_path_factory.mktemp("memory"),
        how=score_mia.Engine(tile=20, devices=1),
        signals=config["signals"],
        report={"samples": 0, "replicates": 100, "grid_check": 0},
    )
    return done.result.attacks


@pytest.mark.parametrize("name", ["pia", "both"])
def test_members_are_told_from_others_without_a_mistake(result, name):
    assert result[name].auc.value == 1.0
    assert result[name].tpr_at_zero_fp.value == 1.0


def test_the_set_of_the_members_is_told_and_no_other(result):
    """Twenty of them, each scored by what the others taught."""
    found = result["cdi"]
    assert found.kind == "set"
    assert found.p_value < 1e-4
    assert found.innocent.p_value > 0.01
