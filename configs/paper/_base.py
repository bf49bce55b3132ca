"""What the experiments of Hu & Pang 2023 (2301.09956) share; the files beside use it.

Networks, schedules, EMA rates, learning rates and samplers are those of the authors'
configuration files (repository HailongHuPri/MIDM, diffusion_models/configs). Their
n_iters = 500001 makes 500,002 steps; the paper says 500,000, and so does this.

`FILE.py:small` is the same experiment on 64 images of Fashion-MNIST at 16x16 and a
network that two CPU cores train in ten minutes. `FILE.py:smoke` runs every stage in
about a minute, with numbers that mean nothing.
"""

import numpy as np
from ml_collections import ConfigDict

UNET = dict(
    features=128,
    multipliers=(1, 2, 2, 2),
    attention=(16,),
    dropout=0.1,
    resample_with_conv=True,
    scale_by_sigma=False,
    sigma_min=0.01,
    sigma_max=90.0,
    sigma_steps=1000,
)
DDPM_NET = dict(UNET, name="ddpm", blocks=2)
NCSNPP_NET = dict(
    UNET,
    name="ncsnpp",
    blocks=4,
    block="biggan",
    fir=False,
    skip_rescale=True,
    progressive="none",
    progressive_input="none",
    embedding="positional",
    init_scale=0.0,
)

# For each model: process, network, training, sampler, and the time of the paper's best
# row ("published" counts SMLD's levels downwards, as the paper does).
MODELS = {
    "ddpm": dict(
        sde=dict(name="ddpm", beta_min=0.1, beta_max=20.0, steps=1000),
        network=dict(DDPM_NET, centered=True),
        train=dict(learning_rate=2e-5, ema=0.9999, reduce_mean=True),
        sampler=dict(name="ancestral", variance="forward"),
        time=200.0,
        published=200.0,
    ),
    "smld": dict(
        sde=dict(name="smld", sigma_min=0.01, sigma_max=90.0, steps=1000),
        network=dict(DDPM_NET, scale_by_sigma=True, centered=False),
        train=dict(learning_rate=2e-4, ema=0.999, reduce_mean=False),
        sampler=dict(name="predictor_corrector", snr=0.17),
        time=199.0,
        published=800.0,
    ),
    "vpsde": dict(
        sde=dict(name="vp", beta_min=0.1, beta_max=20.0),
        network=dict(NCSNPP_NET, centered=True),
        train=dict(learning_rate=2e-4, ema=0.9999, reduce_mean=True),
        sampler=dict(name="euler_maruyama"),
        time=0.21,
        published=0.21,
    ),
    "vesde": dict(
        sde=dict(name="ve", sigma_min=0.01, sigma_max=50.0),
        network=dict(NCSNPP_NET, sigma_max=50.0, centered=False),
        train=dict(learning_rate=2e-4, ema=0.9999, reduce_mean=True),
        sampler=dict(name="euler_maruyama"),
        time=0.21,
        published=0.21,
    ),
}

# The steps of the paper's Tables 2 and 4 on our clock, where SMLD counts upwards too.
TIMES = {
    "ddpm": (0, 200, 500, 600, 800, 999),
    "smld": (999, 799, 499, 299, 199, 99, 0),
    "vpsde": (1.97e-4, 0.21, 0.52, 0.62, 0.72, 0.999),
    "vesde": (1.97e-4, 0.21, 0.52, 0.62, 0.82, 0.999),
}


def loss_times(model: str, count: int) -> tuple[float, ...]:
    """About so many evenly chosen times and the paper's own, ascending."""
    discrete, own = "steps" in MODELS[model]["sde"], TIMES[model]
    even = np.linspace(0 if discrete else 1e-5, 999 if discrete else 1, count)
    names = [f"{t:.4f}" for t in own]  # columns are named by four digits
    even = np.round(even, 0 if discrete else 6).tolist()
    return tuple(
        sorted({float(t) for t in own} | {t for t in even if f"{t:.4f}" not in names})
    )


