"""A roofline of this machine's device, and where the house's programs lie under it.

    python benchmarks/accelerator.py                 # an accelerator: the paper's size
    python benchmarks/accelerator.py --size=small    # two CPU cores, ten minutes
    python benchmarks/accelerator.py --smoke         # a minute, to mean nothing

Peaks are measured: the best matrix product in each precision, and the best copy. Each
program is run until it has taken --seconds; its time is that of the fastest call, since
whatever else a machine does only slows it. On CPUs it is processor time over all
threads, so that other work does not count, and rates are those of one core.

What a program computes is counted on its own operations (products and convolutions,
loops as often as they turn); what it moves is XLA's count on the compiled program (none
where there is a loop, whose body XLA counts once). A program's roof is the lower of the
peak and of bandwidth times operations a byte. "Bound by" says which, or "neither" below
a quarter of it: then it is launches, small kernels, or the host.

Nothing is asked and nothing needs the network: a case that does not fit into memory is
told and left out. Writes benchmarks/results/accelerator-DEVICE-SIZE.json after every
case.
"""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from machine import machine
from rows import row_of
from training import begun

from score_mia import device
from score_mia.attacks import Likelihood, Loss
from score_mia.files import save_json
from score_mia.networks import DDPMNet, NCSNpp
from score_mia.networks.latent.dit import DiT
from score_mia.networks.network import COMPUTES, computing
from score_mia.parameterisation import Noise
from score_mia.sde import VP
from score_mia.target import Target
from score_mia.train.config import TrainConfig
from score_mia.train.step import Batch, Layout, State, make_gradient, make_optimiser

RESULTS = Path(__file__).resolve().parent / "results"

_SIZE = flags.DEFINE_enum("size", "paper", ["smoke", "small", "paper"], "of it all")
_SMOKE = flags.DEFINE_bool("smoke", False, "the same as --size=smoke")
_SECONDS = flags.DEFINE_float("seconds", 2.0, "that each case is run", 0.01)
_ONLY = flags.DEFINE_string("only", "", "cases in whose name this pattern is found")
_OUTPUT = flags.DEFINE_string("output", "", "file for the result; named by the device")


@dataclasses.dataclass(frozen=True)
class Size:
    """How large everything is.

    Attributes:
      networks: name -> specification and image.
      batches: of forward passes; training, likelihood and sweep take `work`.
      times: of the sweep.
      product: rows of the matrices whose product is the peak.
      copied: numbers of the array whose copy is.
    """

    networks: dict[str, tuple[Any, tuple[int, int, int]]]
    batches: tuple[int, ...]
    work: int
    times: int
    product: int
    copied: int


UNET = {"multipliers": (1, 2, 2, 2), "attention": (16,), "dropout": 0.0}
LITTLE = {"features": 32, "multipliers": (1, 2, 2), "blocks": 1, "dropout": 0.0}
TINY = {"features": 16, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}
SIZES = {
    "smoke": Size(
        {"ddpm nf=16": (DDPMNet(**TINY, groups=8, dropout=0.0), (8, 8, 3))},
        (2,), 2, 4, 256, 2**20,
    ),
    "small": Size(
        {
            "ddpm nf=32": (DDPMNet(**LITTLE, attention=(16,)), (32, 32, 3)),
            "dit d=192": (DiT(192, 3, 6, patch=4), (32, 32, 3)),
        },
        (1, 16), 16, 20, 2048, 2**26,
    ),
    "paper": Size(
        {
            "ddpm nf=128": (DDPMNet(**UNET, features=128, blocks=2), (64, 64, 3)),
            "ncsnpp nf=128": (
                NCSNpp(**UNET, features=128, blocks=4, fir=False), (64, 64, 3),
            ),
            "dit-xl/2": (DiT(patch=2), (32, 32, 4)),
        },
        (1, 8, 32, 128, 512), 64, 100, 16384, 2**30,
    ),
}  # fmt: skip


def precisions() -> tuple[str, ...]:
    """Those that differ on this platform: a CPU's TF32 is its float32."""
    every = ("float32", "tensorfloat32", "bfloat16")
    cpu = jax.default_backend() == "cpu"
    return tuple(p for p in every if not (cpu and p == "tensorfloat32"))


# --- counting -------------------------------------------------------------------------


def operations(jaxpr: Any) -> float:
    """Floating-point operations of the products and convolutions of a program."""
    total = 0.0
    for equation in jaxpr.eqns:
        name, given = equation.primitive.name, equation.params
        if name == "dot_general":
            (inner, _), _ = given["dimension_numbers"]
            left = equation.invars[0].aval.shape
            out = math.prod(equation.outvars[0].aval.shape)
            total += 2.0 * out * math.prod(left[i] for i in inner)
        elif name == "conv_general_dilated":
            kernel, numbers = equation.invars[1].aval.shape, given["dimension_numbers"]
            out = math.prod(equation.outvars[0].aval.shape)
            # Zeros that a stride puts between the pixels are not multiplied by.
            zeros = math.prod(given["lhs_dilation"])
            seen = math.prod(kernel) / kernel[numbers.rhs_spec[0]]
            total += 2.0 * out * seen / zeros
        inside = sum(operations(inner) for inner in _inside(given))
        total += inside * (given["length"] if name == "scan" else 1)
    return total


