"""Samplers against closed forms, published formulas and measured orders."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.registry import make
from score_mia.sampling import (
    SAMPLERS,
    Ancestral,
    Ddim,
    EulerMaruyama,
    Heun,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseDiffusion,
    Samples,
    as_picture,
    decode,
    encode,
    moves,
    sample,
    times_from,
    trajectory,
    vary,
)
from score_mia.sampling import kept as kept_module
from score_mia.sde import DDPM, EDM, SMLD, VE, VP
from tests.helpers import generate
from tests.oracles import gaussian_target, memorising_target, random_gaussian

SHAPE = (2, 2, 1)
MEAN, COVARIANCE = random_gaussian(SHAPE, seed=3)


def ended(sampler, target, x, key=None, times=None):
    """Where a run from x ends; over the sampler's own times by default."""
    times = sampler.times(target.sde) if times is None else times
    key = jax.random.key(1) if key is None else key
    return jax.jit(sampler.run)(target.denoiser, x, times, key)[0]


def exact_flow(sde, x, t_from, t_to):
    """The probability-flow map of Gaussian data from t_from to t_to, in float64."""
    values, basis = np.linalg.eigh(COVARIANCE)
    law = []
    for t in (t_from, t_to):
        alpha, std = float(sde.alpha(t)), float(sde.std(t))
        law.append((alpha * MEAN.ravel(), np.sqrt(alpha**2 * values + std**2)))
    (m0, s0), (m1, s1) = law
    z = (np.asarray(x, np.float64).ravel() - m0) @ basis / s0
    return (m1 + basis @ (z * s1)).reshape(SHAPE)


@pytest.mark.parametrize("sde", [VP(start=1e-3), EDM(0.01, 20.0)], ids=str)
@pytest.mark.parametrize(("sampler", "order"), [(Ddim(), 1.0), (Heun(), 2.0)], ids=str)
def test_order_of_convergence_to_the_exact_flow(sde, sampler, order):
    target = gaussian_target(sde, MEAN, COVARIANCE)
    x = sde.std(sde.t1) * jax.random.normal(jax.random.key(0), SHAPE)
    exact = exact_flow(sde, x, sde.t1, sde.t0)
    counts, errors = (16, 32, 64), []
    for steps in counts:
        finer = dataclasses.replace(
            sampler, steps=steps, spacing="karras", denoise=False
        )
        got = ended(finer, target, x)
        errors.append(np.abs(np.asarray(got) - exact).max())
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.25, errors


def test_adaptive_flow_meets_its_tolerance():
    for sde in (VP(start=1e-3), DDPM()):
        target = gaussian_target(sde, MEAN, COVARIANCE)
        x = sde.std(sde.t1) * jax.random.normal(jax.random.key(0), SHAPE)
        sampler = ProbabilityFlow(denoise=False)
        got = ended(sampler, target, x)
        exact = exact_flow(sde, x, sde.t1, sde.t0)
        np.testing.assert_allclose(got, exact, atol=2e-4)


def states(seed=0):
    """(x, eps, z) at every time of a 1,000-step model, from one key per time."""
    keys = jax.random.split(jax.random.key(seed), 1000)
    x, eps = jax.random.normal(jax.random.key(seed + 1), (2, 1000, *SHAPE))
    z = jax.vmap(lambda k: jax.random.normal(k, SHAPE))(keys)
    return keys, x, eps, z


def run_update(sampler, sde):
    """The sampler's move from every time, with the inputs it was given (float64)."""
    keys, x, eps, z = states()
    rows = moves(sde, sampler.times(sde))
    got = jax.vmap(lambda r, x, e, k: sampler.update(sde, r, x, e, k))(
        rows, x, eps, keys
    )
    return [np.asarray(a, np.float64) for a in (got, x, eps, z)]


def column(values):
    return np.asarray(values)[::-1].reshape(-1, 1, 1, 1)


def ddpm_schedule():
    beta = np.linspace(1e-4, 0.02, 1000)
    bar = np.cumprod(1 - beta)
    before = np.append(1.0, bar[:-1])
    return column(beta), column(bar), column(before)