def paper(
    arg: str,
    model: str,
    title: str,
    *,
    data: str = "ffhq",
    members: int = 1000,
    nonmembers: int = 4000,
    columns: int = 1000,
    train: dict | None = None,
) -> ConfigDict:
    """The config of one of the paper's experiments.

    Args:
      arg: "", "small" or "smoke".
      model: key of `MODELS`.
      title: of the report.
      data: "ffhq" or "drd", prepared in --config.data.data_dir.
      members, nonmembers: sizes; half of either is reference data for the rules.
      columns: of the loss attack, whose best is chosen on reference data.
      train: fields that differ from the model's usual training.
    """
    parts = MODELS[model]
    discrete = "steps" in parts["sde"]
    digits = 0 if discrete else 4
    config = dict(
        title=title,
        seed=0,
        data=dict(name=f"score_mia.papers.hu_pang:{data}", data_dir="data"),
        split=dict(
            name="shuffled",
            members=members,
            nonmembers=nonmembers,
            reference=0.5,
            seed=2022,
        ),
        sde=parts["sde"],
        network=parts["network"],
        train=dict(
            parts["train"],
            steps=500_000,
            batch=32,
            seed=42,
            beta1=0.9,
            epsilon=1e-8,
            warmup=5000,
            clip=1.0,
            flip=True,
            log_every=50,
            checkpoint_every=10_000,
            snapshot_every=50_000,
        ),
        attacks=dict(
            loss=dict(
                signal=dict(name="loss", times=loss_times(model, columns)),
                rule=dict(name="best"),
                knows="split",
            ),
            loss_at_their_time=_column("loss", parts["time"], digits),
            likelihood=dict(
                signal=dict(name="likelihood"),
                rule=dict(name="column", column="log_prob"),
            ),
            loss_as_published=_column(
                "score_mia.papers.hu_pang:PublishedLoss", parts["published"], digits
            ),
            likelihood_as_published=dict(
                signal=dict(name="score_mia.papers.hu_pang:PublishedLikelihood"),
                rule=dict(name="column", column="log_prob"),
            ),
        ),
        sampler=parts["sampler"],
        quality=dict(samples=1000, encoder=dict(name="efficientnet_lite0")),
        engine=dict(tile=64, shard=512),
        # Faces and retinas of people: no pictures, unless whoever runs this may hand
        # them on (--config.report.pictures=True; a study says so for each audit).
        report=dict(samples=64, grid_check=16, pictures=False),
    )
    config["train"].update(train or {})
    for name, change in (("small", _small), ("smoke", _smoke)):
        if arg == name:
            change(config, model)
    return ConfigDict(config)


def _column(signal: str, time: float, digits: int) -> dict:
    """The attack at one time, fixed beforehand."""
    return dict(
        signal=dict(name=signal, times=(time,)),
        rule=dict(name="column", column=f"loss@{time:.{digits}f}"),
    )


def _small(config: dict, model: str) -> None:
    """Grey 16x16 images and a network of a million weights."""
    config["data"] = dict(name="bundled", dataset="fashion_mnist", size=16)
    config["split"].update(members=64, nonmembers=200)
    small = dict(features=32, multipliers=(1, 2, 2), blocks=1, attention=(8,))
    config["network"] = dict(config["network"], **small, dropout=0.0)
    every = dict(log_every=50, checkpoint_every=250, snapshot_every=None)
    config["train"].update(steps=1500, learning_rate=1e-3, ema=0.995, flip=False)
    config["train"].update(warmup=100, **every)
    config["attacks"]["loss"]["signal"]["times"] = loss_times(model, 50)
    config["attacks"]["likelihood"]["signal"]["probes"] = 1
    del config["attacks"]["likelihood_as_published"]  # an hour on two CPU cores
    config["sampler"] = dict(config["sampler"], steps=100)
    config["quality"] = dict(samples=64, encoder="random_conv")
    config["engine"] = dict(tile=16, shard=64)
    config["report"] = dict(samples=16, grid_check=4, pictures=True)


def _smoke(config: dict, model: str) -> None:
    """Every stage in a minute: a few steps of the smallest network."""
    config["data"] = dict(name="bundled", dataset="digits", size=8, channels=3)
    config["split"].update(members=16, nonmembers=60)
    small = dict(multipliers=(1,), blocks=1, attention=(8,))
    small["features"] = 32 if config["network"]["name"] == "ddpm" else 8
    config["network"] = dict(config["network"], **small)
    every = dict(log_every=5, checkpoint_every=10, snapshot_every=10)
    config["train"].update(steps=10, batch=8, warmup=5, **every)
    attacks = config["attacks"]
    attacks["loss"]["signal"]["times"] = loss_times(model, 2)
    attacks["likelihood"]["signal"].update(probes=1, evaluations=6)
    attacks["likelihood_as_published"]["signal"].update(rtol=1e-2, atol=1e-2)
    config["sampler"] = dict(config["sampler"], steps=5)
    config["quality"] = dict(samples=16, encoder="pixels")
    config["engine"] = dict(tile=8, shard=64)
    config["report"] = dict(samples=16, replicates=100, grid_check=0, pictures=True)
