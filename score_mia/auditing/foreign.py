"""`import`: a checkpoint of another code becomes the target of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from score_mia.auditing.work import Work
from score_mia.check import UserError, require
from score_mia.checkpoint import describe, has_arrays, is_unsealed, save_target


def adopt(work: Work, checkpoint: str | Path, provenance: Mapping[str, Any]) -> int:
    """Write a checkpoint of score_sde or MIDM as the workdir's target.

    Args:
      work: whose config says what the checkpoint is of: network, sde,
        parameterisation, codec; its members are taken to be the training set.
      checkpoint: the file (`interop.read_score_sde`).
      provenance: kept with the target.

    Returns:
      Training steps that the file says were made.

    Raises:
      UserError: the workdir has another target or a begun training, or the file
        cannot be read as what the config says.
    """
    from score_mia.interop import read_score_sde

    folder = work.folder / "target"
    found = read_score_sde(checkpoint, work.plan.spec(work.source.shape))
    before = origin(folder)
    same = before == found.origin
    if same and has_arrays(folder) and not is_unsealed(folder):
        return found.step
    free = not (folder / "target.json").exists() and not (folder / "state").exists()
    require(
        free or same,
        f"{folder}",
        "holds another target" if before is None else f"holds {before['file']}",
        "choose another --workdir",
    )
    about = {
        **provenance,
        "imported": found.origin,
        "step": found.step,
        "members": len(work.split.members),
        "seconds": None,
    }
    save_target(folder, found.spec, found.params, found.ema, about)
    return found.step


def origin(folder: Path) -> dict[str, str] | None:
    """Where an imported target came from; None for one that was trained here."""
    try:
        return describe(folder, unsealed=True)["provenance"].get("imported")
    except UserError:
        return None
