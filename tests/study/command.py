"""What the tests of studies share: the command, config variants, and the files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np

from score_mia import cli
from score_mia.auditing import study
from score_mia.report.exhibits import Audit
from tests.helpers import signal_folder

from .tiny_study import get_config

CONFIG = Path(__file__).with_name("tiny_study.py")


def run(workdir, *rest, config=CONFIG):
    flags = [f"--config={config}", f"--workdir={workdir}", *rest]
    return cli.main(["score-mia", "study", *flags])


def variant(folder, code):
    """A config file: the tiny study after `code`, which changes `c`."""
    path = folder / "variant.py"
    path.write_text(
        "from tests.study.tiny_study import get_config as tiny\n\n\n"
        "def get_config():\n    c = tiny()\n    c.unlock()\n"
        "    with c.ignore_type():\n        " + code + "\n    return c\n"
    )
    return path


def rows(folder, name, **where):
    text = (folder / "exhibits" / f"{name}.csv").read_text()
    found = csv.DictReader(io.StringIO(text))
    return [r for r in found if all(r[k] == v for k, v in where.items())]


def metrics(folder, name):
    return json.loads((folder / name / "metrics.json").read_text())


def evaluation(folder, name, attack="loss"):
    """Values [n, K] and membership of the rows that are no reference, from files."""
    split = np.load(folder / name / "split.npz")
    used = dict(zip(split["ids"].tolist(), ~split["reference"], strict=True))
    inside = dict(zip(split["ids"].tolist(), split["member"], strict=True))
    values, member = [], []
    for path in sorted(signal_folder(folder / name, attack).glob("part-*.npz")):
        part = np.load(path)
        keep = np.array([used[i] for i in part["ids"].tolist()])
        values.append(part["values"][keep])
        member.append(np.array([inside[i] for i in part["ids"][keep].tolist()]))
    return np.concatenate(values).astype(float), np.concatenate(member)


def wins(values, member):
    """P(member > non-member) + P(equal) / 2, pair by pair."""
    inside, outside = values[member][:, None], values[~member][None]
    return np.mean((inside > outside) + 0.5 * (inside == outside))


def finished(folder, name):
    plan = study.plan(get_config()).audits[name]
    return Audit(name, name, study.planned(plan), folder / name)


def contents(folder, *parts):
    paths = [p for part in parts for p in (folder / part).rglob("*") if p.is_file()]
    return {p.relative_to(folder): p.read_bytes() for p in paths}
