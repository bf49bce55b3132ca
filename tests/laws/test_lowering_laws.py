"""What runs on accelerators must lower for them, without one: no program is compiled.

Every traced signal, network, sampler, solver and encoder of the registries, and the
training step, are lowered for CUDA and for TPU on tiny models. What cannot lower there
(a callback into Python, a call of a CPU library, float64) is found here.
"""

from __future__ import annotations

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia import device, tiles
from score_mia.attacks import SIGNALS
from score_mia.conditions import NULL, OWN
from score_mia.encoders import ENCODERS, RandomConv, ViT
from score_mia.encoders import protocol as encoders
from score_mia.engine import view
from score_mia.likelihood import (
    EXACT,
    Adaptive,
    Divergence,
    FixedGrid,
    Still,
    log_prob,
)
from score_mia.likelihood.methods import METHODS
from score_mia.networks.network import COMPUTES, Embedding, computing
from score_mia.sampling import SAMPLERS
from score_mia.sampling import draw as sampling
from score_mia.sde import VP
from score_mia.train import dp
from score_mia.train.config import Privacy, TrainConfig
from score_mia.train.step import (
    Batch,
    Layout,
    State,
    make_gradient,
    make_optimiser,
    make_program,
    make_step,
)
from tests.helpers import products_of, slow
from tests.laws import test_codec_laws as codecs
from tests.laws import test_network_laws as networks
from tests.laws import test_signal_laws as signals
from tests.oracles import gaussian_target, memorising_target
from tests.test_encoders import SMALL
from tests.test_vit import folder
from tests.train.toys import joined

PLATFORMS = ("cuda", "tpu")
CALL = re.compile(r"custom_call @([\w.]+)")
CPU_ONLY = re.compile("callback|lapack|cpu|onednn|eigen", re.IGNORECASE)
PRODUCT = re.compile(r"stablehlo\.(?:dot_general|convolution)\b.*")
MESH = 2
"""Devices that rows are spread over; a tile has one row for each."""


def lowered(program, *args):
    """The program's text, for both accelerators at once, without what may not be there.

    Where they differ, the text has both branches; what is refused by one is refused.
    """
    text = program.trace(*args).lower(lowering_platforms=PLATFORMS).as_text()
    assert not [name for name in CALL.findall(text) if CPU_ONLY.search(name)]
    assert not re.search(r"[x<]f64>", text)
    return text


def precisions(text):
    """How each product of float32 numbers is told to be computed."""
    found = set()
    for product in PRODUCT.findall(text):
        if "bf16>" not in product:
            found |= set(re.findall(r"HIGHEST|HIGH|DEFAULT", product)) or {"DEFAULT"}
    return found


def tile(*rows):
    """The same row for each device."""
    return jax.tree.map(lambda a: jnp.stack([jnp.asarray(a)] * MESH), rows)


def read(signal, target, condition=None, nothing=None, precision="float32"):
    """Text of the engine's program of a signal."""
    image, key = jnp.asarray(signals.Images.all[0]), jax.random.key(0)
    made = products_of(signal, image, key, condition, nothing)
    given = {OWN: condition, NULL: nothing}
    told = {name: value for name, value in given.items() if value is not None}
    half = np.uint32(0)
    how = signal, None, device.mesh(MESH), 0, precision
    program = tiles.program(*how)
    seen = view(target, signal.access, None, precision)
    rows = tile(image, told, half, half, made)
    return lowered(program, seen, *rows, jax.random.key_data(key))


@pytest.mark.parametrize("name", signals.TRACED)
def test_signals_lower(name):
    target = signals.remembering(name, VP(), signals.Images.all[:4])
    told = signals.TOLD.get(name, {})
    text = read(signals.made(name), target, told.get(OWN), told.get(NULL))
    assert precisions(text) <= {"HIGHEST"}


def test_every_traced_signal_is_lowered():
    traced = {n for n, part in SIGNALS.items() if not hasattr(part, "batch")}
    assert traced <= {name.partition(".")[0] for name in signals.TRACED}


