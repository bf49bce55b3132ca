"""Records were taken for those of other things: a finished folder gave back members of
the split it was made for, labels could change unseen, two signals called alike shared
their shards, samples and their distances outlived what they were made from.
"""

from __future__ import annotations

import dataclasses
import types
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks.protocol import Columns, Reading
from score_mia.check import UserError
from score_mia.data.source import ArraySource
from score_mia.engine import Engine, Reader, collect
from score_mia.files import digest, load_npz, load_sealed, save_npz, save_sealed
from score_mia.parameterisation import Noise
from score_mia.readings import Readings
from score_mia.sampling import Ddim, Samples
from score_mia.sde import DDPM
from score_mia.target import Target

IDS = np.arange(10)


@dataclasses.dataclass(frozen=True)
class Pia:
    access: ClassVar = "scores"
    needs: ClassVar = ()
    weights: object = None

    def columns(self, model):
        return Columns(("mean",))

    def __call__(self, model, query, products):
        return Reading(jnp.mean(query.image)[None])


def source(classes=None) -> ArraySource:
    pixels = np.random.default_rng(0).integers(0, 255, (10, 4, 4, 1), np.uint8)
    return ArraySource("numbers", pixels, IDS, classes)


def target() -> Target:
    def eps(params, x, label, condition=None):
        return 0.1 * x + params

    return Target(jnp.float32(0.0), DDPM(), Noise(), eps)


def read(folder, signal=None, images=None) -> Readings:
    engine = Engine(tile=2, shard=4, devices=1)
    made = (signal or Pia(), target(), images or source(), 0, engine)
    return collect(Reader("mean", *made), IDS, folder)


def test_a_finished_folder_knows_no_members(tmp_path):
    assert read(tmp_path).member is None
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
        ({"ids": np.arange(4) + 1}, "holds other rows than planned"),
        ({"values": np.zeros((3, 1))}, "holds other rows than planned"),
        ({"made": np.asarray("another")}, "holds signals made otherwise"),
    ],
)
def test_a_shard_of_something_else_is_refused(tmp_path, change, said):
    read(tmp_path)
    path = min(tmp_path.glob("part-*.npz"))
    arrays = load_npz(path, ("values", "ids", "diagnostics", "made"))
    save_npz(path, **{**arrays, **change})
    with pytest.raises(UserError, match=rf"part-00000.*{said}.*; delete it"):
        read(tmp_path).matrix()


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
