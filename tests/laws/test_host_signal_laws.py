"""What every host signal in the table must do, on services whose memory is certain."""

from __future__ import annotations

import dataclasses
import tempfile
from typing import get_args

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from score_mia.attacks import SIGNALS
from score_mia.attacks.products import Varied
from score_mia.attacks.protocol import QUERIES, Access, HostSignal, fingerprint
from score_mia.encoders import Pixels, RandomConv
from score_mia.engine import Engine, Reader, collect
from score_mia.registry import make
from score_mia.rules import RULES
from tests.beams.service import Reworker, save_still

SHAPE = (8, 8, 3)
N = 24
IMAGES = np.random.default_rng(2).random((2 * N, *SHAPE), np.float32)
IDS = np.arange(2 * N)
MEMBER = IDS < N
PROMPTS = {str(i): IMAGES[i] for i in IDS[MEMBER]}
SERVICE = Reworker(PROMPTS, SHAPE)
STRANGER = Reworker(
    {str(i): x for i, x in enumerate(np.random.default_rng(3).random((N, *SHAPE)))},
    SHAPE,
)

KEPT = tempfile.TemporaryDirectory()
"""Of the base model, which `kept` saves."""

VARIANTS = {
    "reconstruct": (
        {"encoder": Pixels(4)},
        {"encoder": RandomConv(), "output": "pooled", "similarity": "l2", "drawn": 5},
        {"encoder": Pixels(4), "similarity": "l1", "m": 1},
        {"encoder": Pixels(4), "vary": Varied(strength=0.5, steps=4)},
    ),
    "observe": (
        *({"observer": o} for o in ("one_shot", "complete", "progressive")),
        {"informer": "black", "distance": "rmse", "blur": 1},
        {"distance": "dssim", "denoised": True},
        {"distance": "features", "encoder": RandomConv(), "informer": "black"},
    ),
    "rediffuse": (
        {"strength": 0.5, "steps": 4},
        {"distances": ("l2", "ssim"), "n": 4, "drawn": 6},
        {"strength": 0.5, "steps": 4, "n": 3, "pixels": SHAPE},
    ),
    "probe": ({"base": KEPT.name, "steps": 4},),
    "covariates": ({},),
    "calibrated": (
        {"signal": SIGNALS["observe"](distance="rmse", steps=3)},
        {
            "signal": SIGNALS["observe"](observer="one_shot", distance="rmse"),
            "form": "log",
            "format": "zlib",
        },
    ),
}
"""Fields of every registered host signal: each variant is under every law."""

CASES = [(name, i) for name, fields in VARIANTS.items() for i in range(len(fields))]
BLIND = ("covariates",)
"""Those that ask no model: they say what an image is like, and nothing of members."""

ASKING = [case for case in CASES if case[0] not in BLIND]


@pytest.fixture(scope="module", autouse=True)
def kept():
    save_still(KEPT.name, SHAPE)


def made(case):
    name, variant = case
    return SIGNALS[name](**VARIANTS[name][variant])


@dataclasses.dataclass(frozen=True)
class Source:
    """Images by id."""

    digest = "noise"

    def images(self, ids):
        return IMAGES[ids]


def rows(signal, service, folder, ids=IDS, tile=16, shard=48):
    how = Engine(tile=tile, shard=shard, devices=1)

    def prompts(ids):
        return tuple(map(str, ids))

    reader = Reader("x", signal, service, Source(), 3, how, prompts=prompts)
    return collect(reader, ids, folder)


def test_every_host_signal_of_the_house_is_tried():
    host = {name for name, part in SIGNALS.items() if hasattr(part, "batch")}
    assert host <= VARIANTS.keys()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_declares_itself(case):
    signal = made(case)
    assert isinstance(signal, HostSignal)
    assert hash(signal) == hash(made(case))
    assert signal.access in get_args(Access)
    columns = signal.columns(SERVICE)
    assert (signal.access == "none") == (case[0] in BLIND)
    assert (QUERIES in columns.diagnostics) == (signal.access != "none")
    assert columns.title
    assert list(columns.names) == sorted(columns.names)


@pytest.mark.parametrize("case", ASKING, ids=str)
def test_members_of_a_service_that_memorised_score_higher(case, tmp_path):
    """AUC 1, so 0 with the classes swapped; by a service of others: chance."""
    found = rows(made(case), SERVICE, tmp_path / "own")
    assert found.finite().all()
    score = found.matrix().mean(axis=1)
    assert roc_auc_score(MEMBER, score) == 1.0
    assert roc_auc_score(~MEMBER, score) == 0.0
    score = rows(made(case), STRANGER, tmp_path / "other").matrix().mean(axis=1)
    spread = np.sqrt(1 / (6 * N))  # of a null AUC of equal groups
    assert abs(roc_auc_score(MEMBER, score) - 0.5) < 3 * spread


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_row_is_the_images_own(case, tmp_path):
    """In batches of any size, in any order and company: the same row.

    Bitwise, but for an encoder's convolutions, whose last bit an image's place in a
    call may change; a run that is resumed computes whole parts, and so the same bits.
    """
    whole = rows(made(case), SERVICE, tmp_path / "whole").matrix()
    seen = {"rtol": 1e-5, "atol": 1e-6} if fingerprint(made(case)) else {"rtol": 0}
    cut = rows(made(case), SERVICE, tmp_path / "cut", IDS[::-1], tile=5, shard=7)
    np.testing.assert_allclose(cut.matrix(), whole, **seen)
    few = rows(made(case), SERVICE, tmp_path / "few", np.asarray([17, 3, 11]))
    np.testing.assert_allclose(few.matrix(), whole[[3, 11, 17]], **seen)
    again = rows(made(case), SERVICE, tmp_path / "again").matrix()
    np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("case", ASKING, ids=str)
def test_queries_are_those_that_were_made(case, tmp_path):
    """Images that the service was asked for: no other signal's, no calibration's."""
    asked = Reworker(PROMPTS, SHAPE)
    found = rows(made(case), asked, tmp_path)
    kept = VARIANTS[case[0]][case[1]].get("drawn")
    told = found.column(QUERIES)
    assert set(told) == {told[0]}
    assert asked.requests == 2 * N * (kept or told[0])


@pytest.mark.parametrize("name", BLIND)
def test_what_asks_no_model_says_the_same_of_any(name, tmp_path):
    asked = Reworker(PROMPTS, SHAPE)
    found = rows(made((name, 0)), asked, tmp_path / "own").matrix()
    other = rows(made((name, 0)), STRANGER, tmp_path / "other").matrix()
    np.testing.assert_array_equal(found, other)
    assert asked.requests == 0
    spread = np.sqrt(1 / (6 * N))
    for column in found.T:
        assert abs(roc_auc_score(MEMBER, column) - 0.5) < 4 * spread


def test_weights_of_an_encoder_are_part_of_what_decides():
    assert fingerprint(made(("observe", 0))) == {}
    for case in (("observe", 5), ("reconstruct", 0)):
        assert fingerprint(made(case))["of"] == made(case).encoder.fingerprint


def test_a_config_names_the_encoder_and_the_rules_that_the_papers_have():
    spec = {"name": "reconstruct", "encoder": {"name": "pixels", "size": 4}}
    assert make("signal", SIGNALS, spec) == made(("reconstruct", 0))
    assert {"gaussians", "max", "svm", "forest", "neighbours"} <= RULES.keys()
