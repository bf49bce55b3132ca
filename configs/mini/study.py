"""Every exhibit of Hu & Pang 2023 at mini size, on real images.

    python launch.py study --config=configs/mini/study.py --workdir=runs/mini

Thirteen targets of about ten minutes each on two CPU cores; `study.py:smoke` runs all
of them in minutes, with numbers that mean nothing. Needs the extras `encoders`, `faces`
and `dp`.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
base = run_path(str(HERE / "_base.py"))
exhibits = run_path(str(HERE.parent / "_exhibits.py"))["exhibits"]

FOUR = ("ddpm", "smld", "vpsde", "vesde")
DEFENCE = (
    "ddpm",
    "ddpm-clip-only",
    "ddpm-noise-only",
    "ddpm-dp-loose",
    "ddpm-dp",
    "ddpm-dp-improved",
    "ddpm-dp-1024",
)


def get_config(arg: str = "") -> ConfigDict:
    targets = base["TARGETS"]
    papers = exhibits(
        {name: base["TIMES"][entry["model"]] for name, entry in targets.items()},
        four=FOUR,
        sizes=("ddpm", "ddpm-256", "ddpm-1024"),
        second="smld-faces",
        private="ddpm-dp",
    )
    return ConfigDict(
        dict(
            title="Membership inference of diffusion models, mini size",
            audits={name: base["target"](name, arg) for name in targets},
            labels={name: entry["label"] for name, entry in targets.items()},
            exhibits=dict(
                papers, frontier=dict(name="frontier", audits=DEFENCE, fpr=0.1)
            ),
        )
    )
