"""The bill: evaluations as they are counted, FLOP as a perceptron has them."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from score_mia.auditing.bill import Evaluation, Stage, bill, evaluation, stages
from score_mia.auditing.costs import costs
from score_mia.auditing.hardware import CHIPS, measured_rate
from score_mia.auditing.plan import plan
from score_mia.auditing.ready import abstract_target
from score_mia.check import UserError
from score_mia.engine import Engine, Reader, collect
from score_mia.networks.network import Network
from score_mia.spec import parts
from tests.auditing.tiny import get_config

ONE = Evaluation(10.0, 30.0, 8, 4, 6)
M, N = 48, 7


def tiny(**changed):
    config = get_config()
    for path, value in changed.items():
        section, field = path.split("__")
        config[section][field] = value
    return plan(config)


def found(one):
    source = one.source()
    split = one.split(source)
    target = abstract_target(one, source.shape)
    return stages(one, costs(one, target, split, source.shape))


def test_flops_of_a_perceptron_are_those_of_its_products():
    spec = {
        "network": {"name": "mlp", "features": 8, "blocks": 1},
        "sde": {"name": "vp"},
        "parameterisation": {"name": "noise"},
        "codec": {"name": "affine"},
        "shape": (4, 4, 3),
    }

    def apply(params, x, label, condition=None):
        flat = x.reshape(len(x), M) @ params["up"] @ params["down"]
        return flat.reshape(x.shape)

    network = Network(lambda key: None, apply)
    model = parts(spec)._replace(network=network)
    shapes = {"up": (M, N), "down": (N, M)}
    params = {k: jax.ShapeDtypeStruct(s, np.float32) for k, s in shapes.items()}
    one = evaluation(model, params, None)
    # 2 m n for each of both products, of a batch of one.
    assert one.forward == 2 * (2 * M * N)
    # Backward: both weights' gradients and the hidden layer's; and the squares.
    assert one.both == pytest.approx(2.5 * one.forward, abs=4 * M)
    assert one.weights == 4 * 2 * M * N


def test_evaluations_are_those_that_are_counted(tmp_path):
    one = tiny()
    source = one.source()
    split = one.split(source)
    model = one.known.at(source.shape)
    target = model.target(model.init(jax.random.key(0)))
    billed = {stage.name: stage.passes for stage in found(one)}
    for name, signal in one.signals.items():
        how = Engine(tile=8, shard=64, devices=1)
        reader = Reader(name, signal, target, source, 0, how)
        rows = collect(reader, one.needed(name, split), tmp_path / name)
        # A derivative along a probe is billed as one more forward pass.
        each = 1 + 1 if name == "likelihood" else 1
        assert each * rows.column("network_evaluations").sum() == billed[name] > 0


def test_training_is_billed_forward_and_backward():
    (train, *_) = found(tiny(train__draws=3))
    assert (train.passes, train.trained, train.calls) == (0.0, 60 * 8 * 3, 60 * 3)
    assert train.flops(ONE) == 60 * 8 * 3 * 30.0


def test_shadows_are_trained_and_read():
    config = get_config().unlock()
    config.shadows = dict(count=2)
    config.attacks.lira = dict(signals="loss", rule=dict(name="lira"), knows="shadows")
    config.signals = dict(loss=dict(name="loss", times=4))
    del config.attacks["loss"]
    made = {stage.name: stage for stage in found(plan(config))}
    shadows, train, loss = made["shadows"], made["train"], made["loss"]
    assert shadows.trained == 2 * train.trained
    # Each shadow's own images are as many as the target's.
    assert shadows.passes == 2 * loss.passes


def test_samples_and_controls_are_billed():
    config = get_config().unlock()
    config.report.samples = 5
    config.controls = ["untrained", "generated"]
    one = plan(config)
    made = {stage.name: stage for stage in found(one)}
    assert made["samples"].passes == 5 * one.sampler.evaluations(one.model.sde)
    read = [name for attack in one.attacks for name in attack.signals]
    assert made["control untrained"].passes == sum(made[n].passes for n in read)
    images = {n: len(one.needed(n, one.split(one.source()))) for n in read}
    each = sum(made[n].passes / images[n] for n in read)
    assert made["control generated"].passes == 5 * each
    config.report.samples, config.controls = 0, ["blind"]
    assert {s.name for s in found(plan(config))} == {"train", *one.signals}


def test_a_reading_is_billed_as_it_is_multiplied():
    h100, v5e = (next(c for c in CHIPS if c.name == n) for n in ("H100", "v5e"))
    assert h100.rate(None) == h100.rate("tensorfloat32") == h100.single
    assert h100.rate("float32") == h100.float32
    assert 6 * v5e.rate("float32") == 3 * v5e.rate("tensorfloat32") == v5e.bf16
    assert v5e.rate(None) == v5e.rate("bfloat16") == v5e.bf16
    how = {stage.name: stage.precision for stage in found(tiny())}
    assert how["train"] is None
    assert how["loss"] == "float32"
    assert measured_rate("bfloat16") > 0


def test_hours_are_those_of_the_slower_of_products_and_memory():
    stage = Stage("x", 3600.0 * 6, 0.0, 3600.0)
    assert stage.hours(ONE, 20.0, None) == 3.0
    assert stage.hours(ONE, 20.0, 8 / 5) == 5.0
    assert Stage("x", None).flops(ONE) is None


def test_a_bill_names_its_formula_its_devices_and_every_stage():
    text = bill(tiny(), 0.25)
    assert "evaluations x FLOP / (25% of peak)" in text
    for word in ("H100", "A100", "v5e", "v5p", "train", "loss", "likelihood", "all"):
        assert word in text
    assert "64 members" not in text
    with pytest.raises(UserError, match="share"):
        bill(tiny(), 0.0)
