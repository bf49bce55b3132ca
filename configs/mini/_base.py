"""The studies of Hu & Pang 2023 (2301.09956) at a size that two CPU cores can learn.

The same processes, parameterisations, losses, samplers and attack protocol as in
`configs/paper`; smaller are the images (16x16), the networks (1.1 to 1.4 million
parameters), the training sets and the training length. `target(name, arg)` is the audit
of one entry of `TARGETS`; `FILE.py:smoke` runs it in seconds, with meaningless numbers.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

_paper = run_path(str(Path(__file__).parents[1] / "paper" / "_base.py"))
TIMES, loss_times = _paper["TIMES"], _paper["loss_times"]

UNET = dict(features=32, multipliers=(1, 2, 2), attention=(8,), dropout=0.0)
DDPM_NET = dict(UNET, name="ddpm", blocks=1)
NCSNPP_NET = dict(
    UNET,
    name="ncsnpp",
    blocks=1,
    block="biggan",
    fir=False,
    skip_rescale=True,
    embedding="positional",
)

MODELS = {
    "ddpm": dict(
        sde=dict(name="ddpm", beta_min=0.1, beta_max=20.0, steps=1000),
        network=dict(DDPM_NET, centered=True),
        train=dict(reduce_mean=True),
        sampler=dict(name="ancestral", variance="forward", steps=100),
    ),
    "smld": dict(
        sde=dict(name="smld", sigma_min=0.01, sigma_max=10.0, steps=1000),
        network=dict(
            DDPM_NET,
            centered=False,
            scale_by_sigma=True,
            sigma_min=0.01,
            sigma_max=10.0,
        ),
        train=dict(reduce_mean=False),
        # The published predictor, made for 1,000 steps, leaves too much noise at each
        # of 200, so brightness drifts (docs/quality.md); the posterior's step does not.
        sampler=dict(
            name="predictor_corrector", steps=200, snr=0.17, predictor="ancestral"
        ),
    ),
    "vpsde": dict(
        sde=dict(name="vp", beta_min=0.1, beta_max=20.0),
        network=dict(NCSNPP_NET, centered=True),
        train=dict(reduce_mean=True),
        sampler=dict(name="euler_maruyama", steps=200),
    ),
    "vesde": dict(
        sde=dict(name="ve", sigma_min=0.01, sigma_max=10.0),
        network=dict(NCSNPP_NET, centered=False),
        train=dict(reduce_mean=True),
        sampler=dict(name="euler_maruyama", steps=200),
    ),
}

FASHION = dict(name="bundled", dataset="fashion_mnist", size=16)
FACES = dict(name="faces", size=16)
PRIVATE = dict(clip=1.0, delta=5e-3, epsilon=10.0, accountant="pld")

# Name -> model, label, and what differs from the usual mini target.
TARGETS = {
    "ddpm": dict(model="ddpm", label="DDPM"),
    "smld": dict(model="smld", label="SMLD"),
    "vpsde": dict(model="vpsde", label="VPSDE"),
    "vesde": dict(model="vesde", label="VESDE"),
    "ddpm-256": dict(model="ddpm", label="DDPM, 256 images", members=256),
    "ddpm-1024": dict(
        model="ddpm", label="DDPM, 1,024 images", members=1024, nonmembers=400
    ),
    "smld-faces": dict(model="smld", label="SMLD, faces", data=FACES, nonmembers=300),
    "ddpm-dp": dict(model="ddpm", label="DDPM, DP-SGD, ε 10", dp=PRIVATE),
    "ddpm-dp-loose": dict(
        model="ddpm",
        label="DDPM, DP-SGD, ε 1,000, small network",
        dp=dict(PRIVATE, epsilon=1000.0),
        network=dict(features=16, groups=8),
    ),
    "ddpm-dp-improved": dict(
        model="ddpm",
        label="DDPM, DP-SGD, ε 10, 4 draws",
        dp=PRIVATE,
        # Fewer steps of more draws, for less computation: at equal ε, less noise each.
        train=dict(draws=4, flip=True, steps=250, ema=0.98),
    ),
    "ddpm-dp-1024": dict(
        model="ddpm",
        label="DDPM, DP-SGD, ε 10, 1,024 images",
        members=1024,
        dp=dict(PRIVATE, delta=4e-4),
        # What private training wants: more images, large batches, fewer weights.
        network=dict(features=16, groups=8),
        train=dict(draws=2, flip=True, steps=400, ema=0.98, batch=256),
    ),
    "ddpm-clip-only": dict(
        model="ddpm", label="clipping only", dp=dict(PRIVATE, control="clip_only")
    ),
    "ddpm-noise-only": dict(
        model="ddpm", label="noise only", dp=dict(PRIVATE, control="noise_only")
    ),
}


def target(name: str, arg: str = "") -> ConfigDict:
    """The audit of one target.

    Args:
      name: key of `TARGETS`.
      arg: "" or "smoke".
    """
    entry = TARGETS[name]
    parts = MODELS[entry["model"]]
    smoke = arg == "smoke"
    # Half as many images for the defence: nothing there reaches low rates.
    few = 400 if "dp" in entry else 800
    config = dict(
        title=f"Mini study: {entry['label']}",
        seed=0,
        data=entry.get("data", FASHION),
        split=dict(
            name="shuffled",
            members=16 if smoke else entry.get("members", 64),
            nonmembers=60 if smoke else entry.get("nonmembers", few),
            reference=0.25,
            seed=2022,
        ),
        sde=parts["sde"],
        network=dict(parts["network"], **entry.get("network", {})),
        train=dict(
            dict(
                steps=10 if smoke else 1600,
                batch=8 if smoke else 32,
                learning_rate=1e-3,
                warmup=100,
                clip=1.0,
                ema=0.995,
                flip=False,
                log_every=5 if smoke else 50,
                checkpoint_every=10 if smoke else 250,
                **parts["train"],
            ),
            **({} if smoke else entry.get("train", {})),
        ),
        attacks=dict(
            loss=dict(
                signal=dict(
                    name="loss", times=loss_times(entry["model"], 2 if smoke else 50)
                ),
                rule=dict(name="best"),
                knows="split",
            ),
            likelihood=dict(
                signal=dict(
                    name="likelihood", probes=1, evaluations=6 if smoke else 64
                ),
                rule=dict(name="column", column="log_prob"),
            ),
        ),
        sampler=parts["sampler"],
        quality=dict(
            samples=16 if smoke else 256,
            encoder=dict(name="efficientnet_lite0", size=96),
        ),
        engine=dict(tile=16, shard=128),
        report=dict(
            samples=16 if smoke else 32,
            grid_check=0 if smoke else 4,
            pictures=True,  # clothes, and faces published for research
        ),
    )
    if smoke:
        config["sampler"] = dict(name="ddim", steps=4)
        config["quality"]["encoder"] = dict(name="pixels")
    if "dp" in entry:
        config["train"]["dp"] = dict(entry["dp"])
    return ConfigDict(config)
