"""VESDE on FFHQ-1k at 64x64 (Hu & Pang 2023, Tables 2 and 3).

    score-mia audit --config=configs/paper/ffhq1k_vesde.py \
      --workdir=runs/ffhq1k_vesde --config.data.data_dir=DIR

The images: FFHQ's thumbnails128x128, prepared once by
`python -m score_mia.papers.hu_pang.prepare --dataset=ffhq --images=thumbnails128x128
--data_dir=DIR`. To audit the authors' own checkpoint, run `import` first
(docs/interop.md). `ffhq1k_vesde.py:smoke` needs neither.

Hardware: one A100 (40 GB). Expected time, estimated from 81.0 GFLOP a network
evaluation at 40 TFLOP/s sustained, not measured: 27 h of training, 6 h of attacks.
A target is kept every 50,000 steps (--config.train.snapshot_every).

The paper's rows (its positive class are the non-members, see docs/interop.md):

| attack | TPR at 10 % | 1 % | 0.1 % | 0.01 % | accuracy |
|---|---|---|---|---|---|
| loss, t = 1.97e-4 | 100 | 100 | 100 | 100 | 100 |
| loss, t = 0.21 | 100 | 100 | 100 | 100 | 100 |
| loss, t = 0.52 | 100 | 100 | 100 | 99.9 | 99.95 |
| loss, t = 0.62 | 96 | 53.6 | 18.6 | 14.2 | 93.25 |
| loss, t = 0.82 | 13.1 | 1.9 | 0.5 | 0.3 | 52.5 |
| loss, t = 0.999 | 11.6 | 1.7 | 0.3 | 0.1 | 51.5 |
| likelihood | 100 | 93.8 | 58.4 | 23.1 | 98.5 |

FID 63.37.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

paper = run_path(str(Path(__file__).with_name("_base.py")))["paper"]


def get_config(arg: str = "") -> ConfigDict:
    return paper(arg, "vesde", "VESDE on FFHQ-1k")
