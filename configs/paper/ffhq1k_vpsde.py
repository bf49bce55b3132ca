"""VPSDE on FFHQ-1k at 64x64 (Hu & Pang 2023, Tables 2 and 3).

    score-mia audit --config=configs/paper/ffhq1k_vpsde.py \
      --workdir=runs/ffhq1k_vpsde --config.data.data_dir=DIR

The images: FFHQ's thumbnails128x128, prepared once by
`python -m score_mia.papers.hu_pang.prepare --dataset=ffhq --images=thumbnails128x128
--data_dir=DIR`. To audit the authors' own checkpoint, run `import` first
(docs/interop.md). `ffhq1k_vpsde.py:smoke` needs neither.

Hardware: one A100 (40 GB). Expected time, estimated from 81.0 GFLOP a network
evaluation at 40 TFLOP/s sustained, not measured: 27 h of training, 6 h of attacks.
A target is kept every 50,000 steps (--config.train.snapshot_every).

The paper's rows (its positive class are the non-members, see docs/interop.md):

| attack | TPR at 10 % | 1 % | 0.1 % | 0.01 % | accuracy |
|---|---|---|---|---|---|
| loss, t = 1.97e-4 | 93 | 85 | 81.6 | 77.6 | 93.15 |
| loss, t = 0.21 | 100 | 100 | 100 | 100 | 100 |
| loss, t = 0.52 | 100 | 100 | 99.5 | 78.4 | 99.9 |
| loss, t = 0.62 | 66.5 | 14.5 | 8.2 | 4.3 | 85.7 |
| loss, t = 0.72 | 17.9 | 3.7 | 1.2 | 0.2 | 57.3 |
| loss, t = 0.999 | 13 | 1.8 | 0.4 | 0.1 | 52.2 |
| likelihood | 100 | 99.6 | 98.9 | 98.2 | 99.45 |

FID 20.27.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

paper = run_path(str(Path(__file__).with_name("_base.py")))["paper"]


def get_config(arg: str = "") -> ConfigDict:
    return paper(arg, "vpsde", "VPSDE on FFHQ-1k")
