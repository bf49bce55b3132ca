"""Where a target comes from: it is trained here, or read from what others trained.

`MODELS` is the family that a config's `target` names. Whatever the source, the target
ends in the workdir's `target/`, with its spec, its digests and its seal, so that every
later stage is the same; of a service (`Client`), only what is asked. One of
your own is "my_package.mine:Source", a class with `make`, or `dict(name="callable",
call="my_package.mine:function")` for a function that returns an `interop.Foreign`.
"""

from score_mia.models.client import Client
from score_mia.models.finetuned import Finetuned
from score_mia.models.folder import Diffusers
from score_mia.models.kept import Kept
from score_mia.models.memory import InMemory
from score_mia.models.protocol import Described, Model, Order
from score_mia.models.pytorch_ddpm import PytorchDdpm
from score_mia.models.reading import Called, ScoreSde, origin
from score_mia.models.trained import Trained

MODELS = {
    "trained": Trained,
    "finetuned": Finetuned,
    "score_sde": ScoreSde,
    "diffusers": Diffusers,
    "pytorch_ddpm": PytorchDdpm,
    "callable": Called,
    "kept": Kept,
    "memory": InMemory,
    "client": Client,
}

__all__ = [
    "MODELS",
    "Called",
    "Client",
    "Described",
    "Diffusers",
    "Finetuned",
    "InMemory",
    "Kept",
    "Model",
    "Order",
    "PytorchDdpm",
    "ScoreSde",
    "Trained",
    "origin",
]
