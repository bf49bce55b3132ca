"""What the report shows, gathered from the files and objects of an audit."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.attacks.protocol import Attack, Columns
from score_mia.auditing.assess import Assessment
from score_mia.auditing.checks import Checks
from score_mia.auditing.work import Work, config_digest
from score_mia.checkpoint import describe
from score_mia.report import privacy
from score_mia.report.content import (
    AttackContent,
    ColumnContent,
    NearestContent,
    PerturbedContent,
    ReportContent,
)
from score_mia.report.picture import nearest, unit_pictures
from score_mia.report.text import distance_text
from score_mia.sde import SDE
from score_mia.train import log

_SHOWN = 400
"""Most pictures of either group that the report searches for nearest members."""


def report_content(
    work: Work,
    assessments: Sequence[Assessment],
    metrics: Mapping[str, Any],
    samples: np.ndarray | None,
    checked: Checks,
) -> ReportContent:
    """Everything that `report.write` shows of an audit."""
    return ReportContent(
        title=work.plan.title,
        metrics=metrics,
        attacks=_attacks(work, assessments, metrics, checked),
        **_pictures(work, assessments, samples),
        training=log.read(work.folder / "target" / "train.jsonl"),
        facts=_facts(work, metrics),
        warnings=(*checked.warnings, *_dropped(assessments), *_selected(metrics)),
    )


def _pictures(
    work: Work, assessments: Sequence[Assessment], samples: np.ndarray | None
) -> dict[str, Any]:
    """The pictures of a report, if its config asks for them, else distances alone.

    A sample is no exception: a model that memorises makes training images.
    """
    members = work.pictures(work.split.members, _SHOWN)
    if work.plan.report.pictures:
        return {
            "members": members,
            "nonmembers": work.pictures(work.split.nonmembers, _SHOWN),
            "samples": samples,
            "perturbed": _perturbed(work, assessments),
        }
    if samples is None or not len(samples):
        return {}
    _, distances = nearest(unit_pictures(samples), unit_pictures(members))
    return {"nearest": NearestContent(distances, len(members))}


def _attacks(
    work: Work,
    assessments: Sequence[Assessment],
    metrics: Mapping[str, Any],
    checked: Checks,
) -> tuple[AttackContent, ...]:
    """The attacks in the config's order, those that failed among them."""
    scored = {a.attack.name: _attack(work, a, checked) for a in assessments}
    entries = metrics["attacks"]
    nothing, nobody = np.zeros(0), np.zeros(0, bool)
    for attack in work.plan.attacks:
        name = attack.name
        if name not in scored and "failed" in entries.get(name, {}):
            title, access = attack_title(work.columns(attack), attack), attack.access
            scored[name] = AttackContent(
                name, title, access, entries[name], nothing, nobody
            )
    order = [a.name for a in work.plan.attacks if a.name in scored]
    return tuple(scored[name] for name in order)


def _attack(work: Work, a: Assessment, checked: Checks) -> AttackContent:
    measured = a.signals.diagnostics
    diagnostics = {
        name.replace("_", " "): float(np.mean(a.signals.column(name)))
        for name in (() if measured is None else measured.names)
    }
    assert a.signals.member is not None
    return AttackContent(
        name=a.attack.name,
        title=attack_title(work.columns(a.attack), a.attack),
        access=a.attack.access,
        metrics=a.entry,
        scores=a.scores,
        member=a.signals.member,
        columns=_columns(work, a),
        diagnostics={k: v for k, v in diagnostics.items() if np.isfinite(v)},
        notes=(*checked.notes.get(a.attack.name, ()), *_published(a.entry)),
    )


def attack_title(columns: Columns, attack: Attack) -> str:
    """How people call an attack of this kind; several may share it."""
    return columns.title or type(next(iter(attack.signals.values()))).__name__


