"""Stable Diffusion's networks against those of diffusers and transformers.

The folders in tests/golden/models were written by the torch libraries
(tests/golden/derive/stable_diffusion.py); the bound is 1e-4 of their output's RMS.
"""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.interop.diffusers import read_folder
from score_mia.networks.latent import layers
from score_mia.networks.latent.text import ClipText
from score_mia.networks.latent.unet import LatentUNet, TextUNet
from score_mia.networks.latent.vae import AutoencoderKL
from score_mia.networks.network import functional
from score_mia.sampling import Ddim
from score_mia.spec import parts
from score_mia.target import Guidance
from tests.helpers import slow

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
KINDS = ("sd1", "sd2")
BOUND = 1e-4


def off(ours, theirs):
    """The largest difference over the RMS of what torch gives."""
    theirs = np.asarray(theirs, np.float64)
    return np.abs(np.asarray(ours, np.float64) - theirs).max() / np.sqrt(
        np.mean(theirs**2)
    )


@functools.cache
def read(kind):
    """The folder's target and torch's numbers."""
    foreign = read_folder(GOLDEN / kind, place=jnp.asarray)
    target = parts(foreign.spec).target(foreign.params)
    return target, dict(np.load(GOLDEN / f"{kind}.npz")), foreign.spec


@pytest.fixture(params=KINDS)
def golden(request):
    return read(request.param)


@pytest.fixture(params=[kind if kind == "sd2" else slow(kind) for kind in KINDS])
def options(request):
    """The same, for what both kinds do in the same way."""
    return read(request.param)


def condition(tokens):
    return jnp.asarray(tokens, jnp.int32)


def test_tokens_are_transformers_number_by_number(golden):
    target, numbers, _ = golden
    prompts = ["A photo of a cat!", "two  dogs,\ton the beach; it's 10 o'clock", ""]
    told = target.conditioner({"caption": np.asarray(prompts)})
    np.testing.assert_array_equal(told, numbers["tokens"])
    np.testing.assert_array_equal(target.conditioner.null(), numbers["tokens"][2])


def test_the_text_encoder(golden):
    target, numbers, _ = golden
    context = jax.jit(target.embed)(target.params, condition(numbers["tokens"]))
    assert off(context, numbers["context"]) < BOUND


def test_the_network(golden):
    target, numbers, _ = golden
    given = (numbers["x"], numbers["t"], numbers["context"])
    assert off(jax.jit(target.apply)(target.params, *given), numbers["unet"]) < BOUND


def test_the_autoencoder(golden):
    target, numbers, _ = golden
    codec, kind = target.codec, target.codec.kind
    moments = jax.vmap(lambda image: kind.moments(codec.params, image))
    mean, log_variance = jax.jit(moments)(numbers["image"])
    assert off(mean, numbers["mean"]) < BOUND
    assert off(log_variance, numbers["logvar"]) < BOUND
    decoded = jax.jit(jax.vmap(codec.decode))(kind.scale * numbers["latent"])
    assert off(2 * decoded - 1, numbers["decoded"]) < BOUND
    image, key = jnp.asarray(numbers["image"][0]), jax.random.key(0)
    np.testing.assert_allclose(codec.encode(image), kind.scale * mean[0], atol=1e-6)
    noise = (codec.encode(image, key) / kind.scale - mean[0]) / np.exp(
        log_variance[0] / 2
    )
    np.testing.assert_allclose(
        noise, jax.random.normal(key, mean[0].shape), rtol=1e-3, atol=1e-3
    )


def test_losses_of_one_noise_at_every_step(golden):
    target, numbers, _ = golden
    clean = jnp.asarray(numbers["mean"][0]) * target.codec.kind.scale
    noise, own = jnp.asarray(numbers["noise"][0]), condition(numbers["tokens"][0])

    @jax.jit
    def loss(t):
        x = target.sde.perturb(clean, t, noise)
        error = target.denoiser.eps(x, t, own) - noise
        # Of what is predicted: v's error is eps' over alpha.
        predicts_v = type(target.parameterisation).__name__ == "Velocity"
        return jnp.mean(error**2) / (target.sde.alpha(t) ** 2 if predicts_v else 1.0)

    ours = [float(loss(jnp.float32(t))) for t in numbers["times"]]
    np.testing.assert_allclose(ours, numbers["losses"], rtol=1e-4)


def guided(target, numbers):
    null = condition(numbers["tokens"][2])
    return target.denoiser.guided(Guidance(null, 7.5))


def test_a_guided_ddim_step(golden):
    target, numbers, _ = golden
    times = numbers["ddim_t"][5:7].astype(np.float32)
    run = jax.jit(
        lambda x: Ddim(denoise=False).run(
            guided(target, numbers),
            *(x, times, jax.random.key(0), condition(numbers["tokens"][0])),
        )[0]
    )
    assert off(run(jnp.asarray(numbers["x"][0])), numbers["ddim_step"][0]) < BOUND


