"""The numbers that Hu & Pang 2023 (2301.09956) print, by table.

For looking up, never for computing with: they were measured on other images, with
other trainings, and (in the released code) with non-members as the positive class.
Table 5 is missing because its values are in a picture.
"""

from __future__ import annotations

import dataclasses

PROCESSES = {"ddpm": "DDPM", "smld": "SMLD", "vp": "VPSDE", "ve": "VESDE"}
"""Our name of a process -> the paper's."""
RATES = (0.1, 0.01, 0.001, 0.0001)
"""False-positive rates of the paper's tables."""
_SMLD_LAST = 999


@dataclasses.dataclass(frozen=True)
class Rate:
    """One row of Tables 2-4, in per cent.

    Attributes:
      process: ours.
      printed: the diffusion step as printed; None for the likelihood attack.
      tpr: at each of `RATES`.
      accuracy: at the best threshold.
    """

    process: str
    printed: float | None
    tpr: tuple[float, float, float, float]
    accuracy: float

    @property
    def time(self) -> float | None:
        """The step on our clock, where noise grows with time: SMLD's counts down."""
        if self.process == "smld" and self.printed is not None:
            return _SMLD_LAST - self.printed
        return self.printed


@dataclasses.dataclass(frozen=True)
class Fid:
    """A printed FID: of 1,000 samples to all training images."""

    process: str
    data: str
    value: float


@dataclasses.dataclass(frozen=True)
class RateTable:
    """Rows of attacks on targets trained on `data`."""

    data: str
    rows: tuple[Rate, ...]

    def find(self, process: str, time: float | None) -> Rate | None:
        """The row of a process at a time of our clock, or of its likelihood attack."""
        for row in self.rows:
            if row.process != process:
                continue
            if row.time is None or time is None:
                if row.time is time:
                    return row
            elif abs(row.time - time) <= 1e-6:
                return row
        return None


@dataclasses.dataclass(frozen=True)
class FidTable:
    """FIDs of several targets."""

    rows: tuple[Fid, ...]


def _rates(data: str, *rows: tuple) -> RateTable:
    return RateTable(data, tuple(Rate(p, t, tuple(x[:4]), x[4]) for p, t, *x in rows))


_FFHQ, _DRD = "FFHQ-1k, 64x64", "DRD-1k, 64x64"