def _published(entry: Mapping[str, Any]) -> list[str]:
    """The paper's way of counting, beside ours, for its attacks as published."""
    if "as_published" not in entry:
        return []
    rates = entry["as_published"]["tpr_at_fpr"].items()
    told = ", ".join(f"{100 * tpr:.4g} % at {100 * float(f):g} %" for f, tpr in rates)
    return [
        "As the paper counts, with the non-members as the positive class: share of "
        f"non-members recognised at a share of members misjudged: {told}."
    ]


def _columns(work: Work, a: Assessment) -> ColumnContent | None:
    """Per-time columns, for a signal that tells the time of each of its columns."""
    sde, columns = work.plan.sde, work.columns(a.attack)
    if columns.times is None or len(a.signals.names) < 2:
        return None
    times = np.asarray(columns.times, np.float64)
    log_snr = jax.vmap(sde.log_snr)(jnp.asarray(times, jnp.float32))
    names = a.signals.names
    chosen = a.scorer.columns[0] if len(a.scorer.columns) == 1 else None
    return ColumnContent(
        names=names,
        values=a.signals.matrix().astype(np.float64),
        time=times,
        log_snr=np.asarray(log_snr, np.float64),
        chosen_index=names.index(chosen) if chosen in names else None,
        time_label=_time_label(sde),
    )


def _time_label(sde: SDE) -> str:
    return "time t" if sde.discrete_steps is None else "diffusion step t"


def _perturbed(work: Work, assessments: Sequence[Assessment]) -> PerturbedContent:
    """A few members with the noise of a few times, the chosen ones among them."""
    sde, codec = work.plan.sde, work.plan.model.codec
    times = {float(t) for t in sde.times(7)}
    for a in assessments:
        columns = _columns(work, a)
        if columns is not None and columns.chosen_index is not None:
            times.add(float(columns.time[columns.chosen_index]))
    images = jnp.asarray(work.pictures(work.split.members, 3))
    key = jax.random.key(work.plan.seed)
    noise = jax.random.normal(key, images.shape)
    shown, labels = [], []
    for t in sorted(times):
        x = sde.perturb(codec.encode(images), t, noise)
        # Seen through the codec after bringing back the signal's scale: otherwise a
        # variance-exploding x would be clipped to black and white.
        scale = jnp.sqrt(sde.alpha(t) ** 2 + sde.std(t) ** 2)
        shown.append(np.clip(np.asarray(codec.decode(x / scale)), 0.0, 1.0))
        name = f"{t:.0f}" if sde.discrete_steps else f"{t:.3g}"
        labels.append(f"t = {name}\nlog-SNR {float(sde.log_snr(t)):.1f}")
    return PerturbedContent(np.stack(shown, axis=1), tuple(labels))


