"""score_mia beside the first paper's own code: same weights, same images, in turn.

    python benchmarks/beside.py forward \
        --peer=MIDM/attacking_diffusion_models --peer_python=PYTHON_WITH_TORCH

and likewise `sweep`, `train_step`, and `likelihood` with
`--target=runs/bench-small/target`.
`--peer` is the attack folder of a checkout of HailongHuPri/MIDM; its Python needs
torch, numpy, scipy, h5py, scikit-learn and ml_collections. Each side runs in a process
of its own (ours.py, theirs.py) and is asked in turn, so that a busy machine slows both;
numbers are medians over the rounds. Ours has memory in large pages, as the command line
has (score_mia/pages.py); theirs is measured without and with them. The memory is each
process's peak beyond what its imports took. Writes benchmarks/results/NAME.json. See
benchmarks/README.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from machine import machine

from score_mia import pages

HERE = Path(__file__).resolve().parent

_PEER = flags.DEFINE_string("peer", None, "the peer's attack folder", required=True)
_PYTHON = flags.DEFINE_string("peer_python", sys.executable, "Python with torch")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "timed calls; 0: the first", 0)
_ONLY = flags.DEFINE_string("only", "", "measure the cases whose name has this text")
_TARGET = flags.DEFINE_string("target", None, "likelihood: a trained target's folder")
_IMAGES = flags.DEFINE_integer("images", 16, "likelihood: images a call of ours", 1)
_NAME = flags.DEFINE_string("name", "", "name of the result file")

PAPER = {"features": 128, "multipliers": (1, 2, 2, 2), "blocks": 2, "attention": (16,)}
SMALL = {**PAPER, "features": 32}
LITTLE = {**SMALL, "multipliers": (1, 2, 2), "blocks": 1, "attention": (8,)}
CASES = {
    "forward": {
        "ddpm nf=32 32x32 B=1": {"network": SMALL, "shape": (32, 32, 3), "batch": 1},
        "ddpm nf=32 32x32 B=64": {"network": SMALL, "shape": (32, 32, 3), "batch": 64},
        "ddpm nf=128 64x64 B=1": {"network": PAPER, "shape": (64, 64, 3), "batch": 1},
        "ddpm nf=128 64x64 B=8": {"network": PAPER, "shape": (64, 64, 3), "batch": 8},
    },
    "sweep": {
        "1,000 steps of an image, ddpm nf=32 32x32": {
            "network": SMALL,
            "shape": (32, 32, 3),
        },
    },
    "train_step": {
        "ddpm nf=32 16x16 B=32": {"network": LITTLE, "shape": (16, 16, 3), "batch": 32},
        "ddpm nf=32 32x32 B=32": {"network": SMALL, "shape": (32, 32, 3), "batch": 32},
    },
}


class Side:
    """A process that answers requests, one line of JSON each."""

    def __init__(self, python: str, script: str, *arguments: str, large: bool = True):
        memory = {pages.VARIABLE: pages.setting() if large else ""}
        self.process = subprocess.Popen(
            [python, str(HERE / script), *arguments],
            env={**os.environ, **memory},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> Any:
        """The answer to one request."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("one side ended; see its message above")
        return json.loads(answer)


def sides() -> dict[str, Side]:
    """All sides, started afresh: memory peaks of one case do not hide another's."""
    theirs = (_PYTHON.value, "theirs.py", _PEER.value)
    return {
        "score_mia": Side(sys.executable, "ours.py"),
        "authors": Side(*theirs, large=False),
        "authors, large pages": Side(*theirs),
    }


