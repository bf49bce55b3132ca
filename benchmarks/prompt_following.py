"""Do a model's images follow their prompts? For each, which real image is nearest?

    python benchmarks/prompt_following.py --workdir=runs/text/base --part=pretrain

A sample is drawn for each caption of the part (or `count` of them); among its own
caption's image and `others` that are drawn at random from the same part, that of the
nearest features (cosine, EfficientNet-Lite0) is taken. Chance is 1 in 20. Prints the
share that is right with its Clopper-Pearson interval, and writes pictures: the real
image above its sample.
"""

import json
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

import score_mia
from score_mia.attacks.likeness import token_similarity
from score_mia.data.local import bundled
from score_mia.encoders import EfficientNetLite0, encode
from score_mia.metrics.intervals import proportion
from score_mia.sampling import Heun, Service

WORKDIR = flags.DEFINE_string("workdir", None, "of the trained model", required=True)
PART = flags.DEFINE_string("part", "pretrain", "folder of the bundled emoji")
COUNT = flags.DEFINE_integer("count", None, "captions that are asked for (all)")
OTHERS = flags.DEFINE_integer("others", 19, "wrong images beside the right one")
STEPS = flags.DEFINE_integer("steps", 18, "of Heun's method")
GUIDANCE = flags.DEFINE_float("guidance", 2.0, "weight of classifier-free guidance")
SEED = flags.DEFINE_integer("seed", 0, "of captions, others and noise")
OUT = flags.DEFINE_string("out", None, "folder of the picture and the numbers")


def main(_):
    source = bundled("emoji")
    known = source.columns(source.ids, ("file", "caption"))
    part = source.ids[np.char.startswith(known["file"], f"{PART.value}/")]
    random = np.random.RandomState(SEED.value)
    chosen = random.permutation(part)[: COUNT.value]
    target = score_mia.load(WORKDIR.value)
    service = Service(
        Heun(steps=STEPS.value), target.conditioner, source.shape, 16, GUIDANCE.value
    )
    seeds = SEED.value + np.arange(len(chosen))
    images = service.of(target.denoiser).draw(known["caption"][chosen], seeds)
    real = source.images(part)
    encoder = EfficientNetLite0()
    ours, theirs = encode(encoder, images), encode(encoder, real)
    right = 0
    for feature, one in zip(ours, chosen, strict=True):
        wrong = random.permutation(part[part != one])[: OTHERS.value]
        rows = np.searchsorted(part, np.append(one, wrong))
        alike = token_similarity(theirs[rows], feature[None], "cosine")
        right += int(np.argmax(alike) == 0)
    share = proportion(right, len(chosen))
    told = {
        "part": PART.value,
        "right": right,
        "of": len(chosen),
        "share": [share.value, share.low, share.high],
        "guidance": GUIDANCE.value,
        "steps": STEPS.value,
    }
    print(json.dumps(told))
    if OUT.value:
        folder = Path(OUT.value)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{PART.value}.json").write_text(json.dumps(told) + "\n")
        rows = np.searchsorted(part, chosen[:32])
        pairs = np.concatenate([real[rows], images[:32]], axis=1)
        grid = pairs.reshape(2, 16, 64, 32, 3).transpose(0, 2, 1, 3, 4)
        grid = np.rint(255 * grid.reshape(128, 512, 3)).astype(np.uint8)
        large = Image.fromarray(grid).resize((1024, 256), Image.Resampling.NEAREST)
        large.save(folder / f"{PART.value}.png")


if __name__ == "__main__":
    app.run(main)
