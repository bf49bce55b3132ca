"""Foreign checkpoints, read as data: from other projects' files to a `Target`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from score_mia.interop.foreign import Foreign
    from score_mia.interop.score_sde import load_score_sde, read_score_sde
    from score_mia.interop.score_sde_config import from_score_sde_config

__all__ = ["Foreign", "from_score_sde_config", "load_score_sde", "read_score_sde"]


def __getattr__(name: str) -> Any:
    """Imported at the first use: `unpickle` alone needs none of the networks."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from score_mia.interop import score_sde

    return getattr(score_sde, name)
