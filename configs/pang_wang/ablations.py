"""What Pang & Wang 2023 (2312.08207) vary, one thing at a time, at mini size.

    python launch.py study --config=configs/pang_wang/mini.py --workdir=runs/pang_wang
    python launch.py study --config=configs/pang_wang/ablations.py --workdir=runs/varied

Similarity, encoder, images per prompt, captions, sampling steps, and members (DP-SGD
is in private.py).
Scores are means over tokens, which know no image. How the attack grows with the
fine-tuning is in configs/laion_mi/lessons.py, which captions are told in mini.py.
Attacks of one target and sampler share the images that are drawn.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
text = run_path(str(HERE.parent / "text" / "_tuned.py"))
MOST = 6
PER_PROMPT = (1, 2, 3, MOST)
SIMILARITIES = ("l1", "l2", "hamming")
ENCODERS = {
    "pooled": dict(output="pooled"),
    "random_conv": dict(encoder=dict(name="random_conv"), output="pooled"),
    "pixels": dict(encoder=dict(name="pixels")),
}
STEPS = (3, 12)
FEW = 64


def attack(config: ConfigDict, signals: dict, arg: str) -> ConfigDict:
    """Give an audit the mean of each signal; `signals` by name, what they change."""
    config.attacks = ConfigDict()
    for name, fields in signals.items():
        signal = {"name": "reconstruct", "encoder": text["seen"](arg), **fields}
        if arg == "smoke":
            signal.update(m=1, drawn=1)
        config.attacks[name] = dict(signal=signal, rule=dict(name="mean"))
    config.report = dict(samples=0, pictures=False)
    return config


def tuned(arg: str) -> ConfigDict:
    """The target of mini.py, or of its smoke run."""
    config = text["attacked"]("Variants", arg)
    config.sampler.steps = 4 if arg == "smoke" else 6
    return config


def variants(arg: str) -> ConfigDict:
    """Similarities, encoders, images per prompt, and captions of foreign images."""
    foreign = dict(text["retrieved"](text["seen"](arg)), folder="pretrain")
    signals = {f"m-{m}": dict(m=m, drawn=MOST) for m in PER_PROMPT}
    signals |= {s: dict(similarity=s, m=3, drawn=MOST) for s in SIMILARITIES}
    signals |= {n: dict(fields, m=3, drawn=MOST) for n, fields in ENCODERS.items()}
    signals["foreign"] = dict(prompt=foreign, m=1)
    return attack(tuned(arg), signals, arg)


def sampled(arg: str, steps: int) -> ConfigDict:
    """With more or fewer steps of the sampler."""
    config = tuned(arg)
    config.sampler.steps = steps
    return attack(config, {"m-1": dict(m=1)}, arg)


def trained(arg: str, members: int | None = None, **dp) -> ConfigDict:
    """Fine-tuned anew: on fewer members, equally often on each, or privately (`dp`)."""
    config = text["finetune"](arg)
    config.split.reference = 0.0
    config.sampler.steps = 4 if arg == "smoke" else 6
    if members is not None:
        del config.split
        config.split = dict(
            name="files",
            members=text["first"]("members", members),
            nonmembers=text["first"]("nonmembers", None),
            reference=0.0,
        )
        config.train.steps = config.train.steps * members // 250
    if dp:
        config.train.dp = dict(clip=1.0, delta=1e-3, **dp)
    return attack(config, {"m-1": dict(m=1)}, arg)


def get_config(arg: str = "") -> ConfigDict:
    audits = {"variants": variants(arg)}
    audits |= {f"steps-{n}": sampled(arg, n) for n in STEPS}
    audits["few"] = trained(arg, FEW)
    labels = {"variants": "fine-tuned, 250 members"}
    labels |= {f"steps-{n}": f"the same, sampled in {n} steps" for n in STEPS}
    labels["few"] = f"{FEW} members"
    return ConfigDict(
        dict(
            title="One thing at a time",
            audits=audits,
            labels=labels,
            exhibits=dict(
                attacks=dict(name="attack_table"),
                images=dict(
                    name="attack_curve",
                    curves=dict(told=[(m, "variants", f"m-{m}") for m in PER_PROMPT]),
                    across="images drawn for each candidate",
                    title="Attack power by the number of images",
                ),
            ),
        )
    )
