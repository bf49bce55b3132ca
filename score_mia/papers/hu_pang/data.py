"""The paper's data sets, as `score_mia.papers.hu_pang.prepare` writes them."""

from __future__ import annotations

from pathlib import Path

from score_mia.check import require
from score_mia.data.records import tfds
from score_mia.data.source import ArraySource


def ffhq(
    data_dir: str | Path, size: int = 64, cache: str | Path | None = None
) -> ArraySource:
    """FFHQ thumbnails. No labels.

    Ids are places in the sorted list of files, 0 ... 69,999, so the paper's split
    (`shuffled`, seed 2022) and its authors' index files apply directly.

    Args:
      data_dir: where TFDS data sets are kept.
      size: side in pixels.
      cache: folder to keep the decoded pixels in, so that later starts map them.

    Raises:
      UserError: it is not prepared there at this size, or is damaged.
    """
    return _prepared("ffhq", data_dir, size, cache)


def drd(
    data_dir: str | Path, size: int = 64, cache: str | Path | None = None
) -> ArraySource:
    """Diabetic retinopathy images, the 23,359 that show the disease (level above 0).

    Labels are the levels.

    Args:
      data_dir: where TFDS data sets are kept.
      size: side in pixels.
      cache: folder to keep the decoded pixels in, so that later starts map them.

    Raises:
      UserError: as for `ffhq`.
    """
    return _prepared("drd", data_dir, size, cache)


def _prepared(
    name: str, data_dir: str | Path, size: int, cache: str | Path | None
) -> ArraySource:
    config = f"{size}px"
    require(
        (Path(data_dir).expanduser() / name / config).is_dir(),
        f"{name} at {config}",
        f"is not prepared in {data_dir}",
        f"run: python -m score_mia.papers.hu_pang.prepare --dataset={name} "
        f"--size={size} --images=DIR --data_dir={data_dir}",
    )
    return tfds(f"{name}/{config}", data_dir, cache=cache)