@pytest.mark.slow
def test_ten_steps_from_the_same_noise(golden):
    """Their last step goes to step 0's noise level, as `denoise=False` from 1 to 0."""
    target, numbers, spec = golden
    assert spec["sde"]["name"] == "betas"
    times = np.append(numbers["ddim_t"], 0).astype(np.float32)
    run = jax.jit(
        lambda x: Ddim(denoise=False).run(
            guided(target, numbers),
            *(x, times, jax.random.key(0), condition(numbers["tokens"][0])),
        )[0]
    )
    found = run(jnp.asarray(numbers["start"][0]))
    assert off(found, numbers["generated"][0]) < 10 * BOUND


@pytest.mark.slow
def test_one_row_may_need_several_weights_of_guidance(options):
    """eps = eps(null) + weight (eps(own) - eps(null)), the weight an argument."""
    target, numbers, _ = options
    x, t = jnp.asarray(numbers["x"][0]), jnp.float32(300.0)
    own, null = (condition(numbers["tokens"][i]) for i in (0, 2))
    eps = jax.jit(lambda w: target.denoiser.eps(x, t, own, Guidance(null, w)))
    free, one, hundred = (np.asarray(eps(w), np.float64) for w in (0.0, 1.0, 100.0))
    plain = jax.jit(lambda c: target.denoiser.eps(x, t, c))
    assert off(free, plain(null)) < 1e-5
    assert off(one, plain(own)) < 1e-5
    assert off(hundred, free + 100 * (one - free)) < 1e-4


# --- options and traps ---------------------------------------------------------------


def apply_with(options, **changes):
    """The network with other fields, on the same weights."""
    target, numbers, spec = options
    network = {**spec["network"], **changes}
    other = parts({**spec, "network": network}).target(target.tree)
    given = (numbers["x"], numbers["t"], numbers["context"])
    return jax.jit(other.apply)(target.params, *given), numbers["unet"]


def test_attention_in_chunks_is_the_same(options):
    unet = options[2]["network"]["unet"]
    for chunk in (64, 100):  # one of them divides the 256 pixels
        ours = apply_with(options, unet={**unet, "attention_chunk": chunk})
        assert off(*ours) < BOUND


def test_bfloat16_is_close_and_says_so(options):
    """In RMS over the output's own; these have 4 and 16 channels of large weights."""
    ours, theirs = apply_with(options, compute="bfloat16")
    apart = np.sqrt(np.mean((np.asarray(ours) - theirs) ** 2) / np.mean(theirs**2))
    assert 1e-3 < apart < 0.1


@pytest.mark.many
@pytest.mark.parametrize(
    ("field", "value"),
    [("eps", 1e-3), ("heads", [1, 1]), ("groups", 1), ("layers", 1)],
)
def test_every_field_counts(options, field, value):
    """A wrong eps, number of heads or groups is no parity; the right one is."""
    unet = options[2]["network"]["unet"]
    found = off(*apply_with(options, unet={**unet, field: value}))
    assert (found < BOUND) == (field == "layers")


def test_a_gate_has_the_exact_gelu_and_comes_second():
    x = jnp.linspace(-4, 4, 64).reshape(1, 16, 4)
    ff = layers.FeedForward(
        4, layers.Draws(jax.random.normal(jax.random.key(0), (999,)))
    )
    hidden, gate = jnp.split(ff.net[0].proj(x), 2, axis=-1)
    want = hidden * gate * 0.5 * jax.lax.erfc(-gate * np.float32(2**-0.5))
    np.testing.assert_allclose(ff.net[0](x), want, rtol=1e-5, atol=1e-6)


def test_the_encoder_of_the_autoencoder_pads_after_and_the_unet_around():
    """Ones through a kernel of ones: a corner misses what is padded."""
    found, ones = {}, jnp.ones((1, 4, 4, 1))
    for pad in ((0, 1), (1, 1)):
        halve = layers.halving(1, layers.Draws(), pad)
        halve.conv.kernel[...] = jnp.ones((3, 3, 1, 1))
        assert halve.conv.pad == pad
        found[pad] = np.asarray(halve(ones))[0, :, :, 0]
    np.testing.assert_array_equal(found[0, 1], [[9, 6], [6, 4]])
    np.testing.assert_array_equal(found[1, 1], [[4, 6], [6, 9]])


SD15 = LatentUNet()
SD21 = LatentUNet(heads=(5, 10, 20, 20), context=1024, linear=True)
OPENCLIP_H = ClipText(width=1024, hidden=4096, layers=23, heads=16, activation="gelu")


@pytest.mark.parametrize(
    ("unet", "text", "counts"),
    [
        (SD15, ClipText(), (859_520_964, 123_060_480)),
        (SD21, OPENCLIP_H, (865_910_724, 340_387_840)),
    ],
)
def test_stable_diffusion_has_the_published_parameters(unet, text, counts):
    spec = TextUNet(unet, text)
    params = jax.eval_shape(functional(spec, (64, 64, 4)).init, jax.random.key(0))
    sizes = [
        sum(leaf.size for leaf in jax.tree.leaves(params[k])) for k in ("unet", "text")
    ]
    assert tuple(sizes) == counts
    vae = jax.eval_shape(AutoencoderKL().init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(vae)) == 83_653_863
