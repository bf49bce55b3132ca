"""The engine: the row law, resumption, and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks.protocol import Columns, Reading
from score_mia.check import UserError
from score_mia.engine import Engine, Reader, collect
from score_mia.networks import MLP
from score_mia.parameterisation import Noise
from score_mia.rows import part_name, seconds
from score_mia.sde import VP
from score_mia.target import Target
from tests.helpers import ask, moved

SHAPE = (8, 8, 2)


@dataclasses.dataclass(frozen=True)
class Probe:
    """Loss and divergence along the noise, of one image at one time."""

    access: ClassVar = "scores"
    needs: ClassVar = ()
    time: float = 0.4

    def columns(self, model):
        return Columns(("loss", "slope"), diagnostics=("network_evaluations",))

    def __call__(self, model, query, products):
        noise = jax.random.normal(query.key, query.image.shape)
        x = model.sde.perturb(model.codec.encode(query.image), self.time, noise)
        eps = model.eps(x, self.time)
        slope = jax.jvp(lambda y: model.eps(y, self.time), (x,), (noise,))[1]
        values = [-jnp.mean((eps - noise) ** 2), jnp.mean(slope * noise)]
        return Reading(jnp.stack(values), jnp.float32(2.0))


class Images:
    digest = "images"

    def __init__(self, n: int = 400) -> None:
        self.all = np.random.default_rng(0).random((n, *SHAPE), np.float32)

    def images(self, ids: np.ndarray) -> np.ndarray:
        return self.all[ids]


def _convolve(params, x, label, condition=None):
    for w in params:
        x = jax.lax.conv_general_dilated(
            jnp.tanh(x), w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    return x


@pytest.fixture(scope="module")
def target() -> Target:
    keys = jax.random.split(jax.random.key(1), 2)
    shapes = ((3, 3, 2, 8), (3, 3, 8, 2))
    params = [0.3 * jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
    return Target(params, VP(), Noise(), _convolve)


IDS = np.random.default_rng(5).permutation(400)[:75]


def run(target, folder, signal=None, ids=IDS, seed=7, **engine):
    engine = Engine(**{"tile": 8, "shard": 32, **engine})
    reader = Reader("probe", signal or Probe(), target, Images(), seed, engine)
    return collect(reader, ids, folder)


def same(one, other):
    """Whether two readings hold the same bits."""
    pairs = [(one.ids, other.ids), (one.matrix(), other.matrix())]
    pairs.append((one.diagnostics.matrix(), other.diagnostics.matrix()))
    return one.names == other.names and all(np.array_equal(*pair) for pair in pairs)


@pytest.fixture(scope="module")
def whole(target, tmp_path_factory):
    return run(target, tmp_path_factory.mktemp("whole"), devices=1)


def test_rows_are_the_images_with_their_own_noise(target, whole):
    key = jax.random.key(7)
    for k in (0, 40, 74):
        id_ = int(whole.ids[k])
        row = jax.random.fold_in(jax.random.fold_in(key, 0), id_)
        expected = ask(Probe(), target, jnp.asarray(Images().all[id_]), row)
        np.testing.assert_allclose(whole.matrix()[k], expected[:2], rtol=2e-5)
    assert list(whole.column("network_evaluations")) == [2.0] * 75


@pytest.mark.parametrize("devices", [2, 4])
def test_device_count_changes_nothing(target, whole, tmp_path, devices):
    other = run(target, tmp_path, devices=devices)
    # The forward pass agrees to the bit, the program with a jvp to rounding.
    np.testing.assert_array_equal(other.column("loss"), whole.column("loss"))
    np.testing.assert_allclose(other.matrix(), whole.matrix(), rtol=1e-5, atol=1e-7)


def test_order_and_cut_change_no_bit(target, whole, tmp_path):
    assert same(run(target, tmp_path / "a", ids=IDS[::-1], devices=1), whole)
    assert same(run(target, tmp_path / "b", shard=10, devices=1), whole)
    half = run(target, tmp_path / "c", ids=IDS[:30], devices=1)
    # Among fewer images a row has another place in its tile, which some CPUs round by.
    rows = whole.select(np.isin(whole.ids, IDS[:30]))
    np.testing.assert_allclose(half.matrix(), rows.matrix(), rtol=1e-5, atol=1e-7)


def test_another_tile_size_agrees_to_rounding(target, whole, tmp_path):
    other = run(target, tmp_path, tile=5, devices=1)
    np.testing.assert_allclose(other.matrix(), whole.matrix(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("memory", "tile"), [(None, 8), (80, 8), (79, 7), (5, 1)])
def test_a_tile_fits_the_memory_that_it_may_take(target, whole, tmp_path, memory, tile):
    class Hungry(Probe):
        def columns(self, model):
            return super().columns(model)._replace(bytes_per_row=10)

    engine = Engine(tile=8, shard=32, devices=1, memory=memory)
    reader = Reader("probe", Hungry(), target, Images(), 7, engine)
    assert reader.tile == reader.facts["tile"] == tile
    rows = collect(reader, IDS, tmp_path)
    np.testing.assert_allclose(rows.matrix(), whole.matrix(), rtol=1e-5, atol=1e-7)


def test_seed_changes_the_noise(target, whole, tmp_path):
    other = run(target, tmp_path, seed=8, devices=1)
    assert np.all(other.column("loss") != whole.column("loss"))


def test_resumption_reuses_shards_and_changes_no_bit(target, whole, tmp_path):
    run(target, tmp_path, devices=1)
    kept = tmp_path / part_name(0, 3)
    before = kept.stat().st_mtime_ns
    (tmp_path / part_name(1, 3)).unlink()
    (tmp_path / ".part-00002-of-00003.npz.x").write_bytes(b"half a file")
    assert same(run(target, tmp_path, devices=1), whole)
    assert kept.stat().st_mtime_ns == before
    assert seconds(tmp_path) > 0


def test_another_run_in_the_same_folder_is_refused(target, tmp_path):
    run(target, tmp_path, devices=1)
    with pytest.raises(UserError, match=r"seed=7, now it is 8.*delete"):
        run(target, tmp_path, seed=8)
    with pytest.raises(UserError, match="signal="):
        run(target, tmp_path, signal=Probe(time=0.3))


def test_a_damaged_shard_is_named_and_the_others_kept(target, tmp_path):
    run(target, tmp_path, devices=1)
    part = tmp_path / part_name(1, 3)
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(UserError, match=r"part-00001-of-00003.npz is damaged.*delete"):
        run(target, tmp_path, devices=1).matrix()
    assert (tmp_path / part_name(0, 3)).exists()


def test_no_images_is_refused(target, tmp_path):
    with pytest.raises(UserError, match="no images"):
        run(target, tmp_path, ids=IDS[:0])


def test_a_signal_with_the_wrong_number_of_columns_is_refused(target, tmp_path):
    class Wrong(Probe):
        def columns(self, model):
            return super().columns(model)._replace(names=("loss",))

    with pytest.raises(UserError, match=r"returned .* for 1 names and 1 diagnostics"):
        run(target, tmp_path, signal=Wrong())


def test_non_finite_rows_are_found_by_id(target, tmp_path):
    class Broken(Probe):
        def __call__(self, model, query, products):
            reading = super().__call__(model, query, products)
            broken = query.image[0, 0, 0] > 0.9
            return reading._replace(values=jnp.where(broken, jnp.nan, reading.values))

    signals = run(target, tmp_path, signal=Broken())
    expected = [i for i in sorted(IDS) if Images().all[i, 0, 0, 0] > 0.9]
    assert list(signals.ids[~signals.finite()]) == expected
    assert len(expected) > 0


def test_precision_is_a_fact_and_what_is_usual_is_none(tmp_path):
    """Readings that are there stay theirs; others are found under their own facts."""
    network = MLP(features=8, blocks=1).build(SHAPE)
    params = moved(network.init(jax.random.key(0)), 0.1, seed=1)
    target = Target(params, VP(), Noise(scale=999.0), network.apply)

    def reader(precision):
        engine = Engine(tile=8, precision=precision)
        return Reader("probe", Probe(), target, Images(), 7, engine)

    whole, rounded, fast = map(reader, ("float32", "bfloat16", "tensorfloat32"))
    assert "precision" not in whole.facts
    assert rounded.facts == {**whole.facts, "precision": "bfloat16"}
    assert fast.facts == {**whole.facts, "precision": "tensorfloat32"}
    assert "precision" not in rounded.setting("none")
    here, there = (
        collect(r, IDS[:8], tmp_path / str(k)) for k, r in enumerate((whole, rounded))
    )
    off = np.abs(here.matrix() - there.matrix()) / np.std(here.matrix())
    assert 1e-5 < off.max() < 0.05


def test_a_network_of_ones_own_is_not_silently_rounded(target, tmp_path):
    with pytest.raises(UserError, match="cannot compute in bfloat16"):
        run(target, tmp_path, precision="bfloat16")