def _inside(given: dict[str, Any]) -> Iterator[Any]:
    for value in given.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(one, "jaxpr", one)
            if hasattr(inner, "eqns"):
                yield inner


def loops(jaxpr: Any) -> bool:
    """Whether a program has a loop of its own."""
    return any(
        equation.primitive.name in ("scan", "while")
        or any(loops(inner) for inner in _inside(equation.params))
        for equation in jaxpr.eqns
    )


def moved(program: Any, jaxpr: Any) -> float | None:
    """Bytes that a compiled program reads and writes; None if that is not known."""
    if loops(jaxpr):
        return None
    found = program.cost_analysis()
    found = found[0] if isinstance(found, list) and found else found
    return (found or {}).get("bytes accessed")


# --- timing ---------------------------------------------------------------------------


def timed(call: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest call, after one that does not count."""
    jax.block_until_ready(call())
    cpu = jax.default_backend() == "cpu"
    clock, took = time.process_time if cpu else time.perf_counter, list[float]()
    while len(took) < 3 or (sum(took) < seconds and len(took) < 1000):
        start = clock()
        jax.block_until_ready(call())
        took.append(clock() - start)
    return min(took)


def peaks(size: Size, seconds: float) -> dict[str, float]:
    """Operations a second of a product by precision, and bytes a second of a copy."""
    found, n = {}, size.product

    def product(precision: Any) -> Callable[[], Any]:
        dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
        a = jnp.ones((n, n), dtype)
        with device.precisely(precision):
            program = jax.jit(lambda a, b: a @ b).lower(a, a).compile()
        return lambda: program(a, a)

    for precision in precisions():
        found[precision] = 2.0 * n**3 / timed(product(precision), seconds)
    x = jnp.ones((size.copied,), jnp.float32)
    copy = jax.jit(lambda x: x + 1.0).lower(x).compile()
    found["copy"] = 2.0 * x.nbytes / timed(lambda: copy(x), seconds)
    return found


# --- cases ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Case:
    """A program with what it is given, built only when it is its turn.

    Attributes:
      name: of the network and the step.
      rows: images that it computes at once.
      precision: of products.
      make: from nothing to a jitted function and its arguments.
    """

    name: str
    rows: int
    precision: str
    make: Callable[[], tuple[Any, tuple[Any, ...]]]


def target_of(spec: Any, shape: tuple[int, int, int], precision: str) -> Target:
    """A target of fresh parameters."""
    network = spec.build(shape)
    params = jax.jit(network.init)(jax.random.key(0))
    apply = network.apply
    if precision in COMPUTES:
        apply = computing(apply, precision)
    return Target(params, VP(), Noise(scale=999.0), apply)


def jit(function: Callable, target: Target, precision: str) -> Any:
    """As the engine has it."""
    rounded = precision == "bfloat16"
    return device.jit(function, parameters=device.size(target.params), rounded=rounded)


def forward(spec: Any, shape: Any, rows: int, precision: str) -> Any:
    """One pass of the network."""
    target = target_of(spec, shape, precision)
    x = jax.random.normal(jax.random.key(1), (rows, *shape))
    return jit(target.apply, target, precision), (target.params, x, jnp.ones(rows))


def signal(read: Any, spec: Any, shape: Any, rows: int, precision: str) -> Any:
    """A signal of a tile of images."""
    target = target_of(spec, shape, precision)
    one = row_of(read)

    def row(target: Target, image: Any, key: Any) -> Any:
        return one(target, image, key).values

    images = jax.random.uniform(jax.random.key(1), (rows, *shape))
    keys = jax.random.split(jax.random.key(2), rows)
    program = jit(jax.vmap(row, (None, 0, 0)), target, precision)
    return program, (target, images, keys)


def training(spec: Any, shape: Any, rows: int, precision: str) -> Any:
    """One step: gradient, clipping, Adam, averaging; its state is given away."""
    target, config = target_of(spec, shape, precision), TrainConfig(1000, rows)
    layout, optimiser = Layout(target.params), make_optimiser(config)

    def join(frozen: Any, params: Any) -> Target:
        return dataclasses.replace(target, params=params)

    gradient = make_gradient(join, layout, config.objective)
    program, state = begun(layout, target.params, gradient, optimiser, config, False)
    images = jax.random.uniform(jax.random.key(1), (rows, *shape))
    given = (state, Batch(images), None, jax.random.key(2))
    return program, given


def cases(size: Size) -> Iterator[Case]:
    """All of them, the paper's network first."""
    for k, (name, (spec, shape)) in enumerate(size.networks.items()):
        for precision in precisions():
            for rows in size.batches if k == 0 else size.batches[-2:]:
                given = (spec, shape, rows, precision)
                yield Case(f"{name}, forward", rows, precision,
                           lambda g=given: forward(*g))  # fmt: skip
        if k > 0:
            continue
        sweep = Loss(times=size.times)
        flow = Likelihood(probes=1, evaluations=8)
        for precision in precisions():
            given = (spec, shape, size.work, precision)
            steps: dict[str, Callable] = {
                "training step": lambda g=given: training(*g),
                f"loss at {size.times} times": lambda g=given, s=sweep: signal(s, *g),
                "likelihood, 8 evaluations": lambda g=given, s=flow: signal(s, *g),
            }
            for step, make in steps.items():
                yield Case(f"{name}, {step}", size.work, precision, make)


def measured(case: Case, top: dict[str, float], seconds: float) -> dict[str, Any]:
    """One line of the table."""
    program, given = case.make()
    with device.precisely(case.precision):
        traced = program.trace(*given)
    count, began = operations(traced.jaxpr.jaxpr), time.perf_counter()
    compiled = traced.lower().compile()
    compiling, held = time.perf_counter() - began, [*given]
    training = isinstance(given[0], State)

    def call() -> Any:
        made = compiled(*held)
        if training:  # the state is given away
            held[0] = made[0]
        return made

    took, traffic = timed(call, seconds), moved(compiled, traced.jaxpr.jaxpr)
    memory = compiled.memory_analysis()
    line = {
        "case": case.name,
        "rows": case.rows,
        "precision": case.precision,
        "seconds": took,
        "compiling_seconds": round(compiling, 1),
        "operations": count,
        "bytes": traffic,
        "memory_between": getattr(memory, "temp_size_in_bytes", None),
        "rows_per_second": case.rows / took,
        "operations_per_second": count / took,
        "bytes_per_second": None if traffic is None else traffic / took,
    }
    return {**line, **_roof(line, top)}


def _roof(line: dict[str, Any], top: dict[str, float]) -> dict[str, Any]:
    """The share of what is possible, and by what it is bound."""
    peak = top[line["precision"]]
    roof, by = peak, "arithmetic"
    if line["bytes"] is not None:
        slope = top["copy"] * line["operations"] / line["bytes"]
        roof, by = (slope, "memory") if slope < peak else (peak, "arithmetic")
    share = line["operations_per_second"] / roof
    of_peak = line["operations_per_second"] / peak
    return {"share_of_roof": share, "share_of_peak": of_peak,
            "bound_by": by if share >= 0.25 else "neither"}  # fmt: skip


def shown(line: dict[str, Any]) -> str:
    """A line in words."""
    if "failed" in line:
        return f"{line['case']:34s} {line['rows']:4d} {line['precision']:14s} " + (
            f"left out: {line['failed']}"
        )
    traffic = line["bytes_per_second"]
    return (
        f"{line['case']:34s} {line['rows']:4d} {line['precision']:14s} "
        f"{1e3 * line['seconds'] / line['rows']:9.3f} ms/row "
        f"{line['operations_per_second'] / 1e12:8.3f} TFLOP/s "
        f"{'-' if traffic is None else f'{traffic / 1e9:.0f}':>6} GB/s "
        f"{100 * line['share_of_peak']:4.0f} % of peak "
        f"{100 * line['share_of_roof']:4.0f} % of roof  {line['bound_by']}"
    )


def main(_: Any) -> None:
    """Print the table, and keep it as it grows."""
    jax.config.update("jax_compilation_cache_dir", None)
    name = "smoke" if _SMOKE.value else _SIZE.value
    size, seconds = SIZES[name], _SECONDS.value if name != "smoke" else 0.05
    kind = re.sub(r"[^a-z0-9]+", "-", jax.devices()[0].device_kind.lower()).strip("-")
    path = Path(_OUTPUT.value or RESULTS / f"accelerator-{kind}-{name}.json")
    # One device: how rows spread over several is another question.
    about = {
        **machine(),
        "device": device.name(),
        "versions": {"jax": jax.__version__, "flax": flax.__version__,
                     "numpy": np.__version__},
        "size": name,
        "seconds_a_case": seconds,
        "clock": "processor" if jax.default_backend() == "cpu" else "wall",
    }  # fmt: skip
    top = peaks(size, seconds)
    for what, value in top.items():
        unit = "TB/s" if what == "copy" else "TFLOP/s"
        print(f"peak {what:14s} {value / 1e12:9.3f} {unit}", flush=True)
    lines: list[dict[str, Any]] = []
    chosen = (case for case in cases(size) if re.search(_ONLY.value, case.name))
    for case in chosen:
        try:
            line = measured(case, top, seconds)
        except jax.errors.JaxRuntimeError as error:  # memory, above all
            reason = str(error).splitlines()[0][:120]
            told = {"case": case.name, "rows": case.rows, "precision": case.precision}
            line = {**told, "failed": reason}
        lines.append(line)
        print(shown(line), flush=True)
        save_json(path, {**about, "peaks": top, "lines": lines})


if __name__ == "__main__":
    app.run(main)
