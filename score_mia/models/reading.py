"""Targets that others trained: read once, then kept like one of our own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from score_mia.check import Unreachable, UserError, require
from score_mia.checkpoint import describe, has_arrays, is_unsealed, save_target
from score_mia.interop import Foreign, read_score_sde
from score_mia.models.protocol import Order
from score_mia.registry import load


@dataclasses.dataclass(frozen=True)
class ScoreSde:
    """A checkpoint of score_sde or MIDM; the command `import` is short for it.

    The config's `sde`, `network`, `parameterisation` and `codec` say what it is of, and
    the split's members are taken to be its training set.

    Attributes:
      file: the checkpoint.
    """

    file: str

    def make(self, folder: Path, order: Order) -> int:
        """Read it, unless the folder holds it already."""
        return adopt(folder, order, lambda: read_score_sde(self.file, order.spec))


@dataclasses.dataclass(frozen=True)
class Called:
    """What a function of the user's returns, for a model of any other code.

    Attributes:
      call: "module:function"; called with the spec that the config describes, it
        returns a `score_mia.interop.Foreign`.
    """

    call: str

    def make(self, folder: Path, order: Order) -> int:
        """Call it, unless the folder holds what it gave."""
        function = load(self.call, "target.call")

        def read() -> Foreign:
            given = function(order.spec)
            ok = isinstance(given, Foreign)
            problem = f"returned a {type(given).__name__}"
            remedy = "let it return a score_mia.interop.Foreign"
            require(ok, f"target.call {self.call!r}", problem, remedy)
            return given

        return adopt(folder, order, read)


def adopt(
    folder: Path,
    order: Order,
    read: Callable[[], Foreign],
    known: Mapping[str, str] | None = None,
) -> int:
    """Keep what is read as the workdir's target.

    Args:
      folder: of the target.
      order: what it is taken for.
      read: reads it, spec and all.
      known: its origin, where that is known without reading; what is kept already is
        then not read again.

    Returns:
      Training steps that it says were made.

    Raises:
      UserError: the workdir has another target or a begun training, or it cannot be
        read as what the config says.
    """
    before = origin(folder)
    if known is not None and known == before and has_arrays(folder):
        return describe(folder)["provenance"]["step"]
    given = read()
    same = before == given.origin
    if same and has_arrays(folder) and not is_unsealed(folder):
        return given.step
    free = not (folder / "target.json").exists() and not (folder / "state").is_dir()
    problem = "holds another target" if before is None else f"holds {before['file']}"
    require(free or same, f"{folder}", problem, "choose another --workdir")
    about = {
        **order.provenance,
        "imported": given.origin,
        "step": given.step,
        "members": order.members,
        "seconds": None,
    }
    save_target(folder, given.spec, given.params, given.ema, about)
    return given.step


def origin(folder: Path) -> dict[str, str] | None:
    """Where a target that was read came from; None for one that was trained here."""
    try:
        return describe(folder, unsealed=True)["provenance"].get("imported")
    except Unreachable:
        raise
    except UserError:
        return None