def compare(case: dict[str, Any]) -> dict[str, Any]:
    """Median seconds an image and peak memory of every variant of both sides."""
    both = sides()
    variants = {
        f"{name}{extra}": (side, extra)
        for name, side in both.items()
        for extra in side.ask(do="make", **case)
    }
    warm = {name: side.ask(do="run", variant=v) for name, (side, v) in variants.items()}
    rounds = [
        {name: side.ask(do="run", variant=v) for name, (side, v) in variants.items()}
        for _ in range(_ROUNDS.value)
    ] or [warm]
    result: dict[str, Any] = {
        "seconds_per_image": {
            name: statistics.median(r[name]["seconds"] for r in rounds)
            for name in variants
        },
        "peak_mib": {name: round(side.ask(do="peak")) for name, side in both.items()},
    }
    for fact in ("evaluations", "bits_per_dim"):
        if fact in warm["score_mia"]:
            result[fact] = {name: warm[name][fact] for name in variants}
    if bits := result.get("bits_per_dim"):
        require_same(bits)
    best = min(v for k, v in result["seconds_per_image"].items() if "authors" in k)
    result["times_faster"] = round(best / result["seconds_per_image"]["score_mia"], 2)
    for side in both.values():
        side.process.stdin.close()
        side.process.wait()
    return result


def require_same(bits: dict[str, list[float]]) -> None:
    """Refuse to compare two networks: one probe's noise is less than half a bit."""
    first = [found[0] for found in bits.values()]
    if max(first) - min(first) > 0.5:
        raise SystemExit(f"the sides disagree on the first image's bits/dim: {bits}")


def target_case(folder: str, scratch: str) -> dict[str, Any]:
    """A trained target as a case: its weights in torch's names, its members' images."""
    from score_mia.auditing.plan import plan
    from score_mia.checkpoint import load_target
    from score_mia.data.split import Split
    from score_mia.files import load_json

    workdir = Path(folder).parent
    settings = load_json(workdir / "config.json")
    audit = plan(settings)
    source, split = audit.source(), Split.load(workdir / "split.npz")
    ids = np.concatenate([split.members, split.nonmembers])[: _IMAGES.value]
    target = load_target(folder, allow=audit.names)
    spec = target.apply.spec
    names = torch_state(spec, target.params, source.shape)
    np.savez(f"{scratch}/weights.npz", **names)
    np.savez(f"{scratch}/images.npz", images=source.images(ids))
    fields = {k: v for k, v in settings["network"].items() if k != "name"}
    return {
        "kind": "likelihood",
        "network": fields,
        "shape": source.shape,
        "sde": settings["sde"]["name"],
        "target": str(Path(folder).resolve()),
        "scratch": scratch,
    }


def torch_state(spec: Any, params: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    """The weights as the state dict of score_sde_pytorch, without "sigmas"."""
    from score_mia.interop.score_sde_torch import _weights
    from score_mia.networks.network import merged

    options = spec.options() if hasattr(spec, "options") else spec
    state = {}
    for weight in _weights(merged(spec, shape, params), options):
        array = np.asarray(weight.variable[...])
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif array.ndim == 2 and weight.name.endswith(".weight"):
            convolution = weight.name.split(".")[-2].startswith("Conv")
            array = array.T[:, :, None, None] if convolution else array.T
        state[weight.name] = array
    return state


def main(argv: list[str]) -> None:
    kind = argv[1] if len(argv) > 1 else ""
    if kind not in (*CASES, "likelihood"):
        raise SystemExit(f"say what to measure: {', '.join((*CASES, 'likelihood'))}")
    about, results = machine(), {}
    with tempfile.TemporaryDirectory() as scratch:
        cases = {k: {"kind": kind, **v} for k, v in CASES.get(kind, {}).items()}
        if kind == "likelihood":
            case = target_case(_TARGET.value, scratch)
            features, (height, width, _) = case["network"]["features"], case["shape"]
            cases = {f"ddpm nf={features} {height}x{width} {case['sde']}": case}
        for name, case in cases.items():
            if _ONLY.value in name:
                results[name] = compare(case)
                print(json.dumps({name: results[name]}, indent=2), flush=True)
    path = HERE / "results" / f"{_NAME.value or kind}.json"
    path.write_text(json.dumps({"machine": about, "cases": results}, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