def smld_schedule():
    sigma = np.geomspace(0.01, 50.0, 1000)
    return column(sigma), column(np.append(0.0, sigma[:-1]))


@pytest.mark.parametrize("variance", ["posterior", "forward"])
def test_ancestral_is_ho_algorithm_2(variance):
    got, x, eps, z = run_update(Ancestral(variance=variance), DDPM())
    beta, bar, before = ddpm_schedule()
    mean = (x - beta / np.sqrt(1 - bar) * eps) / np.sqrt(1 - beta)
    tilde = beta * (1 - before) / (1 - bar)
    std = np.sqrt(tilde if variance == "posterior" else beta)
    std[-1] = 0.0  # Algorithm 2 adds no noise in the last step
    np.testing.assert_allclose(got, mean + std * z, rtol=2e-5, atol=2e-5)


def test_ancestral_is_the_published_smld_step():
    got, x, eps, z = run_update(Ancestral(), SMLD())
    sigma, below = smld_schedule()
    mean = x + (sigma**2 - below**2) * (-eps / sigma)
    std = np.sqrt(below**2 * (sigma**2 - below**2) / sigma**2)
    # Differences of neighbouring variances lose two digits of float32.
    np.testing.assert_allclose(got, mean + std * z, rtol=2e-4, atol=1e-4)


def test_ddim_with_eta_is_equation_12_and_eta_1_is_ancestral():
    sde = DDPM()
    _, bar, before = ddpm_schedule()
    for eta in (0.0, 0.5):
        got, x, eps, z = run_update(Ddim(steps=None, eta=eta), sde)
        noise = eta * np.sqrt((1 - before) / (1 - bar) * (1 - bar / before))
        x0 = (x - np.sqrt(1 - bar) * eps) / np.sqrt(bar)
        direction = np.sqrt(1 - before - noise**2) * eps
        expected = np.sqrt(before) * x0 + direction + noise * z
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-4)
    one, *_ = run_update(Ddim(steps=None, eta=1.0), sde)
    ancestral, *_ = run_update(Ancestral(), sde)
    np.testing.assert_allclose(one, ancestral, rtol=2e-5, atol=2e-4)


def test_reverse_diffusion_is_the_published_discretisation():
    got, x, eps, z = run_update(ReverseDiffusion(), DDPM())
    beta, bar, _ = ddpm_schedule()
    noise = np.sqrt(beta) * z
    noise[-1] = 0.0  # noise_removal
    f = (np.sqrt(1 - beta) - 1) * x
    expected = x - f - beta * eps / np.sqrt(1 - bar) + noise
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)

    got, x, eps, z = run_update(ReverseDiffusion(), SMLD())
    sigma, below = smld_schedule()
    gained = sigma**2 - below**2
    noise = np.sqrt(gained) * z
    noise[-1] = 0.0
    expected = x - gained / sigma * eps + noise
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-4)


def test_euler_maruyama_is_the_published_step():
    for sde in (VP(start=1e-3), VE()):
        got, x, eps, z = run_update(EulerMaruyama(), sde)
        t = np.linspace(1, sde.t0, 1000).reshape(-1, 1, 1, 1)
        if isinstance(sde, VP):
            beta = 0.1 + 19.9 * t
            drift, g = -0.5 * beta * x, np.sqrt(beta)
            std = np.sqrt(1 - np.exp(-0.5 * t**2 * 19.9 - t * 0.1))
        else:
            std = 0.01 * 5000**t
            drift, g = 0.0, std * np.sqrt(2 * np.log(5000))
        dt = -(1 - sde.t0) / 999
        expected = x + (drift + g**2 * eps / std) * dt + g * np.sqrt(-dt) * z
        # The last move denoises (tested below), the published one is another step.
        np.testing.assert_allclose(got[:-1], expected[:-1], rtol=1e-4, atol=2e-4)


