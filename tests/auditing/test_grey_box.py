"""The attacks of the field in one audit of one model, which is told classes."""

from __future__ import annotations

import pytest

from score_mia import auditing
from score_mia.auditing import plan as planning
from score_mia.auditing.work import look, open_work
from score_mia.check import UserError
from score_mia.results import AuditResult
from tests.auditing.tiny import get_config
from tests.beams.service import save_still

SIGNALS = {
    "secmi": {"levels": (100,), "step": 50},
    "pia": {},
    "pian": {"name": "pia", "normalised": True},
    "sima": {"times": 2},
    "pfami": {"times": 2, "neighbours": 2},
    "dispersion": {"levels": (10,), "window": 2},
    "flow": {"places": (0.5,)},
    "clid": {"draws": 1, "prompt": "own"},
    "rediffuse": {"n": 2, "steps": 2},
    "probe": {"steps": 4},
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    base = tmp_path_factory.mktemp("base")
    save_still(base, (8, 8, 1))
    made = get_config()
    made.train.steps = 20
    made.train.checkpoint_every = 10
    made.train.condition_dropout = 0.2
    made.network.classes = 11
    made.conditioner = {"name": "label", "classes": 11, "nothing": 10}
    made.controls = ("permuted",)
    del made.attacks["loss"], made.attacks["likelihood"]
    for name, fields in SIGNALS.items():
        entry = {"name": name, **fields}
        entry |= {"base": str(base)} if name == "probe" else {}
        made.attacks[name] = {"signal": entry, "rule": {"name": "mean"}}
    plan = planning.plan(made)
    folder = tmp_path_factory.mktemp("grey")
    auditing.run(plan, folder)
    return open_work(plan, folder)


def test_every_one_of_them_works(done):
    result = AuditResult.load(done.folder)
    assert result.attacks.keys() == SIGNALS.keys()
    assert {name: a.failed for name, a in result.attacks.items() if a.failed} == {}


def test_the_noises_of_the_base_are_kept_for_all_who_read_them(done):
    (folder,) = (done.folder / "products").glob("inverted-*")
    assert any(folder.iterdir())


@pytest.mark.parametrize("around", [False, True])
def test_pixels_of_another_shape_are_refused_before_training(around, tmp_path):
    made = get_config()
    signal = {"name": "secmi", "pixels": (4, 3, 1)}
    if around:
        signal = {"name": "calibrated", "signal": signal, "format": "zlib"}
    made.attacks = {"nns": {"signal": signal, "rule": {"name": "mean"}}}
    with pytest.raises(UserError, match=r"shape \(8, 8, 1\): do not come down"):
        look(planning.plan(made), tmp_path / "run")
