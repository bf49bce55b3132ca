"""The field's own target: pytorch-ddpm on CIFAR-10 or CIFAR-100, 25,000 of each kind.

    score-mia study \
        --config=configs/benchmark/pytorch_ddpm.py:CKPT.pt,TRAIN.npy,SPLIT.npz \
        --workdir=runs/benchmark/pytorch_ddpm

CKPT.pt: a checkpoint of pytorch-ddpm that SecMI's authors trained on half of the
training set. TRAIN.npy: the 50,000 training images, uint8 [50000, 32, 32, 3], in the
order of the published files. SPLIT.npz: SecMI's index file, with mia_train_idxs and
mia_eval_idxs. A second such triple behind the first (CIFAR-100) is a second audit.
A tenth is reference data; 22,500 members and as many others are judged. No one has yet
run it at full size with this code.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

field = run_path(str(Path(__file__).with_name("_field.py")))
USUAL = ("ckpt.pt", "cifar10_train.npy", "CIFAR10_train_ratio0.5.npz")
SETS = ("cifar10", "cifar100")


def get_config(arg: str = "") -> ConfigDict:
    given = [word for word in arg.split(",") if word] or [*USUAL]
    if len(given) not in (3, 6):
        raise ValueError("give CKPT.pt,TRAIN.npy,SPLIT.npz, once or twice")
    audits = {}
    for name, start in zip(SETS, range(0, len(given), 3), strict=False):
        file, images, split = given[start : start + 3]
        audits[name] = field["audit"](
            f"pytorch-ddpm, {name}",
            dict(name="arrays", path=images),
            dict(name="files", members=split, reference=0.1),
            dict(name="pytorch_ddpm", file=file),
        )
    labels = {n: t for n, t in zip(SETS, ("CIFAR-10", "CIFAR-100"), strict=True)
              if n in audits}  # fmt: skip
    return field["study"]("pytorch-ddpm on SecMI's halves", audits, labels)
