"""What the attack stage leaves in files for pages and exhibits (`report.files`)."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.attacks.prompts import in_words
from score_mia.attacks.protocol import Attack, Columns
from score_mia.auditing import exposed
from score_mia.auditing.assess import Assessment
from score_mia.auditing.checks import Checks
from score_mia.auditing.plan import Plan
from score_mia.auditing.work import Work, config_digest
from score_mia.checkpoint import describe
from score_mia.codecs import Codec, LearnedCodec
from score_mia.metrics.crossfit import too_many
from score_mia.report import files, privacy
from score_mia.report.content import (
    AttackContent,
    NearestContent,
    PerturbedContent,
    Stepped,
)
from score_mia.report.curves import measure
from score_mia.report.picture import SHOWN
from score_mia.report.text import distance_text, p_text, share, thresholds
from score_mia.results import AuditResult, Closer, TargetFacts
from score_mia.sde import SDE

_UNITS = {
    "half_width_95": "half width of the 95 % interval over probes (bits/dim)",
    "grid_error": "error of the grid (bits/dim)",
    "bits_per_dim": "minus log-likelihood (bits/dim)",
}
"""Diagnostics in words, with their unit."""


def leave(
    work: Work,
    assessments: Sequence[Assessment],
    result: AuditResult,
    nearest: NearestContent | None,
    checked: Checks,
) -> None:
    """Write scores/, facts.json and pictures.npz: with metrics.json, all of a page.

    Args:
      work: the run.
      assessments: of the attacks that gave numbers.
      result: the audit's numbers.
      nearest: the samples, held against members; without pictures if none are shown.
      checked: what the checks found.
    """
    stepped = {}
    for a in assessments:
        name = a.attack.name
        content = _attack(work, a, checked.notes.get(name, ()))
        stepped[name] = content.stepped
        places = {}
        for signal in a.attack.signals:
            reader = work.reader(signal)
            place = work.signal_folder(reader).relative_to(work.folder).as_posix()
            places[place] = len(reader.columns.names)
        ids, digest = a.signals.ids, result.target.digest
        files.save_attack(work.folder, content, ids, places, digest)
    exposures = exposed.of(assessments, work.source)
    exposed.save(work.folder, exposures)
    facts = _facts(work, result) | thresholds(result)
    if work.plan.report.names:
        facts |= exposed.named(exposures)
    files.save_facts(work.folder, result, facts, _selected(result.target))
    if not work.plan.report.pictures:
        # A sample is no exception: a model that memorises makes training images.
        files.save_pictures(work.folder, nearest)
        return
    files.save_pictures(
        work.folder,
        nearest,
        work.pictures(work.split.members, SHOWN),
        work.pictures(work.split.nonmembers, SHOWN),
        None
        if work.plan.model is None
        else _perturbed(work, [s for s in stepped.values() if s is not None]),
    )


def _attack(work: Work, a: Assessment, notes: Sequence[str]) -> AttackContent:
    measured = a.signals.diagnostics
    diagnostics = {
        _UNITS.get(name, name.replace("_", " ")): float(np.mean(a.signals.column(name)))
        for name in (() if measured is None else measured.names)
    }
    assert a.signals.member is not None
    return AttackContent(
        a.attack.name,
        a.entry,
        a.scores,
        a.signals.member,
        _stepped(work, a),
        {k: v for k, v in diagnostics.items() if np.isfinite(v)},
        tuple(notes),
    )


def attack_title(columns: Columns, attack: Attack, plan: Plan) -> str:
    """How people call an attack of this kind; several may share it."""
    name, signal = next(iter(attack.signals.items()))
    told = in_words(plan.prompts.get(name)) if len(attack.signals) == 1 else ""
    return (columns.title or type(signal).__name__) + told


def _stepped(work: Work, a: Assessment) -> Stepped | None:
    """Per-time curves, for a signal that tells the time of each of its columns."""
    columns, kind = work.columns(a.attack), work.plan.model
    names = a.signals.names
    if columns.times is None or kind is None or len(names) < 2:
        return None
    curves = measure(a.signals)
    if curves is None:
        return None
    times = np.asarray(columns.times, np.float64)
    chosen = a.scorer.columns[0] if len(a.scorer.columns) == 1 else None
    return Stepped(
        names,
        times,
        log_snr_at(kind.sde, times),
        curves,
        names.index(chosen) if chosen in names else None,
        time_label(kind.sde),
    )


def log_snr_at(sde: SDE, times: np.ndarray) -> np.ndarray:
    """The process's log-SNR [K] at times [K]."""
    levels = jax.vmap(sde.log_snr)(jnp.asarray(times, jnp.float32))
    return np.asarray(levels, np.float64)