RATE_TABLES = {
    "Table 2": _rates(
        _FFHQ,
        ("ddpm", 0, 63.5, 36.4, 22.5, 21.1, 78.25),
        ("ddpm", 200, 100.0, 100.0, 100.0, 100.0, 100.0),
        ("ddpm", 500, 100.0, 99.5, 80.8, 72.5, 99.3),
        ("ddpm", 600, 59.5, 18.8, 4.3, 2.3, 81.15),
        ("ddpm", 800, 13.9, 2.5, 0.6, 0.3, 52.8),
        ("ddpm", 999, 12.6, 1.7, 0.0, 0.0, 52.45),
        ("smld", 0, 7.9, 0.8, 0.0, 0.0, 51.2),
        ("smld", 200, 11.2, 0.7, 0.1, 0.0, 52.3),
        ("smld", 500, 88.5, 64.4, 56.1, 35.7, 89.5),
        ("smld", 800, 99.1, 91.7, 78.6, 76.1, 96.4),
        ("smld", 900, 85.8, 52.0, 22.8, 15.3, 88.8),
        ("smld", 999, 41.5, 8.6, 1.9, 0.1, 70.55),
        ("vp", 1.97e-4, 93.0, 85.0, 81.6, 77.6, 93.15),
        ("vp", 0.21, 100.0, 100.0, 100.0, 100.0, 100.0),
        # Printed without a point, "9990%".
        ("vp", 0.52, 100.0, 100.0, 99.5, 78.4, 99.9),
        ("vp", 0.62, 66.5, 14.5, 8.2, 4.3, 85.7),
        ("vp", 0.72, 17.9, 3.7, 1.2, 0.2, 57.3),
        ("vp", 0.999, 13.0, 1.8, 0.4, 0.1, 52.2),
        ("ve", 1.97e-4, 100.0, 100.0, 100.0, 100.0, 100.0),
        ("ve", 0.21, 100.0, 100.0, 100.0, 100.0, 100.0),
        ("ve", 0.52, 100.0, 100.0, 100.0, 99.9, 99.95),
        ("ve", 0.62, 96.0, 53.6, 18.6, 14.2, 93.25),
        ("ve", 0.82, 13.1, 1.9, 0.5, 0.3, 52.5),
        ("ve", 0.999, 11.6, 1.7, 0.3, 0.1, 51.5),
    ),
    "Table 3": _rates(
        _FFHQ,
        ("ddpm", None, 98.0, 89.0, 79.7, 71.0, 95.75),
        ("smld", None, 100.0, 100.0, 100.0, 100.0, 100.0),
        ("vp", None, 100.0, 99.6, 98.9, 98.2, 99.45),
        ("ve", None, 100.0, 93.8, 58.4, 23.1, 98.5),
    ),
    "Table 4": _rates(
        _DRD,
        ("smld", 0, 7.5, 1.1, 0.0, 0.0, 50.25),
        ("smld", 200, 11.2, 0.7, 0.1, 0.0, 52.25),
        ("smld", 700, 80.6, 50.5, 33.34, 18.8, 85.45),
        ("smld", 800, 93.3, 72.2, 60.0, 40.1, 92.25),
        ("smld", 900, 79.8, 42.4, 17.7, 12.3, 86.35),
        ("smld", 999, 43.6, 9.7, 2.0, 0.1, 70.95),
        ("smld", None, 100.0, 100.0, 100.0, 99.9, 99.95),
    ),
}
FID_TABLES = {
    "Table 1": FidTable(
        (
            Fid("ddpm", _FFHQ, 57.88),
            Fid("smld", _FFHQ, 92.81),
            Fid("vp", _FFHQ, 20.27),
            Fid("ve", _FFHQ, 63.37),
        )
    ),
    "Section 6.1": FidTable(
        (
            Fid("ddpm", _FFHQ, 57.88),
            Fid("ddpm", "FFHQ-10k, 64x64", 34.34),
            Fid("ddpm", "FFHQ-30k, 64x64", 24.06),
        )
    ),
    "Section 6.2": FidTable((Fid("smld", _DRD, 33.2),)),
    "Section 7": FidTable((Fid("ddpm", f"{_FFHQ}, DP-SGD, ε 19.62", 393.94),)),
}


def about_rates(name: str, stepped: bool, smld: bool) -> str:
    """What a reader must know who looks from a published rate to one of ours.

    Args:
      name: of the table.
      stepped: whether rows at diffusion steps are shown.
      smld: whether such rows of SMLD are.
    """
    read_off = "the steps were read off the reported images, and " if stepped else ""
    known = (
        f"Rows marked “published” are Hu & Pang 2023, {name} "
        f"({RATE_TABLES[name].data}): 1,000 members and as many non-members, without "
        f"intervals. There {read_off}the released code takes non-members for the "
        "positive class; a rate of 0.01 % of 1,000 images is no false positive at all. "
        "Compare shapes, not values."
    )
    if not smld:
        return known
    return (
        f"{known} SMLD counts its steps down from most noise there, and the released "
        "attack gives it other noise levels (sigma 0.001 to 50) than the released "
        "training (0.01 to 90)."
    )


def about_fid(name: str) -> str:
    """The same for a published FID."""
    return (
        f"Rows marked “published” are Hu & Pang 2023, {name}: FID of 1,000 samples to "
        "all training images, the best snapshot chosen by that very number. An FID of "
        "other images, or of another number of samples, is another quantity."
    )
