"""The benchmark's mini targets and its list of attacks.

One training run a process and a seed; its snapshots are three targets: barely, half and
wholly memorised. `audits(arg)` are those of one study, by its argument: a list of
processes, seeds and "smoke" ("ddpm,flow,0,1"; nothing for all), and of further rows
("mine=my_package.mine:MySignal").
"""

from collections.abc import Mapping
from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

text = run_path(str(Path(__file__).with_name("_text.py")))
_attacks = run_path(str(Path(__file__).with_name("_attacks.py")))
BEST, cross_fit = _attacks["BEST"], _attacks["cross_fit"]
ruled, combined, titled = (_attacks[n] for n in ("ruled", "combined", "titled"))
ALONG, along = _attacks["ALONG"], _attacks["along"]
NEW = ("mirror", "peak", "learned", "errors", "weighed")
"""Attacks of ours, along log-SNR."""

SEEDS = (0, 1, 2)
STEPS = 5000
LEVELS = {"barely": STEPS // 4, "half": STEPS // 2, "memorised": STEPS}
"""Name -> training steps: 200, 400 and 800 passes over the members."""

# Half the usual width at full size, where convolutions cost most.
UNET = dict(
    features=16, multipliers=(1, 2, 4), blocks=1, attention=(8,), groups=8, dropout=0.0
)
DDPM_NET = dict(UNET, name="ddpm", centered=True)
NCSNPP_NET = dict(
    {k: v for k, v in UNET.items() if k != "groups"},
    name="ncsnpp",
    block="biggan",
    fir=False,
    skip_rescale=True,
    embedding="positional",
)

PROCESSES = {
    "ddpm": dict(
        label="DDPM",
        sde=dict(name="ddpm", beta_min=0.1, beta_max=20.0, steps=1000),
        network=DDPM_NET,
    ),
    "vp": dict(
        label="VP",
        sde=dict(name="vp", beta_min=0.1, beta_max=20.0),
        network=dict(NCSNPP_NET, centered=True),
    ),
    "ve": dict(
        label="VE",
        sde=dict(name="ve", sigma_min=0.01, sigma_max=10.0),
        network=dict(NCSNPP_NET, centered=False),
    ),
    "edm": dict(
        label="EDM",
        sde=dict(name="edm", sigma_min=0.01, sigma_max=40.0),
        network=DDPM_NET,
        train=dict(weighting="edm"),
    ),
    "flow": dict(label="Flow", sde=dict(name="rectified_flow"), network=DDPM_NET),
}
"""Name -> label, process, network and how its training differs."""
ALONE = ("digits", "text")
"""Further targets: the one with shadow models, and the one that needs configs/text."""


def chosen(arg: str) -> tuple[list[str], list[int], bool]:
    """Targets, seeds, and whether numbers may mean nothing.

    Without a name all of `PROCESSES` and the digits are taken; the text model must be
    named, since it needs a base that is trained before.

    Raises:
      ValueError: a word of the argument is none of these.
    """
    words = [word for word in arg.split(",") if word and "=" not in word]
    smoke = "smoke" in words
    seeds = [int(word) for word in words if word.isdigit()]
    names = [word for word in words if word != "smoke" and not word.isdigit()]
    known = (*PROCESSES, *ALONE)
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is unknown; known: {', '.join(known)}, smoke")
    for seed in seeds:
        if seed not in SEEDS:
            raise ValueError(f"seed {seed} is unknown; known: 0, 1, 2")
    return names or [*PROCESSES, "digits"], seeds or [*SEEDS], smoke


def rows(arg: str) -> dict[str, str]:
    """Further rows of the leaderboard: name -> the signal that is judged.

    Raises:
      ValueError: a name is taken.
    """
    made = dict(word.split("=", 1) for word in arg.split(",") if "=" in word)
    for name in made:
        if name in TITLES or name in text["TITLES"]:
            raise ValueError(f"row {name!r} is there already; give another name")
    return made


def with_rows(audit: ConfigDict, more: Mapping[str, str]) -> ConfigDict:
    """The audit, with these signals by their best column on the known images."""
    for name, signal in more.items():
        audit.attacks[name] = ConfigDict(dict(signal=dict(name=signal), **BEST))
    return audit


def levels(name: str, smoke: bool) -> dict[str, int]:
    """Name of a level -> training step of its snapshot."""
    if smoke:
        four = (5, 10, 20) if name == "text" else (4, 8, 16)
        return dict(zip(LEVELS, four, strict=True))
    return text["LEVELS"] if name == "text" else LEVELS


def label(name: str) -> str:
    """How exhibits call a process."""
    return "Text" if name == "text" else PROCESSES[name]["label"]


def folder(name: str, seed: int, smoke: bool) -> str:
    """Where a target is trained."""
    return f"runs/benchmark/{'smoke-' if smoke else ''}targets/{name}-{seed}"


def images(seed: int, smoke: bool) -> dict:
    """Sections `data` and `split`: 100 members and 300 non-members are judged."""
    split = dict(name="shuffled", reference=0.5, seed=2022 + seed)
    counts = dict(members=24, nonmembers=72) if smoke else dict(members=200)
    split = dict(split, **dict(dict(nonmembers=600), **counts))
    data = dict(name="bundled", dataset="fashion_mnist", size=16)
    return dict(data=data, split=split)


def training(steps: int, smoke: bool, **train) -> dict:
    """Section `train`."""
    usual = dict(
        steps=steps,
        batch=8 if smoke else 32,
        learning_rate=1e-3,
        warmup=100,
        clip=1.0,
        ema=0.995,
        flip=False,
        log_every=steps if smoke else 100,
        checkpoint_every=steps if smoke else 500,
        snapshot_every=steps // 4,
    )
    return dict(usual, **train)


COMMON = dict(
    engine=dict(tile=16, shard=128),
    report=dict(samples=0, grid_check=0),
    sampler=dict(name="ddim", steps=20),
)
"""Sections of every audit. The reports show no image."""


def trained(name: str, seed: int, smoke: bool) -> ConfigDict:
    """A target's training, with one attack that tells what it came to."""
    if name == "text":
        return text["trained"](seed, smoke)
    parts = PROCESSES[name]
    steps = levels(name, smoke)["memorised"]
    loss = dict(name="loss", times=2 if smoke else 10)
    return ConfigDict(
        dict(
            COMMON,
            **images(seed, smoke),
            title=f"Benchmark target: {parts['label']}, seed {seed}",
            seed=seed,
            sde=parts["sde"],
            network=parts["network"],
            train=training(steps, smoke, seed=seed, **parts.get("train", {})),
            attacks=dict(loss=dict(signal=loss, rule=dict(name="best"), knows="split")),
        )
    )


# --- attacks --------------------------------------------------------------------------

TITLES = titled(
    (
        *("loss", "loss_mc", "secmi", "secmi_head", "pia", "pian", "sima", "pfami"),
        *("dispersion", "flow", "denoise", "observe", "rediffuse", "reconstruct"),
        *("likelihood", "coarse", "gsa", "roots", "looks", "quantile", "known"),
        *("together", "everything", "calibrated", "against", *NEW),
    )
)
"""Attack -> how the leaderboard calls it."""
ONCE = ("calibrated", "against")
"""Those that are run on one target, DDPM of seed 0, only."""

PUBLISHED = {
    "loss": ".847 / 6.9 % (PIA's paper)",
    "secmi": ".881 / 9.1 %",
    "secmi_head": ".951 / 38.0 % (ResNet-18, 10,000 known images)",
    "pia": ".885 / 13.7 %",
    "pian": ".878 / 31.2 %",
    "sima": ".905 / 35.9 % (other class positive)",
    "pfami": ".803 / 8.2 % (SimA's paper, other class positive)",
    "rediffuse": ".96 / 40.7 %",
    "flow": ".751 / 3.1 % (a rectified flow)",
    "gsa": ".999 / 99.7 % (8,000 members, shadow models)",
    "roots": ".833 / 16.8 % (against CIFAR-10.1)",
}
"""AUC and TPR at 1 % FPR of each paper on CIFAR-10, which are no numbers of ours."""

GREY = ("loss", "secmi", "pia", "pian", "sima", "pfami", "dispersion", "flow")
GREY += ("copies", "errors")
"""Signals whose columns the combined grey box weighs."""
WHITE = ("likelihood", "coarse", "roots", "terms")
BLACK = ("rediffuse", "reconstruct", "observe", "denoise")


def signals(smoke: bool) -> dict:
    """Signals of a pixel model, cheap: about 400 forward passes an image in all."""
    few = 2 if smoke else 10
    return dict(
        loss=dict(name="loss", times=4 if smoke else 20),
        loss_mc=dict(name="loss", times=few, draws=4),
        secmi=dict(name="secmi"),
        apart=dict(name="secmi", pixels=(16, 16, 1)),
        pia=dict(name="pia"),
        pian=dict(name="pia", normalised=True),
        sima=dict(name="sima", times=few) if smoke else dict(name="sima"),
        pfami=dict(name="pfami", neighbours=2 if smoke else 4),
        dispersion=dict(name="dispersion"),
        flow=dict(name="flow", draws=1 if smoke else 4),
        low=dict(name="flow", places=(0.25,), draws=1 if smoke else 4),
        denoise=dict(
            name="denoise", guidance=0.0, draws=1, step=50 if smoke else 10,
            losses=("model", "latent"),
        ),
        observe=dict(name="observe", steps=3 if smoke else 8),
        rediffuse=dict(name="rediffuse", n=2 if smoke else 5),
        reconstruct=dict(
            name="reconstruct", m=1 if smoke else 3, output="pooled",
            similarity="l2", encoder=dict(name="pixels"),
            vary=dict(strength=0.3, steps=3),
        ),
        likelihood=dict(
            name="likelihood", probes=1, evaluations=6 if smoke else 32
        ),
        coarse=dict(name="likelihood", probes=1, evaluations=8, method="heun"),
        gsa=dict(name="gsa", times=1 if smoke else 3),
        roots=dict(name="roots", times=2 if smoke else 5),
        looks=dict(name="covariates"),
        **ALONG,
    )  # fmt: skip


def attacks(smoke: bool) -> dict:
    """Each signal by its paper's rule, or by the best time on the known half."""
    permutations = 2 if smoke else 20
    beside = ("low", "apart", *ALONG)
    made = ruled(name for name in signals(smoke) if name not in beside)
    every = [*GREY, *BLACK, *WHITE]
    quantile = dict(name="quantile", bag=3)
    head = dict(name="convnet", batch=32, epochs=1 if smoke else 90)
    made["secmi_head"] = dict(signals="apart", rule=head, knows="split")
    made["quantile"] = dict(signals=["low", "looks"], rule=quantile, knows="population")
    made |= along(permutations) | combined(GREY, permutations)
    made["everything"] = dict(
        signals=every, rule=dict(name="ridge"), **cross_fit(permutations)
    )
    made["cdi"] = dict(signals=[*GREY], rule=dict(name="cdi"), knows="population")
    return made


def wrappers(name: str, seed: int, smoke: bool) -> dict:
    """What stands around a signal: here around the loss."""
    loss, other = signals(smoke)["loss"], folder(name, seed, smoke)
    return dict(
        calibrated=dict(signal=dict(name="calibrated", signal=loss), **BEST),
        against=dict(signal=dict(name="against", signal=loss, folder=other), **BEST),
    )


def attacked(name: str, seed: int, level: str, smoke: bool) -> ConfigDict:
    """All attacks on one snapshot."""
    step, where = levels(name, smoke)[level], folder(name, seed, smoke)
    if name == "text":
        made = text["attacked"](seed, step, where, smoke, report=COMMON["report"])
        made.title = f"Benchmark: text, {level}, seed {seed}"
        return made
    made = ConfigDict(
        dict(
            COMMON,
            **images(seed, smoke),
            title=f"Benchmark: {label(name)}, {level}, seed {seed}",
            seed=seed,
            target=dict(name="kept", folder=where, step=step),
            signals=signals(smoke),
            attacks=attacks(smoke),
        )
    )
    if (name, seed) == ("ddpm", 0):
        made.attacks.update(wrappers(name, 1, smoke))
    return made


# --- the digits: shadow models --------------------------------------------------------

SHADOWED = {
    "loss": "Loss at one time",
    "lira": "LiRA",
    "lira_offline": "LiRA, offline",
    "rmia": "RMIA",
    "ratio": "Reference ratio",
    "quantile": "Quantile regression",
    "fitted": "Logistic, learned on shadows",
    "peak": "Peak",
    "learned_there": "Peak, weighed on shadows",
    "learned": "Peak, weighed, cross-fitted",
}
"""Attack on the digits -> how the leaderboard calls it."""


def digits(smoke: bool) -> ConfigDict:
    """A perceptron on 300 digits, with eight like it: what needs shadow models."""
    count, steps = (4, 20) if smoke else (8, 8000)
    loss = dict(name="loss", times=(50.0, 100.0, 200.0), draws=2 if smoke else 8)
    shadows, one = dict(signals="loss", knows="shadows"), "loss@100"
    rules = dict(
        lira=dict(name="lira"),
        lira_offline=dict(name="lira", online=False),
        rmia=dict(name="rmia", column=one),
        ratio=dict(name="reference_ratio", column=one),
        fitted=dict(name="logistic"),
    )
    made = {name: dict(shadows, rule=rule) for name, rule in rules.items()}
    of_peaks = {name: ALONG[name] for name in ("peak", "copies")}
    ours = along(2 if smoke else 20)
    made |= {name: ours[name] for name in ("peak", "learned")}
    weighed = dict(signals="copies", rule=dict(name="discriminant"), knows="shadows")
    made["learned_there"] = weighed
    split = dict(name="shuffled", members=600, nonmembers=600, reference=0.5)
    if smoke:
        split.update(members=60, nonmembers=100)
    return ConfigDict(
        dict(
            COMMON,
            title="Benchmark: digits, with shadow models",
            data=dict(name="bundled", dataset="digits"),
            split=split,
            sde=dict(name="ddpm"),
            network=dict(name="mlp", features=256, blocks=3),
            train=dict(training(steps, smoke, batch=64), snapshot_every=None),
            signals=dict(loss=loss, looks=dict(name="covariates"), **of_peaks),
            shadows=dict(count=count),
            attacks=dict(
                made,
                loss=dict(signals="loss", rule=dict(name="column", column=one)),
                quantile=dict(
                    signals=["loss", "looks"],
                    rule=dict(name="quantile", column=f"loss/{one}", bag=3),
                    knows="population",
                ),
                cdi=dict(signals="loss", rule=dict(name="cdi"), knows="population"),
                duci=dict(shadows, rule=dict(name="duci")),
            ),
        )
    )


# --- exhibits -------------------------------------------------------------------------


CALLED = {
    "leaderboard": "all processes",
    "once": "DDPM, seed 0, with what stands around the loss",
}


def exhibits(
    boards: Mapping[str, Mapping[str, list[str]]], more: Mapping[str, str]
) -> dict:
    """Leaderboards, of the pixel models and the text model with further rows.

    "leaderboard" is over all pixel models; those of one process have its name; "once"
    is of the target on which attacks are run that are run on no other.

    Args:
      boards: name of the board -> level -> audits.
      more: of `rows`.
    """
    made, own_rows = {}, dict(zip(more, more, strict=True))
    for name, of in boards.items():
        own = dict(name="leaderboard", levels=of)
        if name == "digits":
            own.update(title="Digits: with shadow models", attacks=SHADOWED)
        elif name == "text":
            own.update(
                title="Text: fine-tuned on captions",
                attacks={**text["TITLES"], **own_rows},
            )
        else:
            called = CALLED.get(name) or label(name)
            shown = [n for n in TITLES if name == "once" or n not in ONCE]
            titles = {n: TITLES[n] for n in shown}
            own.update(title=f"Leaderboard: {called}", attacks=titles | own_rows)
            own.update(published=PUBLISHED)
        made[name] = own
    return made
