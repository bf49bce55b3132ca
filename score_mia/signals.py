"""`Signals`: the record of what a signal read off a target, one row per image.

Shards of a record form a commutative monoid under `concat`: rows are kept sorted by
id, so the order in which shards were made cannot be seen. No JAX here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.check import UserError, require
from score_mia.files import load_npz, parse_json, save_npz

_META = {"names": [str], "diagnostic_names": [str], "provenance": dict}


@dataclasses.dataclass(frozen=True, eq=False)
class Signals:
    """K numbers per image, higher = more member-like, with who was a member.

    Attributes:
      values: [N, K] float32.
      member: [N] bool, True for images of the training set (the positive class).
      ids: [N] int64, strictly ascending.
      names: K column names, e.g. "loss@200".
      diagnostics: [N, D] float32, measured beside the signal and never scored.
      diagnostic_names: D names, e.g. "network_evaluations".
      provenance: what made the record (signal, target digest, seed, tile, ...).
    """

    values: np.ndarray
    member: np.ndarray
    ids: np.ndarray
    names: tuple[str, ...]
    diagnostics: np.ndarray
    diagnostic_names: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.ids)
        require(
            self.values.shape == (n, len(self.names))
            and self.diagnostics.shape == (n, len(self.diagnostic_names))
            and self.member.shape == (n,),
            "signals",
            f"shapes {self.values.shape}, {self.diagnostics.shape}, "
            f"{self.member.shape} do not fit {n} ids, {len(self.names)} names and "
            f"{len(self.diagnostic_names)} diagnostics",
            "give one row per id and one column per name",
        )
        require(
            bool(np.all(np.diff(self.ids) > 0)),
            "signals",
            "ids are not strictly ascending",
            "build records with Signals.of, which sorts, and give each image once",
        )

    @staticmethod
    def of(
        values: np.ndarray,
        member: np.ndarray,
        ids: np.ndarray,
        names: Sequence[str],
        diagnostics: np.ndarray | None = None,
        diagnostic_names: Sequence[str] = (),
        provenance: Mapping[str, Any] | None = None,
    ) -> Signals:
        """A record from rows in any order (shapes as in the class)."""
        order = np.argsort(ids, kind="stable")
        if diagnostics is None:
            diagnostics = np.zeros((len(ids), 0), np.float32)
        return Signals(
            values=np.asarray(values, np.float32)[order],
            member=np.asarray(member, bool)[order],
            ids=np.asarray(ids, np.int64)[order],
            names=tuple(names),
            diagnostics=np.asarray(diagnostics, np.float32)[order],
            diagnostic_names=tuple(diagnostic_names),
            provenance=dict(provenance or {}),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Signals):
            return NotImplemented
        return (
            self.names == other.names
            and self.diagnostic_names == other.diagnostic_names
            and dict(self.provenance) == dict(other.provenance)
            and all(
                np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
                for a, b in (
                    (self.values, other.values),
                    (self.member, other.member),
                    (self.ids, other.ids),
                    (self.diagnostics, other.diagnostics),
                )
            )
        )

    def select(self, rows: np.ndarray) -> Signals:
        """The rows of a boolean mask [N]."""
        return dataclasses.replace(
            self,
            values=self.values[rows],
            member=self.member[rows],
            ids=self.ids[rows],
            diagnostics=self.diagnostics[rows],
        )

    def column(self, name: str) -> np.ndarray:
        """One column [N] of the values or the diagnostics, by its name."""
        for names, values in (
            (self.names, self.values),
            (self.diagnostic_names, self.diagnostics),
        ):
            if name in names:
                return values[:, names.index(name)]
        raise UserError(
            f"signals have no column {name!r}; known: "
            + ", ".join((*self.names[:20], *self.diagnostic_names))
        )

    def save(self, path: str | Path) -> None:
        """Write one npz atomically: the file is whole or absent.

        Who is a member is for the split to say, and is not written.
        """
        meta = json.dumps(
            {
                "names": self.names,
                "diagnostic_names": self.diagnostic_names,
                "provenance": dict(self.provenance),
            },
            sort_keys=True,
        )
        save_npz(
            path,
            values=self.values,
            ids=self.ids,
            diagnostics=self.diagnostics,
            meta=np.asarray(meta),
        )

    @staticmethod
    def load(path: str | Path, members: np.ndarray) -> Signals:
        """Read a record written by `save`.

        Args:
          path: the file.
          members: ids of the training set, other images' among them.

        Raises:
          UserError: the file is missing, damaged, or no such record.
        """
        arrays = load_npz(path, ("values", "ids", "diagnostics", "meta"))
        meta = parse_json(str(path), str(arrays.pop("meta")), _META)
        return Signals(
            member=np.isin(arrays["ids"], members),
            names=tuple(meta["names"]),
            diagnostic_names=tuple(meta["diagnostic_names"]),
            provenance=meta["provenance"],
            **arrays,
        )


def concat(parts: Sequence[Signals]) -> Signals:
    """Join shards of one record, in any order; ids must not repeat."""
    require(len(parts) > 0, "concat", "no shards were given", "give at least one")
    first = parts[0]
    for part in parts[1:]:
        same = (
            part.names == first.names
            and part.diagnostic_names == first.diagnostic_names
            and dict(part.provenance) == dict(first.provenance)
        )
        require(
            same,
            "concat",
            "shards come from different signals, targets or seeds",
            "delete the shards of the older run",
        )
    return Signals.of(
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.member for p in parts]),
        np.concatenate([p.ids for p in parts]),
        first.names,
        np.concatenate([p.diagnostics for p in parts]),
        first.diagnostic_names,
        first.provenance,
    )
