"""What the attack stage leaves for pages and exhibits, and how they read it.

    scores/ATTACK.npz   ids, scores and roles of the images judged; what the attack
                        measured step by step: times, log-SNR, AUC and TPR curves
    facts.json          split, training, versions, device: in words; notes of attacks
    copies.json         what was found of copies among the samples (auditing.copies)
    pictures.npz        distances of samples to members; and the pictures themselves,
                        only where the config asks for them

All sealed. Nothing here needs the model, the data set, or an accelerator.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.check import require
from score_mia.files import load_npz, load_sealed, parse_json, save_npz, save_sealed
from score_mia.metrics.copies import Copies
from score_mia.metrics.roc import auc
from score_mia.report.content import (
    AttackContent,
    NearestContent,
    PerturbedContent,
    ReportContent,
    Stepped,
)
from score_mia.report.curves import ColumnCurves
from score_mia.results import METRICS, AuditResult
from score_mia.storage import locate
from score_mia.train import log
from score_mia.typed import from_json

AGAIN = "run 'attack' or 'audit' with this workdir: it is written anew"
FACTS, PICTURES, SCORES = "facts.json", "pictures.npz", "scores"
COPIES = "copies.json"
_META = {"signals": [list], "target": str, "notes": [str], "diagnostics": {str: float}}


def save_attack(
    folder: Path,
    content: AttackContent,
    ids: np.ndarray,
    signals: Mapping[str, int],
    target: str,
) -> None:
    """Write scores/ATTACK.npz.

    Args:
      folder: the workdir.
      content: the attack.
      ids: [N] of its rows.
      signals: folders of its signals, seen from the workdir, and how many columns
        each of them has.
      target: digest of the target they were read off.
    """
    meta: dict[str, Any] = {"signals": [*signals.items()], "target": target}
    meta["notes"] = [*content.notes]
    meta["diagnostics"] = dict(content.diagnostics)
    arrays = {"ids": ids, "scores": content.scores, "member": content.member}
    steps = content.stepped
    if steps is not None:
        curves = steps.curves
        rates = [rate for rate, curve in curves.tpr.items() if curve is not None]
        meta["stepped"] = {
            "names": [*steps.names],
            "chosen": steps.chosen,
            "time_label": steps.time_label,
            "rates": [*curves.tpr],
            "resolved": rates,
            "members": curves.members,
            "nonmembers": curves.nonmembers,
        }
        tpr = [curves.tpr[rate] for rate in rates]
        arrays |= {"time": steps.time, "log_snr": steps.log_snr, "auc": curves.auc}
        arrays["tpr"] = np.asarray(tpr, np.float64)
    text = np.asarray(json.dumps(meta, sort_keys=True))
    save_npz(folder / SCORES / f"{content.name}.npz", **arrays, meta=text)


def load_attack(folder: Path, name: str, audit: AuditResult) -> AttackContent:
    """Read scores/ATTACK.npz.

    Args:
      folder: the workdir.
      name: the attack's.
      audit: the numbers that the scores must belong to.

    Raises:
      UserError: it is missing, damaged, or belongs to other numbers.
    """
    result = audit.attacks[name]
    if result.failed is not None:
        return AttackContent(name, result, np.zeros(0), np.zeros(0, bool))
    path, meta = _meta(folder, name)
    arrays = load_npz(path, ("scores", "member"), remedy=AGAIN)
    scores, member = arrays["scores"], arrays["member"]
    counts = (int(member.sum()), int((~member).sum()))
    require(
        meta["target"] == audit.target.digest,
        f"{path}",
        "holds scores of another target",
        AGAIN,
    )
    require(
        counts == (result.members, result.nonmembers)
        and math.isclose(auc(scores, member), result.auc.value or 0.0, abs_tol=1e-9),
        f"{path}",
        "holds scores of other numbers than metrics.json",
        AGAIN,
    )
    return AttackContent(
        name,
        result,
        scores,
        member,
        _stepped(path, meta["stepped"]) if "stepped" in meta else None,
        meta["diagnostics"],
        tuple(meta["notes"]),
    )


def ids(folder: Path, name: str) -> np.ndarray:
    """[N] ids of the images that an attack judged, in the order of its scores."""
    path, _ = _meta(folder, name)
    return load_npz(path, ("ids",), remedy=AGAIN)["ids"]


def _meta(folder: Path, name: str) -> tuple[Path, dict[str, Any]]:
    path = folder / SCORES / f"{name}.npz"
    require(path.exists(), f"{path}", "does not exist", AGAIN)
    text = str(load_npz(path, ("meta",), remedy=AGAIN)["meta"])
    return path, parse_json(str(path), text, _META, remedy=AGAIN)


def _stepped(path: Path, meta: Mapping[str, Any]) -> Stepped:
    arrays = load_npz(path, ("time", "log_snr", "auc", "tpr"), remedy=AGAIN)
    resolved = dict(zip(meta["resolved"], arrays["tpr"], strict=True))
    tpr = {rate: resolved.get(rate) for rate in meta["rates"]}
    curves = ColumnCurves(arrays["auc"], tpr, meta["members"], meta["nonmembers"])
    axes = arrays["time"], arrays["log_snr"]
    rest = curves, meta["chosen"], meta["time_label"]
    return Stepped(tuple(meta["names"]), *axes, *rest)


def column(folder: Path, name: str, index: int) -> np.ndarray:
    """One column [N] of an attack's signal, at the rows of its scores.

    Raises:
      UserError: a shard is missing or damaged.
    """
    path, meta = _meta(folder, name)
    ids = load_npz(path, ("ids",), remedy=AGAIN)["ids"]
    ends = np.cumsum([width for _, width in meta["signals"]])
    which = int(np.searchsorted(ends, index, side="right"))
    place, width = meta["signals"][which]
    index -= int(ends[which]) - width
    made = load_sealed(folder / place / "manifest.json", remedy=AGAIN)
    require(
        made.get("target") == meta["target"],
        f"{folder / place}",
        "holds signals of another target",
        AGAIN,
    )
    every, values = [np.zeros(0, np.int64)], [np.zeros(0)]
    for part in sorted((folder / place).glob("part-*.npz")):
        arrays = load_npz(part, ("ids", "values"))
        every.append(arrays["ids"])
        values.append(arrays["values"][:, index].astype(np.float64))
    there = np.concatenate(every)
    order = np.argsort(there, kind="stable")
    places = np.searchsorted(there, ids, sorter=order)
    rows = order[np.minimum(places, len(order) - 1)] if len(order) else order
    require(
        len(rows) == len(ids) and np.array_equal(there[rows], ids),
        f"{folder / place}",
        f"does not hold the signals of every image in {path.name}",
        AGAIN,
    )
    return np.concatenate(values)[rows]


def save_facts(
    folder: Path,
    result: AuditResult,
    facts: Mapping[str, Mapping[str, str]],
    warnings: Sequence[str],
) -> None:
    """Write facts.json: sections of key and value, in their order, and warnings."""
    save_sealed(
        folder / FACTS,
        {
            "config": result.config,
            "target": result.target.digest,
            "facts": [[n, [*map(list, lines.items())]] for n, lines in facts.items()],
            "warnings": [*warnings],
        },
    )


def save_pictures(
    folder: Path,
    nearest: NearestContent | None,
    members: np.ndarray | None = None,
    nonmembers: np.ndarray | None = None,
    perturbed: PerturbedContent | None = None,
) -> None:
    """Write pictures.npz; without pictures that may be shown, distances alone."""
    parts: dict[str, np.ndarray | None] = {"members": members, "nonmembers": nonmembers}
    if nearest is not None:
        parts["distances"] = nearest.distances
        parts["among"] = np.asarray(nearest.among)
        parts |= {"samples": nearest.samples, "pairs": nearest.members}
        parts["relative"] = nearest.relative
    if perturbed is not None:
        parts["perturbed"] = perturbed.images
        parts["labels"] = np.asarray(perturbed.labels)
    arrays = {name: part for name, part in parts.items() if part is not None}
    save_npz(folder / PICTURES, **arrays, has=np.asarray([*arrays], dtype=str))


def _pictures(folder: Path) -> dict[str, Any]:
    path = folder / PICTURES
    if not path.exists():
        return {}
    has = load_npz(path, ("has",), remedy=AGAIN)["has"].tolist()
    parts = load_npz(path, has, remedy=AGAIN)
    made: dict[str, Any] = {k: parts.get(k) for k in ("members", "nonmembers")}
    if "distances" in parts:
        made["nearest"] = NearestContent(
            parts["distances"],
            int(parts["among"]),
            parts.get("samples"),
            parts.get("pairs"),
            parts.get("relative"),
        )
    if "perturbed" in parts:
        labels = tuple(parts["labels"].tolist())
        made["perturbed"] = PerturbedContent(parts["perturbed"], labels)
    return made


def load(folder: str | Path) -> ReportContent:
    """Everything that a finished audit's page shows, from the files of its workdir.

    Raises:
      UserError: a file is missing, damaged, or belongs to another run.
    """
    folder = locate(folder)
    for name in (METRICS, FACTS):
        require((folder / name).exists(), f"{folder / name}", "does not exist", AGAIN)
    result = AuditResult.load(folder, remedy=AGAIN)
    path = folder / FACTS
    shape = {"config": str, "target": str, "facts": list, "warnings": [str]}
    kept = load_sealed(path, shape, remedy=AGAIN)
    require(
        kept["config"] == result.config and kept["target"] == result.target.digest,
        f"{path}",
        "belongs to other numbers than metrics.json",
        AGAIN,
    )
    return ReportContent(
        result,
        tuple(
            load_attack(folder, name, result)
            for name in result.attacks
            if name not in result.sets
        ),
        training=log.read(folder / "target" / "train.jsonl"),
        facts={name: dict(items) for name, items in kept["facts"]},
        warnings=tuple(kept["warnings"]),
        copies=load_copies(folder, result),
        **_pictures(folder),
    )


def load_copies(folder: str | Path, result: AuditResult) -> Copies | None:
    """What copies.json says; None of an audit that looked at no samples.

    Raises:
      UserError: it is damaged, or of other numbers than these.
    """
    path = locate(folder) / COPIES
    if not path.exists():
        return None
    kept = load_sealed(path, {"target": str, "copies": dict}, remedy=AGAIN)
    same = kept["target"] == result.target.digest
    require(same, f"{path}", "belongs to other numbers than metrics.json", AGAIN)
    return from_json(Copies, kept["copies"], str(path), remedy=AGAIN)