@pytest.mark.parametrize("compute", COMPUTES)
@pytest.mark.parametrize(
    "name", [n if n in networks.QUICK else slow(n) for n in networks.SPECS]
)
def test_networks_and_their_gradients_lower(name, compute):
    """With dropout; in bfloat16 the parameters and their gradients stay float32."""
    network = networks.SPECS[name].build(networks.SHAPE)
    apply = computing(network.apply, compute)
    params = jax.eval_shape(network.init, jax.random.key(0))
    told = isinstance(network, Embedding)
    dropped = {"dropout_key": jax.random.key(1)} if name in networks.DROPS else {}

    def loss(params, x, label, tokens):
        told_of = network.embed(params, tokens) if told else None
        return jnp.mean(apply(params, x, label, told_of, **dropped) ** 2)

    given = (networks.X, networks.LABEL, networks.TOKENS)
    lowered(jax.jit(jax.grad(loss)), params, *given)
    gradient = jax.eval_shape(jax.grad(loss), params, *given)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_lower(name):
    shape = (1, 2, 1)
    target = gaussian_target(VP(), np.zeros(shape), np.eye(2))
    sampler = SAMPLERS[name](**({} if name == "ode" else {"steps": 4}))
    program = sampling._program(sampling.Draw(sampler, shape), MESH, 0)
    lowered(program, target.denoiser, tile(jax.random.key(0), None))


SOLVERS = {method: FixedGrid(12, method) for method in METHODS}
SOLVERS |= {"still": Still(4), "adaptive": Adaptive()}


@pytest.mark.parametrize(
    ("solver", "divergence"),
    [
        ("adams", Divergence()),
        *(slow(name, Divergence()) for name in SOLVERS if name != "adams"),
        *(slow(name, EXACT) for name in SOLVERS),
    ],
    ids=lambda given: getattr(given, "kind", given),
)
def test_likelihoods_lower_in_full_precision(solver, divergence):
    """Whatever else is to be faster: TF32 is off in every product and convolution."""
    network = networks.SPECS["ddpm"].build(networks.SHAPE)
    params = jax.eval_shape(network.init, jax.random.key(0))
    target = memorising_target(VP(), np.zeros((1, *networks.SHAPE)))
    target = dataclasses.replace(target, params=params, apply=network.apply)

    def row(target, image, key):
        how = {"divergence": divergence, "solver": SOLVERS[solver]}
        with device.precisely("tensorfloat32"):
            return log_prob(target.denoiser, image, key, **how)

    image = jnp.zeros(networks.SHAPE)
    text = lowered(device.jit(row), target, image, jax.random.key(0))
    assert "convolution" in text
    assert "dot_general" in text
    assert precisions(text) == {"HIGHEST"}


@pytest.mark.parametrize(
    ("precision", "found"),
    [("float32", "HIGHEST"), ("tensorfloat32", "HIGH"), ("bfloat16", "HIGHEST")],
)
def test_the_engines_precision_is_that_of_the_program(precision, found):
    network = networks.SPECS["ddpm"].build(signals.SHAPE)
    params = jax.eval_shape(network.init, jax.random.key(0))
    target = memorising_target(VP(), np.zeros((1, *signals.SHAPE)))
    target = dataclasses.replace(target, params=params, apply=network.apply)
    text = read(signals.made("sima"), target, precision=precision)
    assert precisions(text) == {found}
    assert ("bf16" in text) == (precision == "bfloat16")


CONFIG = TrainConfig(steps=4, batch=MESH, flip=True, warmup=2, clip=1.0)
PRIVATE = Privacy(delta=1e-3, noise_multiplier=1.0, microbatch=1)


