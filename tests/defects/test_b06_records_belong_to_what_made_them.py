"""Records were taken for those of other things: a finished folder gave back members of
the split it was made for, labels could change unseen, two signals called alike shared
their shards, samples and their distances outlived what they were made from.
"""

from __future__ import annotations

import dataclasses
import json
import types
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.data.source import ArraySource
from score_mia.engine import Engine, collect
from score_mia.files import digest, load_npz, load_sealed, save_npz, save_sealed
from score_mia.parameterisation import Noise
from score_mia.sampling import Ddim, Samples
from score_mia.sde import DDPM
from score_mia.signals import Signals
from score_mia.target import Target

IDS = np.arange(10)
MEMBER = IDS < 4


@dataclasses.dataclass(frozen=True)
class Pia:
    access: ClassVar = "scores"
    diagnostics: ClassVar = ()
    weights: object = None

    def names(self, sde):
        return ("mean",)

    def __call__(self, target, image, key, condition=None):
        return jnp.mean(image)[None]


def source(classes=None) -> ArraySource:
    pixels = np.random.default_rng(0).integers(0, 255, (10, 4, 4, 1), np.uint8)
    return ArraySource("numbers", pixels, IDS, classes)


def target() -> Target:
    def eps(params, x, label, condition=None):
        return 0.1 * x + params

    return Target(jnp.float32(0.0), DDPM(), Noise(), eps)


def read(folder, signal=None, member=MEMBER, images=None) -> Signals:
    engine = Engine(tile=2, shard=4, devices=1)
    made = (signal or Pia(), target(), images or source(), IDS, member, 0)
    return collect(*made, folder=folder, engine=engine)


def test_a_finished_folder_gives_the_members_that_are_asked_for(tmp_path):
    first = read(tmp_path)
    assert np.array_equal(first.member, MEMBER)
    other = read(tmp_path, member=~MEMBER)
    assert np.array_equal(other.member, ~MEMBER)
    assert np.array_equal(other.values, first.values)
    for part in tmp_path.glob("part-*.npz"):
        assert "member" not in np.load(part)


def test_two_signals_called_alike_do_not_share_shards(tmp_path):
    theirs = types.ModuleType("their_package")
    theirs.Pia = type("Pia", (Pia,), {"__module__": "their_package"})
    read(tmp_path)
    with pytest.raises(UserError, match=r"signal='tests.*Pia.*their_package.Pia"):
        read(tmp_path, signal=theirs.Pia())


def test_two_signals_with_other_arrays_do_not_share_shards(tmp_path):
    weights = np.zeros(5000)
    read(tmp_path, signal=Pia(weights))
    read(tmp_path, signal=Pia(weights.copy()))
    weights[2500] = 1e-12
    with pytest.raises(UserError, match="signal="):
        read(tmp_path, signal=Pia(weights))


def test_labels_are_part_of_the_data():
    labels = np.arange(10)
    plain, labelled = source(), source(labels)
    # Fixed for all time: splits of images without labels hold such digests.
    assert plain.digest == digest(IDS, plain.pixels) == "a3d51078816c81c4"
    assert labelled.digest != plain.digest
    assert source(labels[::-1]).digest != labelled.digest
    assert source(labels.copy()).digest == labelled.digest


def test_signals_of_other_labels_are_refused(tmp_path):
    read(tmp_path, images=source(np.arange(10)))
    with pytest.raises(UserError, match="signals made with source="):
        read(tmp_path, images=source(np.arange(10)[::-1]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": ["other"]}, "holds other rows than planned"),
        ({"names": "mean"}, "names is 'mean', not a list"),
        ({"provenance": {}}, "holds other rows than planned"),
        ({"diagnostic_names": [1]}, r"diagnostic_names\[0\] is 1, not a text"),
        (None, "it is None, not an object"),
    ],
)
def test_a_shard_of_something_else_is_refused(tmp_path, change, said):
    read(tmp_path)
    path = min(tmp_path.glob("part-*.npz"))
    arrays = load_npz(path, ("values", "ids", "diagnostics", "meta"))
    meta = json.loads(str(arrays["meta"]))
    meta = None if change is None else {**meta, **change}
    save_npz(path, **{**arrays, "meta": np.asarray(json.dumps(meta))})
    with pytest.raises(UserError, match=rf"part-00000.*{said}.*; delete it"):
        read(tmp_path)


def test_other_seconds_are_noticed(tmp_path):
    read(tmp_path)
    (path,) = tmp_path.glob("seconds-*.json")
    path.write_text(path.read_text().replace('"seconds": ', '"seconds": 1'))
    part = min(tmp_path.glob("part-*.npz"))
    part.unlink()
    with pytest.raises(
        UserError, match=r"seconds-00000.json is damaged.*only the time"
    ):
        read(tmp_path)


def draw(folder, count=4, offset=0.0):
    made = dataclasses.replace(target(), params=jnp.float32(offset)).denoiser
    task = Samples(
        *(made, Ddim(steps=2), 0, (3, 3, 1)),
        made_of={"target": str(offset)},
        tile=2,
        devices=1,
    )
    return task.kept(folder, count).array("images")


def test_samples_of_another_target_are_noticed_without_their_manifest(tmp_path):
    drawn = draw(tmp_path)
    (tmp_path / "manifest.json").unlink()
    assert np.array_equal(draw(tmp_path), drawn)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"part-00000.*made otherwise.*delete it"):
        draw(tmp_path, offset=0.5)


def test_a_changed_manifest_is_noticed(tmp_path):
    draw(tmp_path)
    path = tmp_path / "manifest.json"
    facts = load_sealed(path)
    path.write_text(path.read_text().replace('"target": "0.0"', '"target": "0.5"'))
    with pytest.raises(UserError, match=r"manifest.json is damaged.*samples whose own"):
        draw(tmp_path, offset=0.5)
    save_sealed(path, {**facts, "target": "0.5"})
    with pytest.raises(UserError, match=r"part-00000.*made otherwise"):
        draw(tmp_path, offset=0.5)