def test_langevin_step_size_is_the_published_rule():
    keys, x, eps, z = states()
    del keys
    sampler = PredictorCorrector(snr=0.16)
    for sde in (DDPM(), SMLD()):
        rows = moves(sde, sampler.times(sde))
        got = jax.vmap(sampler.correct)(rows, x, eps, z)
        beta, bar, _ = ddpm_schedule()
        sigma, _ = smld_schedule()
        is_vp = isinstance(sde, DDPM)
        score = -np.asarray(eps) / (np.sqrt(1 - bar) if is_vp else sigma)
        ratio = np.linalg.norm(z.reshape(1000, -1), axis=1) / np.linalg.norm(
            score.reshape(1000, -1), axis=1
        )
        h = 2 * (1 - beta if is_vp else 1.0) * column((0.16 * ratio[::-1]) ** 2)
        expected = x + h * score + np.sqrt(2 * h) * z
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_predictor_corrector_corrects_then_predicts_at_each_time():
    sde = SMLD(steps=12)
    target = gaussian_target(sde, MEAN, COVARIANCE)
    sampler = PredictorCorrector(corrections=2)
    x = sde.std(sde.t1) * jax.random.normal(jax.random.key(0), SHAPE)
    key = jax.random.key(1)
    got = ended(sampler, target, x, key)

    predictor, rows = ReverseDiffusion(), moves(sde, sampler.times(sde))
    for turn in range(36):
        row = jax.tree.map(lambda a, i=turn // 3: a[i], rows)
        eps, own = target.denoiser.eps(x, row.t), jax.random.fold_in(key, turn)
        if turn % 3 == 2:
            x = predictor.update(sde, row, x, eps, own)
        else:
            x = sampler.correct(row, x, eps, jax.random.normal(own, SHAPE))
    np.testing.assert_allclose(got, x, rtol=1e-4, atol=1e-5)


def test_langevin_correction_keeps_the_law_in_image_like_dimensions():
    """At snr 0.16 the stationary variance is off by about snr^2."""
    shape, variance = (8, 8, 1), 0.5
    target = gaussian_target(SMLD(), np.zeros(shape), variance * np.eye(64))
    sampler = PredictorCorrector(steps=100)
    keys = jax.random.split(jax.random.key(0), 300)
    draw = jax.jit(jax.vmap(lambda key: sample(target.denoiser, key, shape, sampler)))
    x = target.codec.encode(draw(keys))
    assert abs(float(x.mean())) < 0.03
    np.testing.assert_allclose(float(x.var()), variance, rtol=0.1)


def test_heun_is_karras_algorithm_1():
    sde = VP(start=1e-3)
    target = gaussian_target(sde, MEAN, COVARIANCE)
    sampler = Heun(steps=5)
    x = jax.random.normal(jax.random.key(0), SHAPE)
    got = ended(sampler, target, x)

    times = sampler.times(sde)
    alphas = [float(sde.alpha(float(t))) for t in times]
    s = [float(sde.std(float(t))) / a for t, a in zip(times, alphas, strict=True)] + [
        0.0
    ]
    np.testing.assert_allclose(np.diff(np.asarray(s[:-1]) ** (1 / 7), 2), 0, atol=1e-3)

    def slope(y, i):
        denoised = target.denoiser.denoised(alphas[i] * y, float(times[i]))
        return (y - denoised) / s[i]

    y = x / alphas[0]
    for i in range(5):
        d = slope(y, i)
        y_next = y + (s[i + 1] - s[i]) * d
        if s[i + 1] > 0:
            y_next = y + (s[i + 1] - s[i]) * 0.5 * (d + slope(y_next, i + 1))
        y = y_next
    np.testing.assert_allclose(got, y, rtol=1e-4, atol=1e-4)


def test_ddim_encode_decode_round_trip_is_of_first_order():
    sde = VP(start=1e-3)
    target = gaussian_target(sde, MEAN, COVARIANCE)
    image = target.codec.decode(jnp.asarray(MEAN + 0.2, jnp.float32))

    def error(steps):
        ddim = Ddim(steps=steps, spacing="karras")
        latent = jax.jit(encode, static_argnums=2)(target.denoiser, image, ddim)
        back = jax.jit(decode, static_argnums=2)(target.denoiser, latent, ddim)
        return np.abs(back - image).max(), latent

    (coarse, _), (fine, latent) = error(50), error(200)
    assert fine < 2e-2
    assert 3.0 < coarse / fine < 5.5
    exact = exact_flow(sde, target.codec.encode(image), sde.t0, sde.t1)
    np.testing.assert_allclose(latent, exact, atol=0.05)
    with pytest.raises(UserError, match="eta"):
        encode(target.denoiser, image, Ddim(eta=0.5))


def test_inversion_and_its_way_back_are_runs_over_the_same_times():
    """Up, then down: what `encode` and `decode` do is a choice of x and times."""
    sde = VP(start=1e-3)
    target = gaussian_target(sde, MEAN, COVARIANCE)
    ddim = Ddim(steps=200, spacing="karras", denoise=False)
    x = sde.alpha(sde.t0) * (jnp.asarray(MEAN, jnp.float32) + 0.2)
    times = ddim.times(sde)
    up = ended(ddim, target, x, times=times[::-1])
    np.testing.assert_allclose(up, exact_flow(sde, x, sde.t0, sde.t1), atol=0.05)
    np.testing.assert_allclose(ended(ddim, target, up), x, atol=2e-2)


@pytest.mark.parametrize("sampler", [Ddim(), Heun(), Ancestral(), ProbabilityFlow()])
def test_a_varied_image_lies_between_itself_and_the_data(sampler):
    """Little noise leaves the image, all of it forgets it; img2img of a Gaussian.

    From x_t = alpha x + std z the exact mean of x_0 is what denoising in one go gives.
    """
    sde = VP(start=1e-3)
    target = gaussian_target(sde, MEAN, 1e-3 * np.eye(4))
    far = target.codec.decode(jnp.asarray(MEAN + 1.0, jnp.float32))
    centre = np.asarray(target.codec.decode(jnp.asarray(MEAN, jnp.float32)))

    def varied(strength, steps):
        times = times_from(sampler, sde, strength, steps)
        keys = jax.random.split(jax.random.key(0), 200)
        once = jax.vmap(lambda k: vary(target.denoiser, far, times, k, sampler)[0])
        return np.asarray(jax.jit(once)(keys)).mean(axis=0)

    np.testing.assert_allclose(varied(1.0, 20), centre, atol=0.01)
    moved = np.abs(np.stack([varied(s, 1) for s in (0.02, 0.1, 0.5)]) - centre)
    assert np.all(np.diff(moved.mean(axis=(1, 2, 3))) < 0)
    t = float(times_from(sampler, sde, 0.1, 1)[0])
    alpha, std = float(sde.alpha(t)), float(sde.std(t))
    pull = 1e-3 * alpha**2 / (1e-3 * alpha**2 + std**2)
    np.testing.assert_allclose(moved[1], 0.5 * pull, atol=0.01)


def test_times_from_a_share_of_the_way():
    sde = DDPM()
    np.testing.assert_array_equal(times_from(Ddim(), sde, 1.0, 2), [999, 0])
    np.testing.assert_array_equal(times_from(Ddim(), sde, 0.3, 1), [300])
    np.testing.assert_array_equal(times_from(Ddim(), sde, 0.3, 4), [300, 200, 100, 0])
    for strength, steps, said in (
        (0.0, 5, "strength"),
        (1.5, 5, "strength"),
        (0.5, 0, "steps"),
        (0.01, 12, "more than the 11 times there"),
    ):
        with pytest.raises(UserError, match=said):
            times_from(Ddim(), sde, strength, steps)


def test_a_memorising_target_generates_its_training_images():
    images = np.random.default_rng(0).uniform(size=(3, 4, 4, 1)).astype(np.float32)
    target = memorising_target(DDPM(steps=250, beta_min=0.4, beta_max=24.0), images)
    drawn = generate(target.denoiser, 0, 24, (4, 4, 1), Ancestral())
    distance = np.abs(drawn[:, None] - images[None]).max((2, 3, 4))
    assert distance.min(1).max() < 1e-3
    assert set(distance.argmin(1)) == {0, 1, 2}


def test_images_depend_on_seed_and_index_only():
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    make_images = lambda count, **how: generate(  # noqa: E731
        target.denoiser, 5, count, SHAPE, Ancestral(steps=10), **how
    )
    whole = make_images(11, batch=64, clip=False)
    cut = make_images(11, batch=2, clip=False)
    one = make_images(7, batch=3, clip=False, devices=1)
    np.testing.assert_allclose(whole, cut, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole[:7], one, rtol=1e-5, atol=1e-6)
    assert len(np.unique(whole[:, 0, 0, 0])) == 11
    np.testing.assert_array_equal(make_images(11), np.clip(whole, 0.0, 1.0))


def kept(folder, count, first=0, **how):
    """Samples of a Gaussian target in a folder, four to a call and device."""
    target = gaussian_target(VP(), MEAN, COVARIANCE).denoiser
    how = {"tile": 4, "devices": 1, **how}
    task = Samples(target, Ancestral(steps=6), 5, SHAPE, **how)
    return task.kept(folder, count, first=first).array("images")


def test_kept_images_are_the_generated_ones(tmp_path):
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    images = generate(
        target.denoiser, 5, 11, SHAPE, Ancestral(steps=6), batch=4, devices=1
    )
    whole = kept(tmp_path, 11)
    np.testing.assert_array_equal(whole, np.rint(255 * images).astype(np.uint8))
    np.testing.assert_array_equal(as_picture(images * 3 - 1).min(), 0)
    names = sorted(p.name for p in tmp_path.glob("part-*"))
    assert names == [f"part-{i:05d}.npz" for i in (0, 1, 2)]


def test_kept_images_do_not_know_how_they_were_asked_for(tmp_path):
    """More of them later, others first, on more devices: the same bits."""
    whole = kept(tmp_path / "whole", 11)
    np.testing.assert_array_equal(kept(tmp_path / "grown", 5), whole[:5])
    np.testing.assert_array_equal(kept(tmp_path / "grown", 11), whole)
    np.testing.assert_array_equal(kept(tmp_path / "late", 4, first=6), whole[6:10])
    np.testing.assert_array_equal(kept(tmp_path / "late", 11, devices=4), whole)
    np.testing.assert_array_equal(kept(tmp_path / "late", 3), whole[:3])


def test_killed_sampling_goes_on_where_it_was(tmp_path, monkeypatch):
    whole = kept(tmp_path / "whole", 14)
    drawn, draw = [], kept_module.draw_rows

    def die(model, seed, ids, *rest, **how):
        if 8 in ids:
            raise KeyboardInterrupt
        return draw(model, seed, ids, *rest, **how)

    def note(model, seed, ids, *rest, **how):
        drawn.extend(ids)
        return draw(model, seed, ids, *rest, **how)

    monkeypatch.setattr(kept_module, "draw_rows", die)
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path / "cut", 14)
    monkeypatch.setattr(kept_module, "draw_rows", note)
    np.testing.assert_array_equal(kept(tmp_path / "cut", 14), whole)
    assert drawn == list(range(8, 16))  # whole calls
    for path in (tmp_path / "whole").glob("part-*"):
        assert path.read_bytes() == (tmp_path / "cut" / path.name).read_bytes()


