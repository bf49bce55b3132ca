"""Every attack on targets that two CPU cores train: the leaderboard.

    python launch.py study --config=configs/benchmark/targets.py \
        --workdir=runs/benchmark/targets
    python launch.py study --config=configs/benchmark/mini.py \
        --workdir=runs/benchmark/mini

Its argument picks processes, seeds and size: `mini.py:ddpm,flow`, `mini.py:ddpm,0`,
`mini.py:digits`, `mini.py:smoke`; `mini.py:mine=my_package.mine:MySignal` adds a row
(docs/benchmark.md). Parts go into one workdir, in any order; the page of the whole is
made by the command without processes and seeds. Needs what `targets.py` trained with
the same argument, and of `ddpm` seed 1 for an attack on seed 0.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
base = run_path(str(HERE / "_base.py"))
GROWING = ("loss", "sima", "rediffuse", "gsa")
"""Attacks that are drawn against the length of the training."""


def get_config(arg: str = "") -> ConfigDict:
    names, seeds, smoke = base["chosen"](arg)
    more = base["rows"](arg)
    audits, labels, boards = {}, {}, {}
    for name in names:
        if name == "digits":
            continue
        for seed in seeds:
            for level in base["levels"](name, smoke):
                key = f"{name}-{seed}-{level}"
                made = base["attacked"](name, seed, level, smoke)
                audits[key] = base["with_rows"](made, more)
                labels[key] = f"{base['label'](name)}, seed {seed}, {level}"
                for board in _boards(name, seed):
                    boards.setdefault(board, {}).setdefault(level, []).append(key)
    grown = _growth(names, seeds, smoke)
    boards = {name: boards[name] for name in sorted(boards, key=_place)}
    if "digits" in names:
        audits["digits"], labels["digits"] = base["digits"](smoke), "Digits"
        boards["digits"] = {"with shadows": ["digits"]}
    return ConfigDict(
        dict(
            title="The benchmark, mini size",
            audits=audits,
            labels=labels,
            exhibits=base["exhibits"](boards, more) | grown,
        )
    )


def _growth(names: list[str], seeds: list[int], smoke: bool) -> dict[str, dict]:
    """One process's attacks against the length of its training, seeds side by side."""
    return {
        f"steps_{name}": dict(
            name="attack_curve",
            curves={
                f"{base['TITLES'][attack]}, seed {seed}": [
                    (step, f"{name}-{seed}-{level}", attack)
                    for level, step in base["levels"](name, smoke).items()
                ]
                for attack in GROWING
                for seed in seeds
            },
            across="training steps",
            title=f"Attacks by the length of the training: {base['label'](name)}",
        )
        for name in names
        if name not in base["ALONE"]
    }


def _boards(name: str, seed: int) -> list[str]:
    """The leaderboards that a target stands in."""
    made = [name] if name == "text" else ["leaderboard", name]
    return [*made, "once"] if (name, seed) == ("ddpm", 0) else made


def _place(board: str) -> bool:
    """The board of all processes first; the others stay in their order."""
    return board != "leaderboard"
