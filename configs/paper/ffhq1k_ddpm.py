"""DDPM on FFHQ-1k at 64x64 (Hu & Pang 2023, Tables 2 and 3).

    score-mia audit --config=configs/paper/ffhq1k_ddpm.py \
      --workdir=runs/ffhq1k_ddpm --config.data.data_dir=DIR

The images: FFHQ's thumbnails128x128, prepared once by
`python -m score_mia.papers.hu_pang.prepare --dataset=ffhq --images=thumbnails128x128
--data_dir=DIR`. To audit the authors' own checkpoint, run `import` first
(docs/interop.md). `ffhq1k_ddpm.py:smoke` needs neither.

Hardware: one A100 (40 GB). Expected time, estimated from 44.8 GFLOP a network
evaluation at 40 TFLOP/s sustained, not measured: 15 h of training, 3 h of attacks.
A target is kept every 50,000 steps (--config.train.snapshot_every).

The paper's rows (its positive class are the non-members, see docs/interop.md):

| attack | TPR at 10 % | 1 % | 0.1 % | 0.01 % | accuracy |
|---|---|---|---|---|---|
| loss, t = 0 | 63.5 | 36.4 | 22.5 | 21.1 | 78.25 |
| loss, t = 200 | 100 | 100 | 100 | 100 | 100 |
| loss, t = 500 | 100 | 99.5 | 80.8 | 72.5 | 99.3 |
| loss, t = 600 | 59.5 | 18.8 | 4.3 | 2.3 | 81.15 |
| loss, t = 800 | 13.9 | 2.5 | 0.6 | 0.3 | 52.8 |
| loss, t = 999 | 12.6 | 1.7 | 0 | 0 | 52.45 |
| likelihood | 98 | 89 | 79.7 | 71 | 95.75 |

FID 57.88 (of 1,000 samples against the training images).
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

paper = run_path(str(Path(__file__).with_name("_base.py")))["paper"]


def get_config(arg: str = "") -> ConfigDict:
    return paper(arg, "ddpm", "DDPM on FFHQ-1k")
