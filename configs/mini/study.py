"""Every exhibit of Hu & Pang 2023 at mini size, on real images.

    python launch.py study --config=configs/mini/study.py --workdir=runs/mini

Thirteen targets of about ten minutes each on two CPU cores; `study.py:smoke` runs all
of them in minutes, with numbers that mean nothing. Needs the extras `encoders`, `faces`
and `dp`.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

base = run_path(str(Path(__file__).with_name("_base.py")))

FOUR = ("ddpm", "smld", "vpsde", "vesde")
SIZES = ("ddpm", "ddpm-256", "ddpm-1024")
PRIVATE = ("ddpm-dp",)
DEFENCE = (
    "ddpm",
    "ddpm-clip-only",
    "ddpm-noise-only",
    "ddpm-dp-loose",
    "ddpm-dp",
    "ddpm-dp-improved",
    "ddpm-dp-1024",
)
TIMES = base["PAPER_TIMES"]
LEVELS = (6.0, 3.0, 0.0, -1.0, -3.0, -6.0)
"""log-SNRs fixed beforehand, the same for all processes: clean to noise."""


def get_config(arg: str = "") -> ConfigDict:
    targets = base["TARGETS"]
    return ConfigDict(
        dict(
            title="Membership inference of diffusion models, mini size",
            audits={name: base["target"](name, arg) for name in targets},
            labels={name: entry["label"] for name, entry in targets.items()},
            exhibits=dict(
                table1=dict(name="quality_table", audits=FOUR, published="Table 1"),
                figure1=dict(name="tpr_by_step", audits=FOUR),
                figure2=dict(name="roc", attack="loss", audits=FOUR, log_snr=LEVELS),
                table2=dict(
                    name="loss_table",
                    audits=FOUR,
                    times={name: (*TIMES[name], "chosen") for name in FOUR},
                    published="Table 2",
                ),
                figure3=dict(name="perturbed", audits=FOUR, log_snr=LEVELS),
                figure4a=dict(name="roc", attack="likelihood", audits=FOUR),
                table3=dict(
                    name="likelihood_table",
                    audits=FOUR,
                    published="Table 3",
                    as_published=True,
                ),
                figure4b=dict(name="roc", attack="likelihood", audits=SIZES),
                figure5=dict(name="tpr_by_step", panels="fpr", audits=SIZES),
                figure6=dict(name="roc", attack="loss", audits=SIZES, log_snr=LEVELS),
                figure11=dict(name="tpr_by_step", audits=SIZES),
                figure7a=dict(name="tpr_by_step", audits=("smld-faces",)),
                figure7b=dict(
                    name="roc", attack="loss", audits=("smld-faces",), log_snr=LEVELS
                ),
                figure7c=dict(name="roc", attack="likelihood", audits=("smld-faces",)),
                table4=dict(
                    name="loss_table",
                    audits=("smld-faces",),
                    times=(*TIMES["smld"], "chosen"),
                    also=("likelihood",),
                    published="Table 4",
                ),
                figure8a=dict(name="tpr_by_step", audits=PRIVATE),
                figure8b=dict(
                    name="roc", attack="loss", audits=PRIVATE, log_snr=LEVELS
                ),
                figure8c=dict(name="roc", attack="likelihood", audits=PRIVATE),
                table5=dict(
                    name="loss_table",
                    audits=PRIVATE,
                    times=(*TIMES["ddpm"], "chosen"),
                    also=("likelihood",),
                ),
                figure9=dict(name="samples", audits=FOUR),
                figure10=dict(name="samples", audits=("smld-faces",)),
                frontier=dict(name="frontier", audits=DEFENCE),
            ),
        )
    )
