"""From a study's config to its audits' plans and its exhibits, every mistake told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from score_mia.auditing import plan as build
from score_mia.auditing.plan import Plan
from score_mia.check import UserError, did_you_mean, file_name, one_of, require
from score_mia.fields import check_value
from score_mia.registry import make
from score_mia.report.text import distinct
from score_mia.study.curves import Roc, TprByStep
from score_mia.study.exhibit import Exhibit
from score_mia.study.frontier import Frontier
from score_mia.study.pictures import Perturbed, Samples
from score_mia.study.tables import LikelihoodTable, LossTable, QualityTable

EXHIBITS: dict[str, Callable[..., Any]] = {
    "quality_table": QualityTable,
    "loss_table": LossTable,
    "likelihood_table": LikelihoodTable,
    "tpr_by_step": TprByStep,
    "roc": Roc,
    "perturbed": Perturbed,
    "samples": Samples,
    "frontier": Frontier,
}
"""Name in a config -> class."""
SECTIONS = ("title", "audits", "labels", "exhibits")
_TAKEN = ("exhibits", "index.html")
"""What a study writes into its folder beside its audits."""


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A whole study, built but not begun.

    Attributes:
      title: its heading.
      audits: name -> plan, in the order run and shown.
      labels: name -> how exhibits call the audit.
      exhibits: name -> exhibit, in the order shown.
    """

    title: str
    audits: Mapping[str, Plan]
    labels: Mapping[str, str]
    exhibits: Mapping[str, Exhibit]


def plan(config: Any) -> Study:
    """Build a `Study` from a ConfigDict (or mapping); every mistake is a UserError."""
    if config is None:
        raise UserError("config: there is none; give --config=FILE.py")
    config = _plain(config)
    require(
        isinstance(config, dict),
        "config",
        f"is {type(config).__name__}, not a mapping from sections",
        "let get_config return a ConfigDict",
    )
    for name in config:
        if name not in SECTIONS:
            remedy = did_you_mean(name, SECTIONS)
            raise UserError(f"study has no section {name!r}; {remedy}")
    audits = _section(config, "audits")
    require(len(audits) > 0, "audits", "none is given", "add one to the config")
    plans = {name: _audit(name, audits[name]) for name in audits}
    labels = _section(config, "labels")
    for name, label in labels.items():
        one_of("labels", name, plans)
        check_value("labels", name, label, str)
    title = config.get("title", "Study")
    check_value("study", "title", title, str)
    exhibits = {}
    for name, spec in _section(config, "exhibits").items():
        exhibits[name] = _exhibit(name, spec, plans)
    labels = {name: labels.get(name, name) for name in plans}
    return Study(title, plans, distinct(labels), exhibits)


def _plain(config: Any) -> Any:
    """JSON values in the order written, which a ConfigDict tells by `to_json` alone."""
    try:
        text = config.to_json() if hasattr(config, "to_json") else json.dumps(config)
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"config: {error}; use numbers, texts, lists and dictionaries only"
        ) from error


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name, {})
    check_value("study", name, section, Mapping)
    return section


def _audit(name: str, config: Any) -> Plan:
    _check_name("audit", name)
    check_value("audits", name, config, Mapping)
    try:
        return build.plan(config)
    except UserError as error:
        raise UserError(f"audit {name!r}: {error}") from error


def _exhibit(name: str, spec: Any, plans: Mapping[str, Plan]) -> Exhibit:
    _check_name("exhibit", name)
    try:
        exhibit = make("kind", EXHIBITS, spec)
        require(
            isinstance(exhibit, Exhibit),
            type(exhibit).__name__,
            "is no exhibit",
            "derive it from score_mia.study.Exhibit",
        )
        exhibit.check(plans)
        return exhibit
    except UserError as error:
        raise UserError(f"exhibit {name!r}: {error}") from error


def _check_name(what: str, name: str) -> None:
    """Names become files and folders."""
    file_name(what, name)
    require(
        what != "audit" or name not in _TAKEN,
        f"{what} {name!r}",
        "cannot be the name of a folder of a study, which writes it itself",
        f"take another than {', '.join(_TAKEN)}",
    )
