"""Every table and figure of Hu & Pang 2023 (2301.09956), from eight targets.

    score-mia study --config=configs/paper/study.py:DIR --workdir=runs/paper

DIR holds FFHQ and DRD as `python -m score_mia.papers.hu_pang.prepare` writes them (see
the configs beside this one, of which this is the sum). `study.py:small` needs no data
and takes two CPU cores some hours; `study.py:smoke` runs everything in minutes, with
numbers that mean nothing. Needs the extras `encoders` and `dp`.

Hardware: one A100 (40 GB) for each of the eight audits (--only=NAME), then once more
without --only for the exhibits. Expected time, estimated and not measured: 18 h for
DDPM and SMLD each, 33 h for VP and VE, 21 and 26 h for the larger sets, 5 h for DP-SGD.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
TIMES = run_path(str(HERE / "_base.py"))["TIMES"]
exhibits = run_path(str(HERE.parent / "_exhibits.py"))["exhibits"]

FOUR = ("ddpm", "smld", "vpsde", "vesde")
# Name of the audit -> file, label, model.
AUDITS = {
    "ddpm": ("ffhq1k_ddpm", "DDPM", "ddpm"),
    "smld": ("ffhq1k_smld", "SMLD", "smld"),
    "vpsde": ("ffhq1k_vpsde", "VPSDE", "vpsde"),
    "vesde": ("ffhq1k_vesde", "VESDE", "vesde"),
    "ddpm-10k": ("ffhq10k_ddpm", "DDPM, FFHQ-10k", "ddpm"),
    "ddpm-30k": ("ffhq30k_ddpm", "DDPM, FFHQ-30k", "ddpm"),
    "smld-drd": ("drd1k_smld", "SMLD, DRD-1k", "smld"),
    "ddpm-dp": ("ffhq1k_ddpm_dp", "DDPM, DP-SGD", "ddpm"),
}


def get_config(arg: str = "") -> ConfigDict:
    folder = "" if arg in ("small", "smoke") else arg
    audits = {}
    for name, (file, _, _) in AUDITS.items():
        made = run_path(str(HERE / f"{file}.py"))["get_config"]
        audits[name] = made("" if folder else arg)
        if folder:
            audits[name].data.data_dir = folder
    papers = exhibits(
        {name: TIMES[model] for name, (_, _, model) in AUDITS.items()},
        four=FOUR,
        sizes=("ddpm", "ddpm-10k", "ddpm-30k"),
        second="smld-drd",
        private="ddpm-dp",
    )
    counted = dict(name="score_mia.papers.hu_pang.tables:Rates", counted=True)
    theirs = dict(
        table2_their_code=dict(
            name="loss_table",
            attack="loss_as_published",
            audits=FOUR,
            times=dict(ddpm=(200,), smld=(199,), vpsde=(0.21,), vesde=(0.21,)),
            beside=counted,
        )
    )
    if arg != "small":
        theirs["table3_their_code"] = dict(
            name="likelihood_table",
            attack="likelihood_as_published",
            audits=FOUR,
            beside=counted,
        )
    return ConfigDict(
        dict(
            title="Membership inference of diffusion models",
            audits=audits,
            labels={name: label for name, (_, label, _) in AUDITS.items()},
            exhibits=dict(papers, **theirs),
        )
    )
