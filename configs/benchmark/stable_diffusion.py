"""The field's own target: Stable Diffusion 1.4 and 1.5 on LAION-mi.

    python -m score_mia.papers.laion_mi.fetch --list=members.csv --out=DIR/members
    python -m score_mia.papers.laion_mi.fetch --list=nonmembers.csv --out=DIR/nonmembers
    score-mia study --config=configs/benchmark/stable_diffusion.py:DIR,SD14,SD15 \
        --workdir=runs/benchmark/stable_diffusion

DIR: the images of LAION-mi's lists, with their captions. SD14, SD15: folders of the
models as diffusers writes them; one will do. Both were trained on the members. Images
are told their captions; the white box is left out (859 million weights an image), and
so is the likelihood, which latents do not have of pixels. No one has yet run it at full
size with this code.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

field = run_path(str(Path(__file__).with_name("_field.py")))
USUAL = ("laion_mi", "stable-diffusion-v1-4", "stable-diffusion-v1-5")
MODELS = {"sd14": "Stable Diffusion 1.4", "sd15": "Stable Diffusion 1.5"}


def get_config(arg: str = "") -> ConfigDict:
    given = [word for word in arg.split(",") if word] or [*USUAL]
    if len(given) not in (2, 3):
        raise ValueError("give DIR,SD14 or DIR,SD14,SD15")
    images, *folders = given
    audits = {}
    for name, folder in zip(MODELS, folders, strict=False):
        audits[name] = field["audit"](
            f"LAION-mi, {MODELS[name]}",
            dict(name="folder", path=images, size=512, crop="center"),
            dict(name="folders", reference=0.25),
            dict(name="diffusers", folder=folder),
            told="caption",
            white=False,
            likelihood=False,
            tile=8,
        )
        audits[name].sampler = dict(name="ddim", steps=50, guidance=7.5)
    labels = {name: MODELS[name] for name in audits}
    return field["study"]("Stable Diffusion on LAION-mi", audits, labels)