@pytest.mark.parametrize(
    ("private", "steps"), [(False, 2), (True, 2), slow(False, 1), slow(True, 1)]
)
def test_training_steps_lower_and_give_their_state_away(private, steps):
    """One step and several in one call, as accelerators run them."""
    target = memorising_target(VP(), np.zeros((1, *networks.SHAPE)))
    form = "patches" if private else "direct"
    spec = dataclasses.replace(networks.SPECS["ddpm"], convolution=form)
    network = spec.build(networks.SHAPE)
    target = dataclasses.replace(target, apply=network.apply)
    layout = Layout(jax.eval_shape(network.init, jax.random.key(0)))
    mesh, join, config = device.mesh(MESH), joined(target), CONFIG
    if private:
        config = dataclasses.replace(config, clip=None, dp=PRIVATE)
        m = dp.mechanism(config, 8)
        gradient = dp.make_private_gradient(join, layout, config, m, mesh)
        optimiser = make_optimiser(config, dp.make_privatiser(config, m))
        rows = m.capacity
    else:
        gradient, rows = make_gradient(join, layout, config.objective), MESH
        optimiser = make_optimiser(config)
    vector = jax.ShapeDtypeStruct((layout.size,), jnp.float32)
    moments = jax.eval_shape(optimiser.init, vector)
    state = State(vector, vector, moments, jax.ShapeDtypeStruct((), jnp.int32))
    data = Batch(jax.ShapeDtypeStruct((8, *networks.SHAPE), jnp.float32))
    places = (rows,) if steps == 1 else (steps, rows)
    program = make_program(make_step(gradient, optimiser, config), mesh, True)
    indices = jax.ShapeDtypeStruct(places, jnp.int32)
    text = lowered(program, state, data, indices, jax.random.key(0))
    # Parameters, their average and both moments: no second copy of any of them.
    assert len(re.findall(r"buffer_donor|aliasing_output", text)) >= 4


@pytest.mark.parametrize("name", ["pixels", "efficientnet_lite0", "random_conv", "vit"])
def test_encoders_lower(name):
    encoder = {"vit": ViT(folder("clip")), **SMALL}[name]
    program = encoders._program(encoder, 3, "pooled")
    images = np.zeros((2, 32, 32, 3), np.float32)
    lowered(program.func, *program.args, images)


def test_every_encoder_is_lowered_but_the_one_without_weights():
    assert set(ENCODERS) == {*SMALL, "vit", "inception"}
    assert isinstance(SMALL["random_conv"], RandomConv)


@pytest.mark.parametrize("name", [*codecs.LEARNED])
def test_learned_codecs_lower(name):
    codec = codecs.LEARNED[name]
    params = jax.eval_shape(codec.init, jax.random.key(0))

    def there_and_back(params, image, key):
        return codec.decode(params, codec.encode(params, image, key))

    image = jnp.zeros((8, 8, codec.channels))
    lowered(jax.jit(there_and_back), params, image, jax.random.key(0))


def test_the_cpus_options_are_no_part_of_a_program(monkeypatch):
    """They are given to the CPU's compiler alone, and to none on another platform."""
    x = jax.ShapeDtypeStruct((4, 4), jnp.float32)
    given = []
    monkeypatch.setattr(jax, "jit", lambda f, **how: given.append(how))
    for backend in ("cpu", "cuda", "tpu"):
        monkeypatch.setattr(jax, "default_backend", lambda b=backend: b)
        device.jit(lambda a: a @ a, rounded=True)
    assert [bool(how) for how in given] == [True, False, False]
    monkeypatch.undo()
    plain = jax.jit(lambda a: a @ a).trace(x)
    ours = device.jit(lambda a: a @ a, rounded=True).trace(x)
    for platform in PLATFORMS:
        one, other = (
            traced.lower(lowering_platforms=(platform,)).as_text()
            for traced in (plain, ours)
        )
        assert one == other


def test_a_program_can_be_exported_for_accelerators():
    """As `jax.export` writes it: only calls that later versions promise to know."""
    target = memorising_target(VP(), signals.Images.all[:2])
    signal = signals.made("loss")

    def row(target, image, key):
        return signal(view(target, signal.access), signals_query(image, key)).values

    program = device.jit(row)
    image = jnp.zeros(signals.SHAPE)
    keys = jax.random.key(0)
    made = jax.export.export(program, platforms=PLATFORMS)(target, image, keys)
    assert made.platforms == PLATFORMS


def signals_query(image, key):
    return signals.Query(image, {}, key, key)
