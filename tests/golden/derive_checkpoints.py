"""Derives checkpoint_*: files that the published codes wrote, and what they computed.

With torch, from the attack code of Hu & Pang 2023 (repository HailongHuPri/MIDM):

    python tests/golden/derive_checkpoints.py torch MIDM/attacking_diffusion_models
    python tests/golden/derive_checkpoints.py configs MIDM/diffusion_models

and, in score_mia's environment, from JAX score_sde (yang-song/score_sde):

    python tests/golden/derive_checkpoints.py jax SCORE_SDE_CHECKOUT

The models are those of their configuration files, with fewer features and levels and
smaller images. checkpoint_NAME.xz is the file itself, checkpoint_NAME.npz holds images,
noise and probe, and what their functions said of them: network outputs, the losses of
their training code and of their attack, and likelihoods. Only their random numbers are
replaced, by those of the file.
"""

from __future__ import annotations

import json
import lzma
import sys
import tempfile
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
MODELS = {
    "ddpm": "configs.vp.ddpm.ffhq_ddpm",
    "smld": "configs.ve.ffhq_ve_discr",
    "vpsde": "configs.vp.ffhq_vp_cont",
    "vesde": "configs.ve.ffhq_ve_cont",
}
STEPS = (0, 1, 10, 100, 200, 500, 600, 800, 900, 998, 999)  # labels of theirs
TIMES = (1e-5, 1e-3, 0.0211, 0.21, 0.52, 0.62, 0.8213, 0.99, 1.0)
IMAGES = 2


