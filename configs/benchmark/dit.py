"""The field's own target: DiT on ImageNet, training set against validation set.

    score-mia study --config=configs/benchmark/dit.py:MODEL,IMAGES.npz,SPLIT.npz \
        --workdir=runs/benchmark/dit

MODEL: a folder of DiT-XL-2-256 as diffusers writes it. IMAGES.npz: "images", uint8
[N, 256, 256, 3], and "labels", their classes. SPLIT.npz: places in it as integer arrays
"members" (of the training set) and "nonmembers" (of the validation set). Images are
told their class. The white box and the likelihood are left out, as for every large
latent model here. No one has yet run it at full size with this code.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

field = run_path(str(Path(__file__).with_name("_field.py")))
USUAL = ("DiT-XL-2-256", "imagenet.npz", "split.npz")


def get_config(arg: str = "") -> ConfigDict:
    given = [word for word in arg.split(",") if word] or [*USUAL]
    if len(given) != 3:
        raise ValueError("give MODEL,IMAGES.npz,SPLIT.npz")
    model, images, split = given
    audit = field["audit"](
        "DiT",
        dict(name="arrays", path=images),
        dict(name="files", members=split, reference=0.25),
        dict(name="diffusers", folder=model),
        told="label",
        white=False,
        likelihood=False,
        tile=16,
    )
    audit.sampler = dict(name="ddim", steps=50, guidance=1.5)
    return field["study"]("DiT on ImageNet", dict(dit=audit), dict(dit="DiT"))
