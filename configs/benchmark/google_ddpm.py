"""The field's own target: google/ddpm-cifar10-32, training set against test set.

    score-mia study \
        --config=configs/benchmark/google_ddpm.py:MODEL,IMAGES.npy,SPLIT.npz \
        --workdir=runs/benchmark/google_ddpm

MODEL: a folder of google/ddpm-cifar10-32 as diffusers writes it. IMAGES.npy: CIFAR-10,
uint8 [N, 32, 32, 3], training and test images in one array. SPLIT.npz: their places in
it as integer arrays "members" and "nonmembers". The model saw all training images, so
that who is a member goes together with who is in the training set: read everything
beside the blind control. No one has yet run it at full size with this code.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

field = run_path(str(Path(__file__).with_name("_field.py")))
USUAL = ("ddpm-cifar10-32", "cifar10.npy", "split.npz")


def get_config(arg: str = "") -> ConfigDict:
    given = [word for word in arg.split(",") if word] or [*USUAL]
    if len(given) != 3:
        raise ValueError("give MODEL,IMAGES.npy,SPLIT.npz")
    model, images, split = given
    audit = field["audit"](
        "google/ddpm-cifar10-32",
        dict(name="arrays", path=images),
        dict(name="files", members=split, reference=0.2),
        dict(name="diffusers", folder=model),
    )
    labels = dict(cifar10="google/ddpm-cifar10-32")
    return field["study"]("google/ddpm-cifar10-32", dict(cifar10=audit), labels)
