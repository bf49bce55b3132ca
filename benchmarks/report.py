"""Time and memory of a page of many images.

    python benchmarks/report.py [ROWS [COLUMNS]]

Made-up signals of 100,000 images at 50 diffusion steps, half of them members. The first
figure is what the attack stage takes to leave its files (curves with intervals of every
column, the numbers of the attack); the second is `report` alone, in a process of its
own: no model, no data set, no JAX. Expected on one CPU core: well under a minute each,
and under 2 GB.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from score_mia.metrics.intervals import evaluate
from score_mia.readings import Readings
from score_mia.report import AttackContent, Stepped
from score_mia.report.curves import measure
from score_mia.report.files import save_attack, save_facts, save_pictures
from score_mia.results import AuditResult, SplitCounts, TargetFacts

REPORT = """
import resource, sys, time
start = time.perf_counter()
from score_mia import report
report.make(sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
assert "jax" not in sys.modules
print(f"report: {time.perf_counter() - start:.1f} s, {peak:.2f} GB at most")
"""


def leave(folder: Path, rows: int, columns: int) -> None:
    """The files of an audit with one attack."""
    rng = np.random.default_rng(0)
    member = np.arange(rows) < rows // 2
    gain = 2.0 * np.exp(-0.5 * ((np.arange(columns) - columns / 3) / 5) ** 2)
    values = rng.normal(size=(rows, columns)) + np.outer(member, gain)
    best = int(gain.argmax())
    names = tuple(f"loss@{k}" for k in range(columns))
    curves = measure(Readings.of(values, np.arange(rows), names, member))
    assert curves is not None
    time_, log_snr = np.arange(columns) * 20.0, np.linspace(9, -10, columns)
    numbers = evaluate(values[:, best], member)
    content = AttackContent(
        *("loss", numbers, values[:, best], member),
        Stepped(names, time_, log_snr, curves, best),
    )
    save_attack(folder, content, np.arange(rows), {"signals/loss": columns}, "digest")
    result = AuditResult(
        title="A page of many images",
        config="config",
        target=TargetFacts("digest"),
        split=SplitCounts(rows // 2, rows - rows // 2),
        attacks={"loss": numbers},
    )
    result.save(folder)
    save_facts(folder, result, {}, ())
    save_pictures(folder, None)


def main(rows: int = 100_000, columns: int = 50) -> None:
    """Print both figures."""
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        leave(Path(place), rows, columns)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        spent = time.perf_counter() - start
        print(f"{rows:,} rows x {columns}: {spent:.1f} s, {peak:.2f} GB to leave files")
        subprocess.run([sys.executable, "-c", REPORT, place], check=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
