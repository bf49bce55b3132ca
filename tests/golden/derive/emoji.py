"""Makes score_mia/data/bundled/emoji.{npz,words} of Fluent Emoji (3D) at 32 pixels.

    python tests/golden/derive/emoji.py emoji_fluent3d64.npz

The input has "images" [n, 64, 64, 3], "captions", "codepoints" and "skin_variant" of
the packages @lobehub/fluent-emoji-3d 1.1.0 (images, MIT) and emojibase-data 17.0.0
(captions, MIT). Kept are emoji without a skin tone that have a caption. Images closer
than RMSE 10/255 (at 32 pixels), and those that such ones link, stay in one part; the
parts are drawn at random otherwise.
"""

import io
import re
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

SIZES = {"members": 250, "nonmembers": 400, "auxiliary": 300}
"""All others are for pre-training."""
OUT = Path(__file__).parents[3] / "score_mia" / "data" / "bundled" / "emoji.npz"


def main(path):
    data = np.load(path, allow_pickle=False)
    keep = ~data["skin_variant"] & (data["captions"] != "")
    images, captions = data["images"][keep], data["captions"][keep]
    codes = data["codepoints"][keep]
    small = np.rint(images.reshape(-1, 32, 2, 32, 2, 3).mean((2, 4))).astype(np.uint8)
    flat = small.reshape(len(small), -1).astype(np.float32)
    squares = (flat**2).sum(1)
    distance = squares[:, None] + squares[None] - 2 * flat @ flat.T
    close = distance < 10**2 * flat.shape[1]
    _, group = connected_components(close)
    random = np.random.RandomState(2026)
    part = np.full(len(small), "pretrain", "U10")
    wanted = dict(SIZES)
    for one in random.permutation(group.max() + 1):
        rows = np.flatnonzero(group == one)
        for name, left in wanted.items():
            if len(rows) <= left:
                part[rows], wanted[name] = name, left - len(rows)
                break
    assert not any(wanted.values()), wanted
    order = random.permutation(len(small))
    files = np.char.add(np.char.add(part, "/"), codes)
    arrays = {
        "images": small[order],
        "captions": captions[order],
        "files": files[order],
    }
    # Texts of fixed width in UTF-32 compress badly in an npz: one line each instead.
    arrays |= {
        k: np.frombuffer("\n".join(arrays[k]).encode(), np.uint8)
        for k in ("captions", "files")
    }
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            # A fixed date, so that the same input gives the same bytes.
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), 8)
    counts = Counter(
        w for c in captions for w in set(re.findall("[a-z0-9]+", c.lower()))
    )
    words = sorted(word for word, count in counts.items() if count > 1)
    OUT.with_suffix(".words").write_text("\n".join(words) + "\n")
    print(len(words), "words")
    print(len(small), {p: int((part == p).sum()) for p in np.unique(part)})


if __name__ == "__main__":
    main(sys.argv[1])
