"""Signals around a signal in a whole audit, from a config to a report's titles."""

from __future__ import annotations

import numpy as np

from score_mia import auditing
from score_mia.attacks import HostQuery
from score_mia.attacks.calibration import Compressed
from score_mia.auditing import plan as build
from score_mia.auditing.work import open_work
from score_mia.results import AuditResult
from score_mia.sde import DDPM
from tests.defects.tiny_work import config, plan
from tests.helpers import kept_model

INNER = dict(name="loss", times=4)
BEST = dict(rule=dict(name="best"), knows="split")
MIRROR = dict(flip=1.0)


def wrapped():
    made, other = config(), kept_model(DDPM(), shape=(8, 8, 1))
    signals = dict(
        calibrated=dict(name="calibrated", signal=INNER),
        against=dict(name="against", signal=INNER, folder=other),
        mirrored=dict(name="ranged", signal=INNER, count=1, asked=MIRROR),
        ranged=dict(
            **dict(name="ranged", signal=INNER, within=MIRROR, count=2, low=0.5),
            asked=MIRROR,
        ),
    )
    for name, signal in signals.items():
        made.attacks[name] = dict(signal=signal, **BEST)
    return build.plan(made)


def test_a_finished_audit_takes_them_on(tmp_path):
    folder = tmp_path / "run"
    auditing.run(plan(), folder)
    before = AuditResult.load(folder).attacks["loss"]
    auditing.run(wrapped(), folder)
    results = AuditResult.load(folder).attacks
    assert results["loss"] == before
    wrappers = {"calibrated", "against", "mirrored", "ranged"}
    assert set(results) == {"loss", *wrappers}
    for name, one in results.items():
        assert one.failed is None
        assert one.margin is not None
        asked = 8.0 if name == "ranged" else 4.0
        assert one.network_evaluations_per_image == asked
    assert "to be read beside the blind control" in results["calibrated"].title
    assert "less that of another model" in results["against"].title
    for name in ("mirrored", "ranged"):
        assert results[name].title.endswith("asked about altered images (flip 1)")

    work = open_work(wrapped(), folder)
    plain, calibrated = (work.collect(n).matrix() for n in ("loss", "calibrated"))
    ids = work.collect("loss").ids
    images = np.asarray(work.source.images(ids), np.float32)
    size = Compressed().batch(None, HostQuery(images, None, ids, ids))["bytes"]
    np.testing.assert_allclose(calibrated, plain / size, rtol=1e-5)
    (made,) = (folder / "products").glob("readelsewhere-*")
    assert (made / "manifest.json").exists()
    mirrored, ranged = (work.collect(n).matrix() for n in ("mirrored", "ranged"))
    # The mirrored image and itself, mirrored back, with the same noise.
    np.testing.assert_allclose(ranged, np.maximum(plain, mirrored), rtol=1e-4)