def test_kept_samples_of_something_else_are_refused(tmp_path):
    kept(tmp_path, 4, made_of={"target": "one"})
    for how, said in (
        ({"made_of": {"target": "two"}}, "target='one', now it is 'two'"),
        ({"made_of": {"target": "one"}, "tile": 3}, "tile=4, now it is 3"),
    ):
        with pytest.raises(UserError, match=said):
            kept(tmp_path, 4, **how)


def test_kept_conditions_are_those_of_their_rows(tmp_path):
    target = gaussian_target(VP(), MEAN, 1e-6 * np.eye(4))
    exact = target.apply

    def shifted(params, x, label, condition):
        moved = jax.vmap(target.sde.alpha)(label) * condition
        return exact(params, x - moved[:, None, None, None], label)

    target = dataclasses.replace(target, apply=shifted)
    conditions = np.asarray([0.0, 0.2, -0.2, 0.1, -0.1], np.float32)
    task = Samples(
        *(target.denoiser, Ddim(steps=10), 0, SHAPE),
        conditions=lambda ids: conditions[(ids - 1) % 5],
        tile=2,
        devices=1,
    )
    drawn = task.kept(tmp_path, 5, first=1).array("images")
    expected = (MEAN[None] + conditions[:, None, None, None] + 1.0) / 2.0
    np.testing.assert_allclose(drawn / 255, np.clip(expected, 0, 1), atol=1e-2)


