"""docs/results/mini: what made it, what it shows, and what the pages say of it."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path

import pytest

from score_mia.auditing import study
from score_mia.auditing.sections import resolve
from score_mia.results import AuditResult

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "mini"
AUDITS = sorted(p.parent.name for p in RESULTS.glob("*/metrics.json"))
FOUR = ("ddpm", "smld", "vpsde", "vesde")


@functools.cache
def planned():
    path = ROOT / "configs" / "mini" / "study.py"
    spec = importlib.util.spec_from_file_location("mini_study", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return study.plan(module.get_config())


@functools.cache
def read(audit, name="metrics"):
    return json.loads((RESULTS / audit / f"{name}.json").read_text())


def auc(audit, attack="loss"):
    return read(audit)["attacks"][attack]["auc"]


def test_every_audit_of_the_study_was_made_by_its_config():
    """The four processes by the whole of it; the others, made by 0.1.0, as far as it
    decides the target and who is judged."""
    assert set(AUDITS) == set(planned().audits)
    decides = ("data", "split", "sde", "network", "parameterisation", "codec", "train")
    for name in AUDITS:
        kept = respelled(read(name, "config"))
        now = resolve(planned().audits[name].config)
        if name in FOUR:
            assert kept == now, name
        assert [kept[k] for k in decides] == [now[k] for k in decides], name


def respelled(config):
    """What an audit kept of its config, resolved as a config of today would be.

    What an attack knows was called its reference up to version 0.2.0.
    """
    attacks = {
        name: {"knows" if k == "reference" else k: v for k, v in attack.items()}
        for name, attack in config["attacks"].items()
    }
    return resolve({**config, "attacks": attacks})


@pytest.mark.parametrize("audit", FOUR)
def test_records_are_sealed_and_controls_beside_the_attacks(audit):
    controls = AuditResult.load(RESULTS / audit).controls
    assert None not in (controls.near_duplicates, controls.shift)
    _, low, high = controls.blind.auc.interval
    assert low < 0.5 < high


def test_every_exhibit_is_kept():
    for name, exhibit in planned().exhibits.items():
        for suffix in ("csv", "tex"):
            assert (RESULTS / "exhibits" / f"{name}.{suffix}").exists(), name
        assert exhibit.heading
    page = (RESULTS / "index.html").read_text(encoding="utf-8")
    for name in AUDITS:
        assert f'href="{name}/report/index.html"' in page
        assert (RESULTS / name / "report" / "index.html").exists()


@pytest.mark.parametrize("audit", FOUR)
def test_every_process_gives_its_members_away(audit):
    for attack in ("loss", "likelihood"):
        assert auc(audit, attack)["low"] > 0.75


def test_more_images_give_less_away():
    small, middle, large = (auc(n) for n in ("ddpm", "ddpm-256", "ddpm-1024"))
    assert small["low"] > middle["value"] > large["value"]
    assert small["low"] > 0.9
    assert large["high"] < 0.6


def test_private_training_ends_both_attacks_and_the_pictures():
    plain, private = read("ddpm"), read("ddpm-dp")
    for attack in ("loss", "likelihood"):
        assert auc("ddpm-dp", attack)["high"] < auc("ddpm", attack)["low"]
    quality = [m["target"]["quality"]["nonmembers"]["kid"] for m in (plain, private)]
    assert quality[1]["low"] > quality[0]["high"]


@pytest.mark.parametrize("audit", AUDITS)
def test_the_page_says_what_the_files_say(audit):
    page = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    assert row(audit) in page, row(audit)


def row(audit: str) -> str:
    """The audit's line of the page's table."""
    metrics = read(audit)
    cells = [f"`{audit}`", *(number(auc(audit, a)) for a in ("loss", "likelihood"))]
    tpr = metrics["attacks"]["loss"]["tpr_at_fpr"]["0.01"]
    cells.append(f"{100 * tpr['value']:.0f} [{100 * tpr['low']:.0f}, ")
    cells[-1] += f"{100 * tpr['high']:.0f}]"
    cells.append(number(metrics["target"]["quality"]["nonmembers"]["kid"]))
    counts = metrics["attacks"]["loss"]
    cells.append(f"{counts['n_members']} + {counts['n_nonmembers']}")
    return f"| {' | '.join(cells)} |"


def number(entry: dict) -> str:
    return f"{entry['value']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}]"
