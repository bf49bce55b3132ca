"""A signal that may see images only is handed those of the target, and no network."""

from __future__ import annotations

import json

import numpy as np
import pytest

from score_mia import auditing
from score_mia.auditing import plan as planning
from score_mia.auditing.work import open_work
from score_mia.engine import collect
from tests.auditing.tiny import get_config

MINE = """
import dataclasses
from typing import ClassVar

import numpy as np

from score_mia.attacks.protocol import Columns, Reading

SEEN = []


@dataclasses.dataclass(frozen=True)
class Redrawn:
    strength: float = 0.3
    access: ClassVar[str] = "samples"
    needs: ClassVar[tuple] = ()

    def columns(self, model):
        return Columns(("redrawn",))

    def batch(self, model, queries, products):
        SEEN.append((type(model).__name__, hasattr(model, "denoiser"), queries.prompts))
        how = dict(strength=self.strength, steps=2)
        images = model.vary(queries.images, queries.prompts, queries.seeds, **how)
        distance = np.square(images - queries.images).mean(axis=(1, 2, 3))
        return Reading(-distance[:, None], np.zeros((len(distance), 0)))
"""


@pytest.mark.parametrize("classes", [0, 10])
def test_a_black_box_attack_on_a_target_of_ones_own(classes, tmp_path, monkeypatch):
    (tmp_path / "my_redrawn.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = get_config()
    config.train.steps = 4
    config.network.classes = classes
    config.attacks = dict(box=dict(signal=dict(name="my_redrawn:Redrawn")))
    config.report.samples = 0
    plan = planning.plan(config)
    auditing.run(plan, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics["attacks"]) == {"box"}
    import my_redrawn

    kinds, networks, prompts = zip(*my_redrawn.SEEN, strict=True)
    assert (set(kinds), set(networks)) == ({"Served"}, {False})
    assert (prompts[-1] is None) == (classes == 0)
    # An image alone is read like an image among others.
    work = open_work(plan, tmp_path / "run")
    (name,) = plan.signals
    reader = work.reader(name)
    ids = work.needed(reader)[:7]
    whole = collect(reader, work.needed(reader), work.signal_folder(reader))
    alone = reader(ids[3:4], lambda count, **figures: None)["values"]
    np.testing.assert_allclose(alone[0], whole.matrix()[3], rtol=1e-4)
