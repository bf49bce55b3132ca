"""Somebody's service: a model of which nothing but its images is known."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from score_mia.check import UserError, require
from score_mia.files import load_sealed, save_sealed
from score_mia.models.polite import Manners, Polite
from score_mia.models.protocol import Order
from score_mia.registry import load, require_has
from score_mia.target import Generator


@dataclasses.dataclass(frozen=True)
class Client:
    """A generator behind an interface, attacked by signals of access "samples".

    Attributes:
      call: "module:function"; called without arguments it returns a
        `score_mia.target.Generator` (and `Varying` or `Observed`, if it can do that).
      prompt: the column of the data that it is asked with, e.g. "caption" or "label";
        None for a model that takes no prompt.
      polite: how it is asked (`models.polite.Manners`): retries, timeouts, a rate, a
        budget, and a log from which a killed run goes on; None to ask it as it is.
    """

    call: str
    prompt: str | None = None
    polite: Manners | None = None

    @functools.cached_property
    def generator(self) -> Generator:
        """The client, made once."""
        made = load(self.call, "target.call")()
        require_has("target.call", made, ("shape", "draw"))
        return made if self.polite is None else Polite(made, self.polite)

    def make(self, folder: Path, order: Order) -> int:
        """There is nothing to make: what is asked is kept, and must stay the same."""
        path = folder / "client.json"
        asked = {"call": self.call, "prompt": self.prompt}
        asked["members"] = order.provenance["members_digest"]
        if (folder / "target.json").exists():
            raise UserError(f"{folder}: holds another target; choose another --workdir")
        if path.exists():
            same = asked.items() <= load_sealed(path).items()
            require(same, f"{path}", "is of another service", "choose another folder")
        save_sealed(path, asked)
        return 0
