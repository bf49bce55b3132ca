"""Pang & Wang 2023 (2312.08207) at full size, for whoever has the images.

    python -m score_mia.papers.pang_wang.prepare --dataset=coco --out=DIR ...
    score-mia study --config=configs/pang_wang/study.py:DIR,SD15,DEIT --workdir=runs/pw

DIR: what `prepare` made. SD15, DEIT: folders of Stable Diffusion 1.5 as diffusers has
it, and of DeiT-base-distilled-384 as transformers does. After a third comma, the folder
of a model of another family (Stable Diffusion 2.1; theirs is Kandinsky 2.2, which is
not read here), which one more shadow is fine-tuned from. 100 members and 500 epochs are
theirs; how long they trained is unknown, so snapshots are kept of every fifth. DP-SGD
with their numbers beside it. No one has yet run it at full size with this code.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

scenarios = run_path(str(Path(__file__).parent / "_scenarios.py"))
DP = {"dp-1": 1.0, "dp-10": 10.0}
STEPS = 3125  # 500 epochs of 100 images in batches of 16


def audit(
    title: str, images: str, model: str, encoder: str, other: str, **dp
) -> ConfigDict:
    """All attacks on one fine-tuned model."""
    config = ConfigDict(
        dict(
            title=title,
            data=dict(name="folder", path=images, size=512, crop="center"),
            split=dict(
                name="files",
                members=f"{images}/members.txt",
                nonmembers=f"{images}/nonmembers.txt",
                auxiliary=f"{images}/auxiliary.txt",
                reference=0.25,
            ),
            target=dict(
                name="finetuned",
                base=dict(name="diffusers", folder=model),
                adapt="lora",
                rank=4,
            ),
            train=dict(
                steps=STEPS,
                batch=16,
                learning_rate=5e-5,
                warmup=0,
                ema=0.99,
                flip=False,
                snapshot_every=STEPS // 5,
            ),
            sampler=dict(name="ddim", steps=30, guidance=7.5),
            engine=dict(tile=8, shard=256),
            report=dict(samples=0),
        )
    )
    if dp:
        del config.train.snapshot_every
        config.train.dp = dict(clip=1.0, delta=1e-3, rate=0.04, **dp)
    seen = dict(name="vit", folder=encoder)
    signal = dict(name="reconstruct", m=3, encoder=seen)
    own = dict(name="retrieved", data=dict(config.data), encoder=seen)
    similar = dict(own, files=f"{images}/auxiliary.txt")
    config.signals = dict(
        told=signal,
        made=dict(signal, prompt=similar),
        untold=dict(signal, prompt="null"),
    )
    scenarios["attack"](config, base=another(other))
    return config


def another(folder: str) -> str | dict:
    """The base of a shadow of another family, if a folder is given."""
    return dict(name="diffusers", folder=folder) if folder else ""


def get_config(arg: str = "") -> ConfigDict:
    given = (*arg.split(","), "", "", "")[:4]
    usual = ("coco", "stable-diffusion-v1-5", "deit-base-distilled-patch16-384", "")
    where = [one or other for one, other in zip(given, usual, strict=True)]
    audits = dict(tuned=audit("Fine-tuned on 100 images", *where))
    for name, epsilon in DP.items():
        title = f"The same with DP-SGD, epsilon {epsilon:g}"
        audits[name] = audit(title, *where, epsilon=epsilon)
    return ConfigDict(
        dict(
            title="Black-box attacks on fine-tuned diffusion models",
            audits=audits,
            labels=dict(tuned="fine-tuned", **{n: f"ε = {e:g}" for n, e in DP.items()}),
            exhibits=scenarios["exhibits"](another(where[-1])),
        )
    )
