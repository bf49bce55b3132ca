"""What a classifier that never sees the model may know of images: few columns of each.

Whatever an image is described by, an encoder's features or words of its caption,
becomes principal components, found without a look at who is a member.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from score_mia.check import UserError, finite, require
from score_mia.data.pools import Names
from score_mia.data.source import Source
from score_mia.files import load_npz

_BUCKETS = 2**14  # of hashed words: collisions are rare and cost little
_NEEDED = 'give arrays "features" [n, k] and "files" [n] or "ids" [n]'


def reduced(
    features: Float[np.ndarray, "n d"], components: int, seed: int, what: str
) -> Float[np.ndarray, "n k"]:
    """Principal components, at most so many.

    Args:
      features: of all images, of whichever class.
      components: kept.
      seed: of the decomposition.
      what: the features are of, for messages.

    Raises:
      UserError: a NaN or an infinity.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    finite(f"features of {what}", features)
    count = min(components, *features.shape)
    pca: Any = PCA(count, svd_solver="randomized", random_state=seed)
    with threadpool_limits(1):  # its bits depend on their number
        return pca.fit_transform(np.asarray(features, np.float64))


def with_squares(x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n m"]:
    """Columns and their squares: a linear test then sees shifts of the spread too."""
    return np.concatenate([x, x**2], axis=1)


def words(
    source: Source, ids: Int[np.ndarray, " n"], components: int, seed: int
) -> Float[np.ndarray, "n k"]:
    """Components of hashed counts of words and pairs of words, weighted by TF-IDF.

    Args:
      source: data with captions.
      ids: of the images.
      components: kept.
      seed: of the decomposition.

    Raises:
      UserError: data without captions, or captions without a word.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from threadpoolctl import threadpool_limits

    known = source.columns(ids, ("caption",)).get("caption")
    if known is None:
        raise UserError(
            "rounds.features 'caption': the data have no captions; give some, or leave "
            "'caption' out"
        )
    plain: dict[str, Any] = {"alternate_sign": False, "norm": None}
    hashing: Any = HashingVectorizer(n_features=_BUCKETS, ngram_range=(1, 2), **plain)
    counts: Any = hashing.transform([str(text) for text in known])
    remedy = "leave 'caption' out of rounds.features"
    require(counts.nnz > 0, "captions", "hold no word of two letters", remedy)
    table: Any = TfidfTransformer().fit_transform(counts)
    count = max(1, min(components, len(ids) - 1))
    with threadpool_limits(1):
        return TruncatedSVD(count, random_state=seed).fit_transform(table)


def read_features(
    path: str | Path, names: Names, ids: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n k"]:
    """Features that another program made, such as a text encoder's of the captions.

    Args:
      path: an npz with arrays "features" [m, ...] and "files" or "ids" [m].
      names: of the images of the data.
      ids: of the images wanted, in the order wanted.

    Raises:
      UserError: the file is damaged, lacks an array or an image, names one twice, or
        holds a NaN.
    """
    owner = f"features {path}"
    arrays = load_npz(path, None, sealed=False, remedy=_NEEDED)
    key = next((name for name in ("files", "ids") if name in arrays), "")
    ok = "features" in arrays and key != ""
    require(ok, owner, f"holds {sorted(arrays)}", _NEEDED)
    features, entries = arrays["features"], arrays[key]
    ok = features.ndim >= 2 and entries.shape == features.shape[:1]
    problem = f"features {features.shape} do not fit {key} {entries.shape}"
    require(ok and features.dtype.kind in "fiu", owner, problem, _NEEDED)
    place: dict[int, int] = {}
    for row, entry in enumerate(entries.tolist()):
        if (found := names.find(entry)) is not None:
            twice = found in place
            require(not twice, owner, f"names {entry!r} again", "name each once")
            place[found] = row
    missing = [i for i in ids.tolist() if i not in place]
    first = names.shown(np.asarray(missing[:1], np.int64))
    problem = f"has none of {len(missing)} images of the pools (first: {first})"
    require(not missing, owner, problem, "add them")
    rows = features[[place[i] for i in ids.tolist()]].reshape(len(ids), -1)
    finite(owner, rows)
    return rows.astype(np.float64)