def _facts(work: Work, metrics: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    plan, split = work.plan, work.split
    provenance = describe(work.target_folder)["provenance"]
    target = metrics["target"]
    split_facts = {k: str(v) for k, v in split.counts.items()}
    return {
        "Target": {
            "process": _entry(target["sde"]),
            "network": _entry(target["network"]),
            "parameters": f"{target['parameters']:,}",
            "training steps": f"{target['steps']:,}",
            "snapshot": _snapshot(metrics),
            "training images": f"{target['members']:,}",
            **_made(target, provenance.get("train")),
            "digest": target["digest"],
        },
        "Split": {
            **split_facts,
            "recipe": _entry(split.recipe),
            "data": _entry(plan.config["data"]),
            "data digest": split.digest,
        },
        **_quality(metrics),
        **({"Privacy": private} if (private := privacy.facts(metrics)) else {}),
        **_training(provenance.get("train")),
        "Run": {
            "seed": str(plan.seed),
            "device": metrics["device"],
            "rows per tile": str(plan.engine.tile),
            "config digest": config_digest(plan.config),
            "python": platform.python_version(),
            **provenance.get("versions", {}),
        },
    }


def _made(
    target: Mapping[str, Any], settings: Mapping[str, Any] | None
) -> dict[str, str]:
    """How it was trained, or whence it was imported: what is known, nothing else."""
    came = target.get("imported")
    if came is None and settings is not None:
        passes = target["steps"] * settings["batch"] / target["members"]
        return {
            "passes over them": f"{passes:,.0f}",
            "training seconds": f"{target['training_seconds']:,.0f}",
        }
    if came is None:
        return {}
    return {
        "imported from": f"{came['file']} ({came['format']})",
        "its SHA-256": came["sha256"],
    }


def _training(settings: Mapping[str, Any] | None) -> dict[str, dict[str, str]]:
    """The settings that the target was trained with; none of an imported one."""
    if settings is None:
        return {}
    return {"Training": {k: str(v) for k, v in settings.items() if k != "dp"}}


def _snapshot(metrics: Mapping[str, Any]) -> str:
    """Which of the run's targets was attacked, and why that one."""
    snapshot, step = metrics["target"]["snapshot"], metrics["target"]["steps"]
    if "candidates" not in snapshot:
        last = snapshot["rule"] == "last"
        return "the last" if last else f"step {step:,}, named in the config"
    among = ", ".join(f"{c['step']:,}" for c in snapshot["candidates"])
    name = "KID" if snapshot["by"] == "kid" else snapshot["frechet_name"]
    return f"step {step:,}, of {among} the one with the lowest {name} to the members"


def _selected(metrics: Mapping[str, Any]) -> list[str]:
    """That a snapshot was selected, and by what."""
    if "candidates" not in metrics["target"]["snapshot"]:
        return []
    return [
        f"The attacked target is a selection: {_snapshot(metrics)}. The choice looked "
        "at the training set, so a privacy guarantee of the training does not cover "
        "it, and a last snapshot may give away more or less."
    ]


def _quality(metrics: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The group of facts about the samples' quality, if it was measured."""
    found = metrics["target"].get("quality")
    if found is None:
        return {}
    groups = (
        ("members", "samples to members"),
        ("nonmembers", "samples to non-members"),
        ("members_to_nonmembers", "members to non-members"),
    )
    evaluations = found["network_evaluations_per_sample"]
    lines = {
        "encoder": f"{found['encoder']} ({found['features']:,} features)",
        "sampler": _entry(found["sampler"]),
        "evaluations per sample": "adaptive"
        if evaluations is None
        else f"{evaluations:,}",
    }
    for key, name in (("kid", "KID"), ("frechet", found["frechet_name"])):
        lines |= {f"{name}, {what}": distance_text(found[g][key]) for g, what in groups}
    for c in metrics["target"]["snapshot"].get("candidates", ()):
        lines[f"choice, step {c['step']:,}"] = (
            f"KID {distance_text(c['kid'])}; {found['frechet_name']} "
            f"{distance_text(c['frechet'])}"
        )
    return {"Quality": lines}


def _entry(spec: Mapping[str, Any]) -> str:
    """A config entry on one line, e.g. "ddpm (steps 1000)".

    Of a path only its last part: where things lie on a machine is not for the page.
    """
    rest = ", ".join(f"{k} {_last(v)}" for k, v in spec.items() if k != "name")
    name = str(spec.get("name", ""))
    return f"{name} ({rest})" if name and rest else name or rest


def _last(value: Any) -> Any:
    """The value with every path in it cut down to its last part."""
    if isinstance(value, str):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    if isinstance(value, Mapping):
        return {k: _last(v) for k, v in value.items()}
    return [_last(v) for v in value] if isinstance(value, list | tuple) else value


def _dropped(assessments: Sequence[Assessment]) -> list[str]:
    lines = []
    for a in assessments:
        if len(a.dropped):
            # Without ids: which image it was is no business of the page's readers.
            lines.append(
                f"{a.attack.name}: {len(a.dropped)} images gave NaN or infinite "
                "signals and are left out of its numbers."
            )
    return lines