def time_label(sde: SDE) -> str:
    """Of the axis of a process's times."""
    return "time t" if sde.discrete_steps is None else "diffusion step t"


def noised(
    work: Work, ids: np.ndarray, times: Sequence[float]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Images under the noise of some times, one noise for all, and a label for each.

    Returns:
      [n, k, h, w, c] in [0, 1], and k labels.
    """
    sde, codec = work.plan.known.sde, _codec(work)
    decode = jax.vmap(codec.decode)
    x = jax.vmap(codec.encode)(jnp.asarray(work.source.images(ids)))
    noise = jax.random.normal(jax.random.key(work.plan.seed), x.shape)
    shown, labels = [], []
    for t in times:
        # Seen through the codec after bringing back the signal's scale: otherwise a
        # variance-exploding x would be clipped to black and white.
        scale = jnp.sqrt(sde.alpha(t) ** 2 + sde.std(t) ** 2)
        picture = decode(sde.perturb(x, t, noise) / scale)
        shown.append(np.clip(np.asarray(picture), 0.0, 1.0))
        name = f"{t:.0f}" if sde.discrete_steps else f"{t:.3g}"
        labels.append(f"t = {name}\nlog-SNR {float(sde.log_snr(t)):.1f}")
    return np.stack(shown, axis=1), tuple(labels)


def _codec(work: Work) -> Codec:
    """The target's; a learned one is read with it, any other without."""
    codec = work.plan.known.codec
    return work.target.codec if isinstance(codec, LearnedCodec) else codec


def _perturbed(work: Work, stepped: Sequence[Stepped]) -> PerturbedContent:
    """A few members with the noise of a few times, the chosen ones among them."""
    times = {float(t) for t in work.plan.known.sde.times(7)}
    times |= {float(s.time[s.chosen]) for s in stepped if s.chosen is not None}
    return PerturbedContent(*noised(work, work.split.members[:3], sorted(times)))


def _facts(work: Work, result: AuditResult) -> dict[str, dict[str, str]]:
    plan, split = work.plan, work.split
    provenance: Mapping[str, Any] = {}
    if plan.client is None:
        provenance = describe(work.target_folder)["provenance"]
    target, settings = result.target, provenance.get("train")
    split_facts = {k: str(v) for k, v in split.counts.items()}
    precision = plan.engine.precision
    return {
        "Target": {
            **_model(target),
            "training images": f"{target.members:,}",
            **_made(result, settings),
            "digest": target.digest,
        },
        "Split": {
            **split_facts,
            "recipe": _entry(split.recipe),
            "data": _entry(plan.config["data"]),
            "data digest": split.digest,
        },
        **_quality(target),
        **({"Privacy": private} if (private := privacy.facts(target.privacy)) else {}),
        **_training(settings),
        "Run": {
            "seed": str(plan.seed),
            "device": ", ".join(result.timings.devices),
            "rows per tile": str(plan.engine.tile),
            **({} if precision == "float32" else {"precision": precision}),
            "config digest": config_digest(plan.config),
            "python": platform.python_version(),
            **provenance.get("versions", {}),
        },
    }


def _model(target: TargetFacts) -> dict[str, str]:
    """What the target is; of a service, how it is asked."""
    if target.service:
        return {"service": _entry(target.service)}
    return {
        "process": _entry(target.sde),
        "network": _entry(target.network),
        "parameters": f"{target.parameters:,}",
        "training steps": f"{target.steps:,}",
        "snapshot": _snapshot(target),
    }


def _made(result: AuditResult, settings: Mapping[str, Any] | None) -> dict[str, str]:
    """How it was trained, or whence it was imported: what is known, nothing else."""
    target = result.target
    if target.imported is not None:
        came = target.imported
        return {
            "imported from": f"{came.file} ({came.format})",
            "its SHA-256": came.sha256,
        }
    if settings is None:
        return {}
    passes = target.steps * settings["batch"] / target.members
    return {
        "passes over them": f"{passes:,.0f}",
        "training seconds": f"{result.timings.training_seconds or 0:,.0f}",
    }


def _training(settings: Mapping[str, Any] | None) -> dict[str, dict[str, str]]:
    """The settings that the target was trained with; none of an imported one."""
    if settings is None:
        return {}
    return {"Training": {k: str(v) for k, v in settings.items() if k != "dp"}}


def _snapshot(target: TargetFacts) -> str:
    """Which of the run's targets was attacked, and why that one."""
    snapshot, step = target.snapshot, target.steps
    if not snapshot.candidates:
        last = snapshot.rule == "last"
        return "the last" if last else f"step {step:,}, named in the config"
    among = ", ".join(f"{c.step:,}" for c in snapshot.candidates)
    name = "KID" if snapshot.by == "kid" else snapshot.frechet_name
    return f"step {step:,}, of {among} the one with the lowest {name} to the members"


def _selected(target: TargetFacts) -> list[str]:
    """That a snapshot was selected, and by what."""
    if not target.snapshot.candidates:
        return []
    return [
        f"The attacked target is a selection: {_snapshot(target)}. The choice looked "
        "at the training set, so a privacy guarantee of the training does not cover "
        "it, and a last snapshot may give away more or less."
    ]


def _quality(target: TargetFacts) -> dict[str, dict[str, str]]:
    """The group of facts about the samples' quality, if it was measured."""
    q = target.quality
    if q is None:
        return {}
    groups = {
        "samples to members": q.members,
        "samples to non-members": q.nonmembers,
        "members to non-members": q.members_to_nonmembers,
    }
    evaluations = q.network_evaluations_per_sample
    lines = {
        "encoder": f"{q.encoder} ({q.features:,} features)",
        "sampler": _entry(q.sampler),
        "evaluations per sample": "adaptive"
        if evaluations is None
        else f"{evaluations:,g}",
    }
    lines |= {f"KID, {what}": distance_text(g.kid) for what, g in groups.items()}
    for what, group in groups.items():
        lines[f"{q.frechet_name}, {what}"] = distance_text(group.frechet)
    if q.closer is not None:
        lines["nearer to members, as a set"] = _nearer(q.closer)
    for c in target.snapshot.candidates:
        lines[f"choice, step {c.step:,}"] = (
            f"KID {distance_text(c.kid)}; {q.frechet_name} {distance_text(c.frechet)}"
        )
    return {"Quality": lines}


def _nearer(c: Closer) -> str:
    """By how much, and how surely, if the test can be trusted with non-members."""
    said = f"KID lower by {distance_text(c.difference)}"
    tried = f"{c.alarms:,} of {c.trials:,} cuts of non-members at {share(c.alpha)}"
    if too_many(c.alarms, c.trials, c.alpha):
        return f"{said}; no p-value: the test accused {tried}, too many"
    said += f"; {p_text(c.p_value)} by permutation"
    return f"{said}, which accused {tried}" if c.trials else said


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
