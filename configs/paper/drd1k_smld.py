"""SMLD on DRD-1k at 64x64 (Hu & Pang 2023, Table 4).

    score-mia audit --config=configs/paper/drd1k_smld.py \
      --workdir=runs/drd1k_smld --config.data.data_dir=DIR

The images: Kaggle's diabetic retinopathy detection, those that show the disease,
prepared by `python -m score_mia.papers.hu_pang.prepare --dataset=drd` (see its --help).
`drd1k_smld.py:smoke` does not need them.

Hardware: one A100 (40 GB). Expected time, estimated from 44.8 GFLOP a network
evaluation at 40 TFLOP/s sustained, not measured: 15 h of training, 3 h of attacks.
A target is kept every 50,000 steps (--config.train.snapshot_every).
Its t counts from the most noise: their t is our step 999 - t.

The paper's rows (its positive class are the non-members, see docs/interop.md):

| attack | TPR at 10 % | 1 % | 0.1 % | 0.01 % | accuracy |
|---|---|---|---|---|---|
| loss, t = 0 | 7.5 | 1.1 | 0 | 0 | 50.25 |
| loss, t = 200 | 11.2 | 0.7 | 0.1 | 0 | 52.25 |
| loss, t = 700 | 80.6 | 50.5 | 33.34 | 18.8 | 85.45 |
| loss, t = 800 | 93.3 | 72.2 | 60 | 40.1 | 92.25 |
| loss, t = 900 | 79.8 | 42.4 | 17.7 | 12.3 | 86.35 |
| loss, t = 999 | 43.6 | 9.7 | 2 | 0.1 | 70.95 |
| likelihood | 100 | 100 | 100 | 99.9 | 99.95 |

FID 33.20.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

paper = run_path(str(Path(__file__).with_name("_base.py")))["paper"]


def get_config(arg: str = "") -> ConfigDict:
    return paper(arg, "smld", "SMLD on DRD-1k", data="drd")
