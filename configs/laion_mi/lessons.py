"""LAION-mi's lesson, twice: what a split's shift adds, and what long training adds.

    python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
    python launch.py sanitise --config=configs/laion_mi/pools.py --workdir=runs/pools
    python launch.py study --config=configs/pang_wang/mini.py --workdir=runs/pang_wang
    python launch.py study --config=configs/laion_mi/lessons.py --workdir=runs/lessons

The same three attacks, which know no image, on the pre-trained model with the pools as
they are and with the lists that are left of them; and on the fine-tuned model after a
quarter, a half and all of its steps.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
pools = run_path(str(HERE / "pools.py"))
text = run_path(str(HERE.parent / "text" / "_tuned.py"))
LISTS = Path("runs/pools")
STEPS = {"brief": 250, "half": 500, "long": None}
LAST = 1000
TITLES = {
    "loss": "loss, mean of 10 times",
    "baseline": "LAION-mi's baseline, t = 300",
    "drawn": "one image drawn, compared (black box)",
}


def attack(config: ConfigDict, arg: str) -> None:
    """Three attacks that nothing is chosen or fitted for."""
    error = dict(row="baseline", losses=("model",), draws=3)
    config.sampler.steps = 4 if arg == "smoke" else 6
    config.attacks = dict(
        loss=dict(signal=dict(name="loss", times=10), rule=dict(name="mean")),
        baseline=dict(
            signal=dict(name="score_mia.papers.laion_mi:setting", **error),
            rule=dict(name="column"),
        ),
        drawn=dict(
            signal=dict(name="reconstruct", m=1, encoder=text["seen"](arg)),
            rule=dict(name="mean"),
        ),
    )


def listed(name: str) -> list[str]:
    """A list that `sanitise` wrote; none before it has."""
    file = LISTS / name
    lines = file.read_text().splitlines() if file.is_file() else []
    return [line for line in lines if not line.startswith("#")]


def pooled(
    title: str, arg: str, trained: list[str], members: list[str], nonmembers: list[str]
) -> ConfigDict:
    """Of the pre-trained model: those are judged, and the rest of its set are known."""
    base = "runs/text/smoke" if arg == "smoke" else "runs/text/base"
    config = text["kept"](title, arg, base)
    left = sorted({*trained} - {*members})
    config.split = dict(
        name="files", members=members, nonmembers=nonmembers, reference_members=left
    )
    attack(config, arg)
    return config


def snapshot(title: str, arg: str, step: int | None) -> ConfigDict:
    """Of the fine-tuned model, after so many steps."""
    config = text["attacked"](title, arg)
    if step is not None:
        config.target.step = step // 25 if arg == "smoke" else step
    attack(config, arg)
    return config


def get_config(arg: str = "") -> ConfigDict:
    named, others, candidates = pools["names"]()
    trained = named + others
    lists = (listed("members.txt"), listed("nonmembers.txt"))
    audits = {
        "shifted": pooled(
            "Members brighter than non-members", arg, trained, named, candidates
        ),
        "mended": pooled("The same, sanitised", arg, trained, *lists),
        **{
            name: snapshot(f"Fine-tuned for {step or LAST} steps", arg, step)
            for name, step in STEPS.items()
        },
    }
    labels = {"shifted": "shifted split", "mended": "the same split, sanitised"}
    labels |= {n: f"fine-tuned, {step or LAST} steps" for n, step in STEPS.items()}
    return ConfigDict(
        dict(
            title="What a shift adds, and what long training adds",
            audits=audits,
            labels=labels,
            exhibits=dict(
                attacks=dict(name="attack_table", attacks=TITLES),
                length=dict(
                    name="attack_curve",
                    curves={
                        title: [(s or LAST, name, attack) for name, s in STEPS.items()]
                        for attack, title in TITLES.items()
                    },
                    across="steps of the fine-tuning",
                    title="The same attacks, by the length of the fine-tuning",
                ),
            ),
        )
    )
