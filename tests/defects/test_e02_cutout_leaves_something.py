"""`train.cutout=1000` was accepted: a network trained on grey images only."""

from __future__ import annotations

import pytest

from score_mia.check import UserError
from score_mia.train.config import TrainConfig
from score_mia.train.loop import train
from tests.train.toys import MLP, images


@pytest.mark.parametrize("cutout", [4, 1000])
def test_a_cutout_as_large_as_the_images_is_refused(cutout, tmp_path):
    config = TrainConfig(steps=1, batch=2, cutout=cutout)
    data = images(4, (4, 4, 1))
    spec = {**MLP, "shape": [4, 4, 1]}
    with pytest.raises(UserError, match=rf"train.cutout={cutout}: covers .* 4x4"):
        train(spec, data, config, tmp_path / "target")
    assert not (tmp_path / "target").exists()
