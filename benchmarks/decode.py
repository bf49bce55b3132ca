"""Images decoded a second by a lazy folder, by the number of its workers.

    python benchmarks/decode.py            # needs the extra "grain" for its workers

A pass over a folder of JPEG files of 256x256, resized to 64x64, in blocks of 64 as the
scoring loop asks for them. With workers the seconds until they have started are told
apart. Writes benchmarks/results/decode.json.
"""

import importlib.metadata
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from machine import machine
from PIL import Image

from score_mia.data.local import folder
from score_mia.files import save_json

HERE = Path(__file__).resolve().parent
_FILES = flags.DEFINE_integer("files", 2048, "in the folder", 256)
_WORKERS = flags.DEFINE_multi_integer("workers", [0, 1, 2], "processes that decode")
_OUTPUT = flags.DEFINE_string(
    "output", str(HERE / "results" / "decode.json"), "where to write"
)
BLOCK = 64


def write(place, count):
    """Photographs in so far as they are smooth: noise, enlarged."""
    random = np.random.RandomState(0)
    for i in range(count):
        small = random.randint(0, 256, (16, 16, 3)).astype(np.uint8)
        picture = Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC)
        picture.save(place / f"{i:06d}.jpg", quality=90)


def passed(source):
    """Seconds until two blocks are there, and images a second of the others."""
    ids = source.ids
    start = time.perf_counter()
    for i in (0, BLOCK):
        source.images(ids[i : i + BLOCK])
    begun = time.perf_counter()
    for i in range(2 * BLOCK, len(ids), BLOCK):
        source.images(ids[i : i + BLOCK])
    rate = (len(ids) - 2 * BLOCK) / (time.perf_counter() - begun)
    return {"seconds_to_begin": round(begun - start, 1), "images_a_second": round(rate)}


def main(_):
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), _FILES.value)
        found = {}
        for workers in _WORKERS.value:
            source = folder(name, 64, lazy=True, workers=workers)
            found[str(workers)] = passed(source)
            print(workers, found[str(workers)], flush=True)
    versions = {n: importlib.metadata.version(n) for n in ("grain", "pillow", "numpy")}
    record = {"machine": machine(), "versions": versions, "workers": found}
    save_json(_OUTPUT.value, {**record, "files": _FILES.value})


if __name__ == "__main__":
    app.run(main)
