"""DDPM on FFHQ-1k under DP-SGD, epsilon 19.62 (Hu & Pang 2023, Section 7).

    score-mia audit --config=configs/paper/ffhq1k_ddpm_dp.py \
      --workdir=runs/ffhq1k_ddpm_dp --config.data.data_dir=DIR

The images: FFHQ's thumbnails128x128, prepared once by
`python -m score_mia.papers.hu_pang.prepare --dataset=ffhq --images=thumbnails128x128
--data_dir=DIR`. To audit the authors' own checkpoint, run `import` first
(docs/interop.md). `ffhq1k_ddpm_dp.py:smoke` needs neither.

Hardware: one A100 (40 GB). Expected time, estimated from 44.8 GFLOP a network
evaluation at 40 TFLOP/s sustained, not measured: 2 h of training, 3 h of attacks.
A target is kept every 5,000 steps (--config.train.snapshot_every).

C = 1, delta = 5e-4, batch 64 and 1,800 epochs: as Opacus samples, with a rate of 1/16
(one over the 16 batches of an epoch) and 28,800 steps, a seventeenth of the other
targets'. The paper tells no noise: here it is calibrated to the epsilon by Renyi DP at
Opacus' orders, which gives a noise multiplier of 2.980 (epsilon 18.03 by the tighter
accountant that reports print beside it).

The paper's rows (its positive class are the non-members, see docs/interop.md):

| attack | |
|---|---|
| loss, t from 400 to 800 | at most 15 % TPR at 10 % |
| likelihood | 0.1 % TPR at low rates |

FID 393.94: the model draws no faces. Such a target says little of privacy at useful
quality; compare it with `--config.train.dp.control=clip_only`.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

paper = run_path(str(Path(__file__).with_name("_base.py")))["paper"]


def get_config(arg: str = "") -> ConfigDict:
    private = dict(clip=1.0, epsilon=19.62, delta=5e-4, rate=1 / 16, accountant="rdp")
    if arg == "smoke":
        private["epsilon"] = 100.0  # ten steps on sixteen images
    config = paper(arg, "ddpm", "DDPM on FFHQ-1k under DP-SGD")
    if arg != "smoke":
        config.train.update(batch=64, steps=28_800, snapshot_every=5_000)
    config.train.dp = ConfigDict(private)
    return config