def weights(name: str, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    """Weights with a period of 17 numbers: dense, without symmetry, and short in xz.

    What the label has to say is weak, so that likelihoods need few evaluations.
    """
    draws = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(17)
    if len(shape) > 1:
        fan = int(np.prod(shape)) / shape[0] * (9 if len(shape) == 2 else 1)
        return np.resize(scale * draws / fan**0.5, shape).astype(np.float32)
    base = 1.0 if name.endswith(("weight", "scale")) else 0.0
    return np.resize(base + 0.3 * scale * draws, shape).astype(np.float32)


def given(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Images in [0, 1], noise and a probe of +-1, each [IMAGES, h, w, c]."""
    random = np.random.RandomState(0)
    size = (IMAGES, *shape)
    return {
        "images": random.random_sample(size).astype(np.float32),
        "noise": random.standard_normal(size).astype(np.float32),
        "probe": np.where(random.random_sample(size) < 0.5, -1, 1).astype(np.float32),
    }


def save(name: str, file: bytes, config: dict, arrays: dict[str, Any]) -> None:
    """The checkpoint and what was computed with it."""
    (HERE / f"checkpoint_{name}.xz").write_bytes(lzma.compress(file, preset=9))
    text = np.array(json.dumps(config, default=str))
    np.savez_compressed(HERE / f"checkpoint_{name}.npz", config=text, **arrays)
    size = (HERE / f"checkpoint_{name}.xz").stat().st_size
    print(name, f"{len(file)} bytes, {size} packed")
    for key, value in arrays.items():
        print("  ", key, value.shape, value.ravel()[:6])


# --- torch -------------------------------------------------------------------------


def published(name: str) -> Any:
    """Their configuration of a model."""
    import importlib

    return importlib.import_module(MODELS[name]).get_config()


def shrunk(name: str) -> Any:
    """The same, made small."""
    config = published(name)
    positions = name in ("ddpm", "smld")
    config.data.image_size = 8
    config.model.nf = 32 if positions else 4  # their DDPM has 32 groups
    config.model.ch_mult = (1,)
    config.model.num_res_blocks = 1
    config.model.attn_resolutions = (8,)
    return config


def stub_what_is_not_needed() -> None:
    """Their modules import TensorFlow and a compiler; nothing used here calls them."""
    import torch._dynamo  # looks for TensorFlow, so before the stub
    import torch.utils.cpp_extension

    torch.utils.cpp_extension.load = lambda *args, **kwargs: None
    for module in ("tensorflow", "tensorflow_datasets", "tensorflow_gan", "jax"):
        sys.modules.setdefault(module, types.ModuleType(module))
    import models.ddpm
    import models.layerspp
    import models.ncsnpp

    names = types.SimpleNamespace(**vars(torch.nn.functional))
    # NCSN++'s doubling gives the mode as the scale factor (see derive_networks).
    names.interpolate = lambda x, size, mode: torch.nn.functional.interpolate(
        x, size, mode=mode
    )
    models.layerspp.F = names


def written(config: Any, trained: bool) -> tuple[bytes, Any]:
    """A checkpoint as their training leaves it, and the model with its averages."""
    import losses
    import torch
    import utils
    from models import utils as mutils
    from models.ema import ExponentialMovingAverage

    torch.manual_seed(0)
    model = mutils.create_model(config)
    own = model.state_dict()

    def put(scale: float) -> None:
        made = {k: weights(k, tuple(v.shape), scale) for k, v in own.items()}
        made = {k: torch.from_numpy(v) for k, v in made.items() if "sigmas" not in k}
        model.load_state_dict(made, strict=False)

    put(0.5)
    ema = ExponentialMovingAverage(model.parameters(), decay=config.model.ema_rate)
    optimizer = losses.get_optimizer(config, model.parameters())
    state = {"optimizer": optimizer, "model": model, "ema": ema, "step": 0}
    put(1.0)
    if trained:
        optimise = losses.optimization_manager(config)
        step = losses.get_step_fn(process(config), True, optimise, True, True)
        batch = given((8, 8, 3))["images"].transpose(0, 3, 1, 2).copy()
        batch = torch.from_numpy(batch)
        for _ in range(3):
            step(state, batch)
    else:
        ema.update(model.parameters())
        state["step"] = 1
    with tempfile.TemporaryDirectory() as folder:
        utils.save_checkpoint(f"{folder}/checkpoint_1.pth", state)
        file = Path(f"{folder}/checkpoint_1.pth").read_bytes()
    ema.copy_to(model.parameters())
    return file, model


def process(config: Any) -> Any:
    """Their SDE of a configuration, as in their run_lib."""
    import sde_lib

    m = config.model
    if config.training.sde == "vpsde":
        return sde_lib.VPSDE(m.beta_min, m.beta_max, m.num_scales)
    return sde_lib.VESDE(m.sigma_min, m.sigma_max, m.num_scales)


class Dealt:
    """torch's random functions, dealing given numbers instead."""

    def __init__(self, **functions: Any) -> None:
        self.functions, self.kept = functions, {}

    def __enter__(self) -> None:
        import torch

        for name, function in self.functions.items():
            self.kept[name] = getattr(torch, name)
            setattr(torch, name, function)

    def __exit__(self, *_: Any) -> None:
        import torch

        for name, function in self.kept.items():
            setattr(torch, name, function)


def trained_losses(
    name: str, config: Any, model: Any, x: Any, noise: Any
) -> np.ndarray:
    """Their training loss of one image at each step or time, mean over pixels."""
    import losses
    import torch

    sde, found = process(config), []
    for at in STEPS if name in ("ddpm", "smld") else TIMES:
        if name == "ddpm":
            loss = losses.get_ddpm_loss_fn(sde, False, True)
        elif name == "smld":
            loss = losses.get_smld_loss_fn(sde, False, True)
        else:
            loss = losses.get_sde_loss_fn(sde, False, True, True, False)
        share = (at - 1e-5) / (1 - 1e-5)
        dealt = Dealt(
            randint=lambda *_, at=at, **__: torch.tensor([at]),
            rand=lambda *_, share=share, **__: torch.tensor([share]),
            randn_like=lambda _: noise,
        )
        with dealt, torch.no_grad():
            found.append(float(loss(model, x)))
    return np.array(found)


def attack_losses(name: str, config: Any, model: Any, x: Any, noise: Any) -> np.ndarray:
    """What their loss attack computes of one image at each step or time."""
    import loss_attack
    import torch

    state = {"model": model}
    times = torch.linspace(0, 1, 1000) * (1 - 1e-5) + 1e-5
    times[: len(TIMES)] = torch.tensor(TIMES)
    with Dealt(randn_like=lambda batch: noise.expand(batch.shape)):
        if name == "ddpm":
            values = loss_attack.get_loss_ddpm(state, x)
        elif name == "smld":
            values = loss_attack.get_loss_smld(state, x)
        else:
            attack = getattr(loss_attack, f"get_loss_{name}")
            values = attack(state, x, process(config), times)
    values = np.array(values)
    return values[list(STEPS)] if name in ("ddpm", "smld") else values[: len(TIMES)]


def likelihoods(name: str, config: Any, model: Any, x: Any, probe: Any) -> np.ndarray:
    """Their bits/dim of one image, and the evaluations that they took."""
    import datasets
    import likelihood

    inverse = datasets.get_data_inverse_scaler(config)
    function = likelihood.get_likelihood_fn(
        process(config), inverse, continuous=name in ("vpsde", "vesde")
    )
    with Dealt(randint_like=lambda *_, **__: (probe + 1) / 2):
        bits, _, evaluations = function(model, x)
    return np.array([float(bits), evaluations])


def derive_torch(checkout: str) -> None:
    """The four models of the paper."""
    sys.path.insert(0, checkout)
    stub_what_is_not_needed()
    import datasets
    import torch
    from models import utils as mutils

    for name in MODELS:
        config = shrunk(name)
        file, model = written(config, trained=name == "vpsde")
        arrays = given((8, 8, 3))
        nchw = {
            k: torch.from_numpy(v.transpose(0, 3, 1, 2).copy())
            for k, v in arrays.items()
        }
        x = datasets.get_data_scaler(config)(nchw["images"])
        labels = {"ddpm": [0, 999], "smld": [0, 999], "vpsde": [0.01, 999.0]}
        labels = torch.tensor(labels.get(name, [0.01, 50.0]))
        with torch.no_grad():
            y = mutils.get_model_fn(model)(x, labels)
        arrays["labels"] = labels.numpy().astype(np.float32)
        arrays["outputs"] = y.numpy().transpose(0, 2, 3, 1)
        for key, of_one in (("losses", trained_losses), ("attack", attack_losses)):
            arrays[key] = np.stack(
                [
                    of_one(name, config, model, x[i : i + 1], nchw["noise"][i : i + 1])
                    for i in range(IMAGES)
                ]
            )
        arrays["bits"] = np.stack(
            [
                likelihoods(name, config, model, x[i : i + 1], nchw["probe"][i : i + 1])
                for i in range(IMAGES)
            ]
        )
        save(name, file, config.to_dict(), arrays)


# --- JAX ---------------------------------------------------------------------------


def derive_jax(checkout: str) -> None:
    """A checkpoint of the original, whose networks still run under today's Flax."""
    sys.path.insert(0, checkout)
    import flax
    import flax.training.checkpoints  # looks for TensorFlow, so before the stub
    import jax
    import jax.numpy as jnp
    from derive_networks import CASES, configuration, inputs

    sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    flax.optim = types.SimpleNamespace(Optimizer=object)  # gone since Flax 0.6
    from models import ddpm, ncsnpp  # noqa: F401
    from models import utils as mutils

    for name in ("ddpm_smld", "ncsnpp_fourier"):
        case = CASES[name]
        config = configuration(case)
        model = mutils.get_model(case["name"])(config=config)
        x, labels = inputs(case)
        whole = labels.astype(np.int32) if case["labels"] == "positional" else labels
        shapes = jax.eval_shape(
            lambda model=model, x=x, whole=whole: model.init(
                {"params": jax.random.key(0), "dropout": jax.random.key(0)}, x, whole
            )
        )["params"]

        def filled(scale: float, shapes: Any = shapes) -> Any:
            return jax.tree_util.tree_map_with_path(
                lambda path, leaf: weights(
                    jax.tree_util.keystr(path, simple=True, separator="/"),
                    leaf.shape,
                    scale,
                ),
                shapes,
            )

        params, average = filled(1.0), filled(0.9)
        state = {
            "step": np.int32(7),
            "optimizer": {"target": params, "state": {"step": np.int32(7)}},
            "lr": 2e-4,
            "model_state": {},
            "ema_rate": 0.999,
            "params_ema": average,
            "rng": np.array([0, 42], np.uint32),
        }
        file = flax.serialization.to_bytes(state)
        y = model.apply({"params": average}, jnp.asarray(x), whole, train=False)
        settings = config.to_dict()
        settings["training"]["sde"] = "vesde"
        arrays = {"x": x, "labels": labels, "outputs": np.asarray(y)}
        save(f"jax_{name}", file, settings, arrays)


def derive_configs(checkout: str) -> None:
    """Their four configurations themselves, for configs/paper to be held against."""
    sys.path.insert(0, checkout)
    configs = {name: published(name).to_dict() for name in MODELS}
    text = json.dumps(configs, indent=1, sort_keys=True, default=str)
    (HERE / "checkpoint_configs.json").write_text(text + "\n")


if __name__ == "__main__":
    derive = {"torch": derive_torch, "jax": derive_jax, "configs": derive_configs}
    derive[sys.argv[1]](sys.argv[2])
