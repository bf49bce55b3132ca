"""SMLD on FFHQ-1k at 64x64 (Hu & Pang 2023, Tables 2 and 3).

    score-mia audit --config=configs/paper/ffhq1k_smld.py \
      --workdir=runs/ffhq1k_smld --config.data.data_dir=DIR

The images: FFHQ's thumbnails128x128, prepared once by
`python -m score_mia.papers.hu_pang.prepare --dataset=ffhq --images=thumbnails128x128
--data_dir=DIR`. To audit the authors' own checkpoint, run `import` first
(docs/interop.md). `ffhq1k_smld.py:smoke` needs neither.

Hardware: one A100 (40 GB). Expected time, estimated from 44.8 GFLOP a network
evaluation at 40 TFLOP/s sustained, not measured: 15 h of training, 3 h of attacks.
A target is kept every 50,000 steps (--config.train.snapshot_every).
Its t counts from the most noise: their t is our step 999 - t.

The paper's rows (its positive class are the non-members, see docs/interop.md):

| attack | TPR at 10 % | 1 % | 0.1 % | 0.01 % | accuracy |
|---|---|---|---|---|---|
| loss, t = 0 | 7.9 | 0.8 | 0 | 0 | 51.2 |
| loss, t = 200 | 11.2 | 0.7 | 0.1 | 0 | 52.3 |
| loss, t = 500 | 88.5 | 64.4 | 56.1 | 35.7 | 89.5 |
| loss, t = 800 | 99.1 | 91.7 | 78.6 | 76.1 | 96.4 |
| loss, t = 900 | 85.8 | 52 | 22.8 | 15.3 | 88.8 |
| loss, t = 999 | 41.5 | 8.6 | 1.9 | 0.1 | 70.55 |
| likelihood | 100 | 100 | 100 | 100 | 100 |

FID 92.81. The published loss attack adds noise of other levels than the model was
trained with; `loss_as_published` does the same.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

paper = run_path(str(Path(__file__).with_name("_base.py")))["paper"]


def get_config(arg: str = "") -> ConfigDict:
    return paper(arg, "smld", "SMLD on FFHQ-1k")
