"""DDPM on FFHQ-30k at 64x64 (Hu & Pang 2023, Section 6.1).

    score-mia audit --config=configs/paper/ffhq30k_ddpm.py \
      --workdir=runs/ffhq30k_ddpm --config.data.data_dir=DIR

The images: FFHQ's thumbnails128x128, prepared once by
`python -m score_mia.papers.hu_pang.prepare --dataset=ffhq --images=thumbnails128x128
--data_dir=DIR`. To audit the authors' own checkpoint, run `import` first
(docs/interop.md). `ffhq30k_ddpm.py:smoke` needs neither.

Hardware: one A100 (40 GB). Expected time, estimated from 44.8 GFLOP a network
evaluation at 40 TFLOP/s sustained, not measured: 15 h of training, 11 h of attacks.
A target is kept every 50,000 steps (--config.train.snapshot_every).

The paper's rows (its positive class are the non-members, see docs/interop.md):

| attack | |
|---|---|
| loss, t = 200 | about 15 % TPR at 10 % |
| likelihood | close to the diagonal |

FID 24.06. The paper gives curves (its Figures 4 to 6) and no table.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

paper = run_path(str(Path(__file__).with_name("_base.py")))["paper"]


def get_config(arg: str = "") -> ConfigDict:
    sizes = dict(members=30_000, nonmembers=10_000)
    return paper(arg, "ddpm", "DDPM on FFHQ-30k", columns=50, **sizes)
