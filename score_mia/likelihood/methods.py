"""How the flow is solved: Adams-Bashforth, Runge-Kutta, or diffrax, controlled."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from score_mia.check import at_least, one_of, positive, require

CLOCKS = ("log_sigma", "time")


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method: nodes c, stages a (lower triangle), weights b."""

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]


TABLEAUS = {
    "heun": Tableau((0, 1), ((), (1,)), (1 / 2, 1 / 2)),
    "rk4": Tableau(
        (0, 1 / 2, 1 / 2, 1),
        ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ),
    # Dormand & Prince 1980, the fifth-order solution: without an error estimate its
    # seventh stage is not needed, which leaves six evaluations a step.
    "dopri5": Tableau(
        (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1),
        (
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        ),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
}


ADAMS = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -4 / 3, 5 / 12))
"""Adams-Bashforth weights of the newest, second and third newest slope, by how many
there are yet. One evaluation a step: at equal cost its steps are six times as short as
those of "dopri5", which counts for more than order where the data's structure shows."""

METHODS = ("adams", *TABLEAUS)


@dataclasses.dataclass(frozen=True)
class FixedGrid:
    """Equal steps of an explicit method on the clock of `likelihood.coordinates`.

    Every image takes the same evaluations, so rows cannot disturb each other and
    batches are full; `grid_error` measures what the grid costs in accuracy.

    Attributes:
      evaluations: of the network, an image; a multiple of the method's stages.
      method: "adams" (three steps, third order, and the only one that tells its own
        error), or a Runge-Kutta method of `TABLEAUS`.
    """

    evaluations: int = 64
    method: str = "adams"

    def __post_init__(self) -> None:
        at_least("evaluations", self.evaluations, 1)
        one_of("method", self.method, METHODS)
        ok = self.evaluations % self.stages == 0
        problem = f"make no whole number of steps of {self.method!r}"
        remedy = f"give a multiple of {self.stages}"
        require(ok, f"evaluations={self.evaluations}", problem, remedy)

    @property
    def stages(self) -> int:
        """Evaluations of one step."""
        return 1 if self.method == "adams" else len(TABLEAUS[self.method].b)

    @property
    def steps(self) -> int:
        """Steps of equal length on the clock."""
        return self.evaluations // self.stages


@dataclasses.dataclass(frozen=True)
class Adaptive:
    """diffrax with error control for each image: the reference.

    Attributes:
      method: "tsit5", "dopri5", "dopri8", "heun" or "bosh3".
      rtol, atol: tolerances of the step.
      max_steps: after so many (rejected ones included) the answer is NaN.
      clock: "log_sigma", or "time" for x itself in t, as published.
    """

    method: str = "tsit5"
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 4096
    clock: str = "log_sigma"

    def __post_init__(self) -> None:
        one_of("method", self.method, ADAPTIVE)
        one_of("clock", self.clock, CLOCKS)
        positive("rtol", self.rtol)
        positive("atol", self.atol)
        at_least("max_steps", self.max_steps, 1)


@dataclasses.dataclass(frozen=True)
class Still:
    """No flow at all: log p_t at the unmoved image, by quadrature over the clock.

    Where the network is the exact score of a diffused law, y = x / alpha has

        log p_s0(y) = log p_s1(y) + int (div_y eps - |eps|^2 / s) ds,

    the heat equation along s at fixed y. Nothing is stiff there, so that images far
    from everything the model knows cost no more than others. A trained network is no
    exact score: then this is another number than the flow's.

    Attributes:
      evaluations: of the network, at the nodes of Gauss and Legendre.
    """

    evaluations: int = 64

    def __post_init__(self) -> None:
        at_least("evaluations", self.evaluations, 2)

    def rule(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nodes in [0, 1], weights, and the doubt: weights of the rule on every other
        node less those of the whole one; each [evaluations]."""
        nodes, weights = np.polynomial.legendre.leggauss(self.evaluations)
        half = np.polynomial.legendre.legvander(nodes[::2], len(nodes[::2]) - 1)
        doubt = -weights
        # Only the constant polynomial has an integral over [-1, 1]: it is 2.
        doubt[::2] += np.linalg.solve(half.T, 2.0 * np.eye(len(half))[0])
        return (nodes + 1) / 2, weights / 2, doubt / 2


ADAPTIVE = {
    "tsit5": "Tsit5",
    "dopri5": "Dopri5",
    "dopri8": "Dopri8",
    "heun": "Heun",
    "bosh3": "Bosh3",
}

Solver = FixedGrid | Adaptive | Still


class Turns(NamedTuple):
    """A method as one list of evaluations, each field [n] or [n, slots].

    Evaluation i is made at z + h reach . slopes, its slope is put into `slot`, and then
    z moves by h step . slopes. `doubt` are the weights of a step one order lower, less
    those of `step`.
    """

    place: np.ndarray
    slot: np.ndarray
    reach: np.ndarray
    step: np.ndarray
    doubt: np.ndarray


def turns(grid: FixedGrid) -> Turns:
    """The list of a fixed grid's method."""
    n = grid.evaluations
    if grid.method == "adams":
        slots = len(ADAMS)
        step, doubt = np.zeros((2, n, slots))
        for i in range(n):
            # Slopes lie in a ring: the newest in slot i mod 3, the one before in ...
            weights = ADAMS[min(i, slots - 1)]
            ring = [(i - k) % slots for k in range(len(weights))]
            step[i, ring] = weights
            if i > 0:
                lower = ADAMS[min(i, slots - 1) - 1]
                doubt[i, ring] = np.pad(lower, (0, 1)) - weights
        place, slot = np.arange(n), np.arange(n) % slots
        return Turns(place, slot, np.zeros_like(step), step, doubt)
    tableau = TABLEAUS[grid.method]
    slots = len(tableau.b)
    rows = np.asarray([(*row, *[0.0] * (slots - len(row))) for row in tableau.a])
    last = np.zeros((slots, slots))
    last[-1] = tableau.b
    place = np.add.outer(np.arange(grid.steps), tableau.c).ravel()
    slot, reach = np.tile(np.arange(slots), grid.steps), np.tile(rows, (grid.steps, 1))
    doubt = np.full((n, slots), np.nan)  # of the dropped stages nothing is known
    return Turns(place, slot, reach, np.tile(last, (grid.steps, 1)), doubt)