def test_conditions_reach_their_own_rows():
    target = gaussian_target(VP(), MEAN, 1e-6 * np.eye(4))
    exact = target.apply

    def shifted(params, x, label, condition):
        # The exact noise prediction for the mean moved by `condition`.
        alpha, std = jax.vmap(target.sde.alpha)(label), jax.vmap(target.sde.std)(label)
        moved = (alpha * condition)[:, None, None, None]
        del std
        return exact(params, x - moved, label)

    target = dataclasses.replace(target, apply=shifted)
    conditions = np.asarray([0.0, 0.5, -0.5], np.float32)
    drawn = generate(
        target.denoiser, 0, 3, SHAPE, Ddim(steps=10), conditions=conditions, clip=False
    )
    expected = (MEAN[None] + conditions[:, None, None, None] + 1.0) / 2.0
    np.testing.assert_allclose(drawn, expected, atol=5e-3)


def test_observer_sees_the_states_on_the_way():
    sde = DDPM()
    target = gaussian_target(sde, MEAN, COVARIANCE)
    see = lambda x, x0, t: {"x": x, "x0": x0, "t": t}  # noqa: E731
    for sampler in (
        Ddim(steps=8),
        Heun(steps=8),
        PredictorCorrector(steps=8),
        ProbabilityFlow(steps=8),
    ):
        run = jax.jit(
            lambda key, s=sampler: trajectory(target.denoiser, key, SHAPE, s, see)
        )
        image, seen = run(jax.random.key(2))
        np.testing.assert_array_equal(seen["t"], sampler.times(sde))
        expected = jax.vmap(target.denoiser.denoised)(seen["x"], seen["t"])
        np.testing.assert_allclose(seen["x0"], expected, rtol=1e-4, atol=1e-4)
        # Every one of them ends by denoising at t0.
        last = target.codec.decode(seen["x0"][-1])
        np.testing.assert_allclose(image, last, rtol=1e-4, atol=1e-5)


