"""A study of attacks against what an image costs them, on the benchmark's targets."""

from collections.abc import Callable, Mapping
from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

base = run_path(str(Path(__file__).with_name("_base.py")))


def study(
    arg: str,
    title: str,
    signals: Callable[[bool], dict],
    attacks: Callable[[bool], dict],
    exhibit: Mapping,
) -> ConfigDict:
    """An audit for each target and level, and for each level a figure with its table.

    Args:
      arg: as of `targets.py`.
      title: of the study.
      signals, attacks: sections of an audit, from whether it may mean nothing.
      exhibit: its `key`, by which its files are called, `attacks` and `of`; and, if not
        all, its `levels`, and what an audit is called before its target's name.
    """
    names, seeds, smoke = base["chosen"](arg)
    audits, labels, levels = {}, {}, {}
    for name in (name for name in names if name not in base["ALONE"]):
        for seed in seeds:
            for level in exhibit.get("levels", base["LEVELS"]):
                key = f"{name}-{seed}-{level}"
                made = base["attacked"](name, seed, level, smoke)
                made.title = f"{exhibit.get('audit', title)}: {key}"
                made.signals = ConfigDict(signals(smoke))
                made.attacks = ConfigDict(attacks(smoke))
                audits[key] = made
                labels[key] = f"{base['label'](name)}, seed {seed}, {level}"
                levels.setdefault(level, []).append(key)
    exhibits = {
        f"{exhibit['key']}_{level}": dict(
            name="power",
            audits=of,
            attacks=exhibit["attacks"],
            of=exhibit["of"],
            title=level,
        )
        for level, of in levels.items()
    }
    return ConfigDict(
        dict(title=title, audits=audits, labels=labels, exhibits=exhibits)
    )
