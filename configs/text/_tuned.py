"""The fine-tuned text model as the target of the papers' mini studies."""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

from score_mia.data.local import bundled

_tuning = run_path(str(Path(__file__).parent / "finetune.py"))
finetune, retrieved = _tuning["get_config"], _tuning["retrieved"]
TUNED = "runs/text/tuned"
SEEN = dict(name="efficientnet_lite0", size=128)


def first(folder: str, count: int | None) -> list[str]:
    """Files of so many of a folder's emoji, or of all."""
    source = bundled("emoji")
    files = source.columns(source.ids, ("file",))["file"]
    return [str(f) for f in files if f.startswith(f"{folder}/")][:count]


def seen(arg: str = "") -> dict:
    """By what encoder images are compared."""
    return dict(name="pixels") if arg == "smoke" else dict(SEEN)


def attacked(title: str, arg: str = "") -> ConfigDict:
    """An audit, without attacks, of the target of configs/pang_wang/mini.py.

    All of its candidates are judged, by attacks that know none.
    """
    folder = "smoke-pang_wang" if arg == "smoke" else "pang_wang"
    config = kept(title, arg, f"runs/{folder}/tuned")
    config.split.reference = 0.0
    return config


def kept(title: str, arg: str = "", folder: str = "") -> ConfigDict:
    """An audit, without attacks, of the target that configs/text/finetune.py trained.

    188 members and 300 non-members are judged: a quarter of either is reference.

    Args:
      title: of the audit.
      arg: "" or "smoke".
      folder: of another one that was fine-tuned on the same images.
    """
    config = finetune(arg)
    config.title = title
    usual = "runs/text/smoke-tuned" if arg == "smoke" else TUNED
    config.target = dict(name="kept", folder=folder or usual)
    del config.train
    config.split.reference = 0.25
    config.attacks = ConfigDict()
    config.sampler.steps = 4 if arg == "smoke" else 10
    config.report = dict(samples=0, pictures=False)
    return config