def test_discrete_times_are_the_models_own_and_merged():
    times = Heun(steps=400).times(DDPM())
    assert times[0] == 999.0
    assert times[-1] == 0.0
    assert np.all(np.diff(times) <= -1.0)
    assert np.all(times == np.round(times))
    assert len(Ancestral().times(DDPM())) == 1000


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "ddimm"}, "did you mean 'ddim'"),
        ({"name": "ddim", "eta": 2.0}, "eta"),
        ({"name": "heun", "spacing": "log"}, "spacing"),
        ({"name": "heun", "steps": 1}, "steps"),
        ({"name": "predictor_corrector", "predictor": "none"}, "predictor"),
        ({"name": "predictor_corrector", "snr": 0.0}, "snr"),
        ({"name": "ancestral", "variance": "large"}, "variance"),
    ],
)
def test_wrong_entries_are_told(spec, message):
    with pytest.raises(UserError, match=message):
        make("sampler", SAMPLERS, spec)


def test_too_many_steps_for_a_discrete_model():
    with pytest.raises(UserError, match="discrete steps"):
        Ancestral(steps=2000).times(DDPM())


def test_a_diverged_target_is_told():
    target = gaussian_target(VP(), np.full(SHAPE, np.nan), COVARIANCE)
    with pytest.raises(UserError, match="2 of 2"):
        generate(target.denoiser, 0, 2, SHAPE, Ddim(steps=3))


def test_unclipped_sample_is_decoded():
    target = gaussian_target(VP(), np.full(SHAPE, 3.0), 1e-8 * np.eye(4))
    image = sample(target.denoiser, jax.random.key(0), SHAPE, Ddim(steps=20))
    np.testing.assert_allclose(image, 2.0, atol=0.05)
