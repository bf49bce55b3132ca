"""A whole study in seconds: two tiny audits and every kind of exhibit."""

from __future__ import annotations

from ml_collections import ConfigDict

from tests.auditing.tiny import get_config as tiny

PAPER = "score_mia.papers.hu_pang.tables"
TIMES = (0, 200, 500, 999)


def get_config(arg: str = "") -> ConfigDict:
    ddpm, smld = tiny(), tiny()
    for audit, name in ((ddpm, "ddpm"), (smld, "smld")):
        audit.unlock()
        audit.title = f"tiny {name}"
        audit.sde = dict(name=name)
        audit.split.nonmembers = 240
        audit.attacks.loss.signal = dict(name="loss", times=TIMES)
        audit.engine = dict(tile=16, shard=64, devices=1)
        audit.report.samples = 6
        audit.report.pictures = True
    ddpm.quality = dict(encoder="pixels", samples=6)
    del smld.attacks.likelihood
    # In no alphabetical order: that of the config is kept.
    return ConfigDict(
        dict(
            title="A tiny study of {50 %_real & made} targets",
            audits=dict(smld=smld, ddpm=ddpm),
            labels=dict(ddpm="DDPM_1 & co"),
            exhibits=dict(
                quality=dict(
                    name="quality_table",
                    beside=dict(name=f"{PAPER}:Fids", table="Table 1"),
                ),
                loss=dict(
                    name="loss_table",
                    times=dict(ddpm=(200, 999, "chosen"), smld=(0, 200, 999)),
                    beside=dict(name=f"{PAPER}:Rates", table="Table 2", counted=True),
                ),
                likelihood=dict(
                    name="likelihood_table",
                    audits=("ddpm",),
                    beside=dict(name=f"{PAPER}:Rates", table="Table 3"),
                ),
                steps=dict(name="tpr_by_step"),
                roc=dict(name="roc", attack="loss", title="ROC of the loss"),
                noised=dict(name="perturbed", log_snr=(6.0, 0.0, -6.0), pictures=2),
                samples=dict(name="samples", count=6, columns=4),
                attacks=dict(
                    name="attack_table",
                    attacks=dict(loss="The loss"),
                    beside=dict(name="score_mia.papers.laion_mi.tables:Resamples"),
                ),
                variants=dict(
                    name="attack_grid",
                    audits=("ddpm",),
                    corner="Of whom",
                    cells=dict(
                        anyone=dict(chosen="loss", whole="likelihood"),
                        nobody=dict(chosen="loss"),
                    ),
                    measure="tpr@0.1",
                ),
                grown=dict(
                    name="attack_curve",
                    curves=dict(loss=[(2, "ddpm", "loss"), (1, "smld", "loss")]),
                    across="made up",
                ),
                frontier=dict(name="frontier", fpr=0.1, audits=("ddpm", "smld")),
            ),
        )
    )
