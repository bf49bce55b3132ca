"""Calibration by compressed size: the number of bytes, its forms, and the engine."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from score_mia.attacks import SIGNALS, HostQuery, Observe, calibrated
from score_mia.attacks.calibration import NATS, Calibrated, CalibratedHost, Compressed
from score_mia.attacks.loss import Loss
from score_mia.attacks.protocol import fingerprint, identity
from score_mia.check import UserError
from score_mia.engine import Engine, Reader, collect
from score_mia.registry import make
from score_mia.sde import DDPM
from tests.oracles import memorising_target

SHAPE = (8, 8, 1)
RANDOM = np.random.default_rng(0)
FLAT = np.full(SHAPE, 0.5, np.float32)
NOISE = RANDOM.random(SHAPE, np.float32)
ALL = np.stack([FLAT, NOISE, *RANDOM.random((6, *SHAPE), np.float32)])
IDS = np.arange(len(ALL))


class Images:
    digest = "flat and noise"

    def images(self, ids):
        return ALL[ids]


def sizes(images, format="png"):
    n = np.zeros(len(images), np.int64)
    return Compressed(format).batch(None, HostQuery(images, None, n, n))["bytes"][:, 0]


def rows(signal, folder, name="x"):
    how = Engine(tile=4, shard=8, devices=1)
    target = memorising_target(DDPM(), ALL[:2], width=0.1)
    reader = Reader(name, signal, target, Images(), 5, how)
    return collect(reader, IDS, folder / name, products=folder / "products")


@pytest.mark.parametrize("format", ["png", "zlib"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_busy_images_take_more_bytes(format, channels):
    images = np.repeat(np.stack([FLAT, NOISE]), channels, axis=-1)
    flat, noise = sizes(images, format)
    assert 0 < flat < noise


def test_bytes_are_those_of_the_pixels_of_eight_bits():
    pixels = np.rint(255 * NOISE).astype(np.uint8)
    assert sizes(NOISE[None], "zlib")[0] == len(zlib.compress(pixels.tobytes(), 9))
    assert sizes((pixels / 255)[None].astype(np.float32)) == sizes(NOISE[None])
    with pytest.raises(UserError, match="no images of 5 channels; say format='zlib'"):
        sizes(np.zeros((1, 4, 4, 5), np.float32))
    assert sizes(np.zeros((1, 4, 4, 5), np.float32), "zlib") > 0


def test_columns_are_the_inner_ones_by_the_size_of_the_image(tmp_path):
    inner, size = Loss((100, 300)), sizes(ALL)[:, None]
    plain = rows(inner, tmp_path, "plain").matrix().astype(np.float64)
    exact = {
        "ratio": plain / size,
        "log": -np.log(-plain / size),
        "sum": plain + NATS * size,
    }
    for form, values in exact.items():
        found = rows(calibrated(inner, form), tmp_path, form)
        assert found.names == ("loss@100", "loss@300")
        np.testing.assert_allclose(found.matrix(), values, rtol=2e-5, atol=1e-6)
        assert set(found.column("network_evaluations")) == {2.0}
    assert len(list((tmp_path / "products").glob("compressed-*"))) == 1
    order = np.argsort(exact["ratio"][:, 0])
    assert (order == np.argsort(exact["log"][:, 0])).all()


def test_one_may_stand_around_another(tmp_path):
    inner, size = Loss((100,)), sizes(ALL)[:, None]
    twice = calibrated(calibrated(inner), "sum", "zlib")
    exact = rows(inner, tmp_path, "plain").matrix() / size
    exact = exact + NATS * sizes(ALL, "zlib")[:, None]
    np.testing.assert_allclose(rows(twice, tmp_path).matrix(), exact, rtol=1e-5)


def test_no_distance_has_no_logarithm_and_none_at_all_has_a_large_one():
    row = {"bytes": np.asarray([[50.0], [50.0], [50.0]], np.float32)}
    signal = calibrated(Observe(), "log")
    values = signal.changed(np.asarray([[-2.0], [0.0], [1.0]]), row)[:, 0]
    assert values[0] == pytest.approx(-np.log(2 / 50))
    assert np.isfinite(values[1])
    assert values[1] > values[0]
    assert np.isnan(values[2])


def test_it_is_as_the_inner_signal_is():
    traced, host = calibrated(Loss(3)), calibrated(Observe(steps=2))
    assert isinstance(traced, Calibrated)
    assert isinstance(host, CalibratedHost)
    assert (traced.access, host.access) == ("scores", "observed")
    assert host.needs == (*Observe(steps=2).needs, Compressed())
    target = memorising_target(DDPM(), ALL[:2])
    columns, inner = (s.columns(target.denoiser) for s in (traced, Loss(3)))
    assert columns.title == (
        "Loss at one time, by compressed size (to be read beside the blind control)"
    )
    assert columns._replace(title="", times=None) == inner._replace(
        title="", times=None
    )
    assert fingerprint(traced) == {}


def test_a_config_names_it_around_any_signal():
    spec = {"name": "calibrated", "signal": {"name": "loss", "times": 3}, "form": "log"}
    assert make("signal", SIGNALS, spec) == calibrated(Loss(3), "log")
    kinds = [{}, {"form": "log"}, {"format": "zlib"}, {"signal": {"name": "gsa"}}]
    made = [make("signal", SIGNALS, {**spec, "form": "sum", **kind}) for kind in kinds]
    assert len({identity(one) for one in made}) == 4


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"signal": {"name": "lost"}}, "did you mean 'loss'"),
        ({"signal": 3}, "is no entry"),
        ({}, "signal"),
        ({"signal": {"name": "loss"}, "form": "product"}, "form='product'"),
        ({"signal": {"name": "loss"}, "format": "jpeg"}, "format='jpeg'"),
    ],
)
def test_mistakes_are_told_in_one_line(spec, said):
    with pytest.raises(UserError, match=said) as caught:
        make("signal", SIGNALS, {"name": "calibrated", **spec})
    assert "\n" not in str(caught.value)
