"""`train`: from a spec and images to a target, resumable at any moment.

    folder/target.json, ema-*/, params-*/   the finished target (see `checkpoint`)
    folder/state/                           the last two training states
    folder/snapshots/step-000500/           targets kept on the way
    folder/train.jsonl                      {"step", "loss"}: mean since the line before

Step n depends on the seed, n, and the state after step n - 1, on nothing else. Lines,
states and snapshots are due at fixed steps, so that a run that was killed and started
again (same machine, same number of devices) writes what it would have written.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from score_mia import checkpoint, device
from score_mia.arrays import Key, Params
from score_mia.check import UserError, finite, require
from score_mia.codecs import LearnedCodec
from score_mia.data.loader import Batches, PoissonBatches
from score_mia.files import Facts, digest
from score_mia.progress import Progress
from score_mia.sde import SDE
from score_mia.spec import Parts, names, parts
from score_mia.storage import locate
from score_mia.target import Target
from score_mia.train import dp, log
from score_mia.train.accounting import Mechanism
from score_mia.train.adapt import Adaptation, Start, whole
from score_mia.train.config import TrainConfig
from score_mia.train.step import (
    Batch,
    Layout,
    State,
    make_gradient,
    make_optimiser,
    make_program,
    make_step,
    take,
)

# Data sets up to this size live on the device, larger ones are sent batch by batch.
RESIDENT_BYTES = 2**30
STEPS_PER_CALL = 10


def train(
    spec: Facts,
    images: np.ndarray,
    config: TrainConfig,
    folder: str | Path,
    *,
    conditions: Any = None,
    provenance: Facts | None = None,
    devices: int | None = None,
    start: Params | Start | None = None,
) -> Target:
    """Train a target, or go on where an earlier call was stopped.

    Args:
      spec: network, sde, parameterisation, codec, shape (`spec.parts`); classes
        of other packages that it names are imported, since it comes from the caller.
      images: the members, float32 [n, h, w, c] in [0, 1].
      config: how to train.
      folder: where the target, its states and its losses go.
      conditions: pytree of integer arrays [n, ...], for a conditional network.
      provenance: JSON values to keep with the target (config and split digests, ...).
      devices: devices to spread a batch over; None for as many as divide it.
      start: the tree of the model to begin with (`Target.tree`), and, as a `Start`,
        what of it is trained; None for fresh parameters.

    Returns:
      The finished target, with averaged parameters.

    Raises:
      UserError: wrong data, a folder that belongs to another run, a loss that is no
        longer finite (the last good state is kept), a disk that cannot be written.
    """
    folder = locate(folder)
    trusted = names(spec)
    p = parts(spec if config.dp is None else dp.private_spec(spec), allow=trusted)
    _check_data(images, conditions, p.shape)
    config.check_shape(p.shape)
    begin = start if isinstance(start, Start) else Start(start)
    given = images if begin.tree is None else (images, begin.tree)
    identity = run_identity(spec, config, p.sde, given, conditions, *begin.told)
    about = {
        **(provenance or {}),
        "train": config.record(p.sde.clock),
        "identity": identity,
        "members": len(images),
    }
    if _is_done(folder, spec, config, about):
        return checkpoint.load_target(folder, allow=trusted)
    run = _Run.prepare(p, config, Batch(images, conditions), devices, begin)
    state, seconds = run.resume(folder, identity)
    done = int(state.step)
    log.truncate(folder / "train.jsonl", done)
    keeper = _Keeper(folder, spec, about, run, seconds)
    with Progress("train", config.steps, "steps", done) as progress:
        if done:
            progress.note(f"training goes on from step {done}")
        if done < config.steps:
            state = _loop(run, state, keeper, progress)
        keeper.save(state, keeper.folder)
    return checkpoint.load_target(folder, allow=trusted)


def _loop(run: _Run, state: State, keeper: _Keeper, progress: Progress) -> State:
    """Run to the end, stopping wherever something is to be written."""
    config, start = run.config, int(state.step)
    first = step = start
    call = run.compile(state, progress)
    progress.start_clock()
    keeper.began = time.perf_counter()
    for stop in stops(start, config):
        losses = []
        while step < stop:
            count = run.chunk if step + run.chunk <= stop else 1
            state, loss = call(state, step, count)
            losses.append(loss)
            step += count
            if len(losses) > 2:  # run ahead of the device, but not far
                jax.block_until_ready(losses[-3])
        values = np.concatenate([np.asarray(loss) for loss in losses])
        if not np.isfinite(values).all():
            bad = first + int(np.flatnonzero(~np.isfinite(values))[0])
            _diverged(f"the loss at step {bad}", keeper)
        mean = float(np.mean(values, dtype=np.float64))
        keeper.write(state, stop, mean)
        progress.advance(stop - first, loss=f"{mean:.4g}")
        first = stop
    return state


def stops(start: int, config: TrainConfig) -> Iterator[int]:
    """Steps after `start` at which a line, a state or a snapshot is due."""
    every = [config.log_every, config.checkpoint_every, config.snapshot_every]
    step = start
    while step < config.steps:
        due = [(step // e + 1) * e for e in every if e is not None]
        step = min([*due, config.steps])
        yield step


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """The fixed things of one run: programs, data, layout."""

    config: TrainConfig
    parts: Parts
    adapt: Adaptation
    layout: Layout
    optimiser: Any
    program: Any
    batches: Batches | PoissonBatches
    data: Batch
    mesh: Mesh
    indexed: bool
    chunk: int
    mechanism: Mechanism | None
    start: Any = None

    @staticmethod
    def prepare(
        p: Parts,
        config: TrainConfig,
        data: Batch,
        devices: int | None,
        begin: Start,
    ) -> _Run:
        images, adapt = data.images, begin.adapt or whole(p)
        private = None if config.dp is None else dp.mechanism(config, len(images))
        if private is None:
            batches = Batches(len(images), config.batch, config.seed)
            optimiser = make_optimiser(config)
        else:
            batches = dp.make_batches(config, private)
            optimiser = make_optimiser(config, dp.make_privatiser(config, private))
        available = min(devices or jax.local_device_count(), jax.local_device_count())
        mesh = device.mesh(math.gcd(batches.size, available))
        trained = jax.eval_shape(
            lambda k: adapt.split(p.init(k), k)[1], jax.random.key(0)
        )
        layout = Layout(_float32(trained))

        def join(frozen: Params, trained: Params) -> Target:
            return p.target(adapt.join(frozen, trained))

        if private is None:
            gradient = make_gradient(join, layout, config.objective)
        else:
            gradient = dp.make_private_gradient(join, layout, config, private, mesh)
        indexed = images.nbytes <= RESIDENT_BYTES
        if indexed:
            data = jax.device_put(data, NamedSharding(mesh, PartitionSpec()))
        usual = 1 if jax.default_backend() == "cpu" else STEPS_PER_CALL
        run = _Run(
            config=config,
            parts=p,
            adapt=adapt,
            layout=layout,
            optimiser=optimiser,
            program=make_program(make_step(gradient, optimiser, config), mesh, indexed),
            batches=batches,
            data=data,
            mesh=mesh,
            indexed=indexed,
            chunk=config.steps_per_call or usual,
            mechanism=private,
        )
        return run if begin.tree is None else run.started(begin.tree)

    def started(self, start: Params) -> _Run:
        """The run from these parameters on; refused if they are another network's."""
        shapes = jax.eval_shape(self.parts.init, jax.random.key(0))
        mine, given = (
            [(str(path), leaf.shape) for path, leaf in jax.tree.leaves_with_path(tree)]
            for tree in (shapes, start)
        )
        problem = "is to start from parameters of another network"
        remedy = "start from a target with the same network entry"
        require(mine == given, "training", problem, remedy)
        return dataclasses.replace(self, start=start)

    def put(self, value: Any, *spec: str | None) -> Any:
        """On the run's devices: whole on each, or an axis spread over them."""
        return jax.device_put(value, NamedSharding(self.mesh, PartitionSpec(*spec)))

    def initial(self) -> State:
        """The state before the first step."""
        # 0x1217 is 4,631, so that step 4,631 draws its noise with this very key. It
        # stays: another key is another training, and every committed number another.
        key = jax.random.fold_in(jax.random.key(self.config.seed), 0x1217)
        if self.start is None:
            params = device.jit(self._fresh)(key)
        else:
            params = device.jit(self._begun)(self.start, key)
        fresh = State(
            params, params, self.optimiser.init(params), jnp.zeros((), jnp.int32)
        )
        # A donated buffer must not be held twice.
        return self.completed(jax.tree.map(jnp.copy, self.put(fresh)))

    def _fresh(self, key: Key) -> Any:
        problem, remedy = "has no parameters to begin with", "name its base"
        learned = isinstance(self.parts.codec, LearnedCodec)
        require(not learned, "a learned codec", problem, remedy)
        return self.layout.ravel(self.adapt.split(self.parts.init(key), key)[1])

    def _begun(self, tree: Params, key: Key) -> Any:
        return self.layout.ravel(self.adapt.split(tree, key)[1])

    def completed(self, state: State) -> State:
        """The state with what is not trained, which no training state keeps."""
        if self.start is None:
            return state
        frozen = self.adapt.split(self.start, jax.random.key(0))[0]
        frozen = jax.tree.map(jnp.copy, self.put(frozen))
        return dataclasses.replace(state, frozen=frozen)

    def whole(self, state: State, vector: Any) -> Params:
        """The model's tree of one of the state's vectors."""
        trained = self.layout.unravel(vector)
        return device.jit(self.adapt.join)(state.frozen, trained)

    def abstract(self) -> State:
        """Shapes of the state, without making one."""
        vector = jax.ShapeDtypeStruct((self.layout.size,), jnp.float32)
        moments = jax.eval_shape(self.optimiser.init, vector)
        return State(vector, vector, moments, jax.ShapeDtypeStruct((), jnp.int32))

    def resume(self, folder: Path, identity: str) -> tuple[State, float]:
        """The newest state of this very run with its seconds so far, or a new one."""
        shapes = self.abstract()
        found = checkpoint.load_state(folder, as_tree(shapes))
        if found is None:
            return self.initial(), 0.0
        _require_same_run(folder, found.record.get("identity"), identity)
        ok = found.step <= self.config.steps
        problem = f"lie behind step {found.step}, which {folder} has reached"
        remedy = "give more steps or a new folder"
        require(ok, f"steps={self.config.steps}", problem, remedy)
        state = jax.tree.unflatten(
            jax.tree.structure(shapes), jax.tree.leaves(found.tree)
        )
        return self.completed(self.put(state)), float(found.record.get("seconds", 0.0))

    def inputs(self, step: int, count: int) -> tuple[Batch, Any]:
        """What the program is given for `count` steps from this one."""
        rows = np.stack([self.batches.indices(step + i) for i in range(count)])
        rows = rows.astype(np.int32)
        axes = (None, "data")
        if count == 1:
            rows, axes = rows[0], ("data",)
        if self.indexed:
            return self.data, self.put(rows, *axes)
        return self.put(take(self.data, rows), *axes), None

    def compile(self, state: State, progress: Progress) -> Any:
        """`call(state, step, count)`, compiled for the counts that will occur."""
        key = self.put(jax.random.key(self.config.seed))
        progress.note("compiling the step (kept on disk for the next start) ...")
        began = time.perf_counter()
        programs = {
            count: self.program.lower(state, *self.inputs(0, count), key).compile()
            for count in {1, self.chunk}
        }
        progress.note(f"compiled in {time.perf_counter() - began:.1f} s")

        def call(state: State, step: int, count: int) -> tuple[State, Any]:
            return programs[count](state, *self.inputs(step, count), key)

        return call


@dataclasses.dataclass(eq=False)
class _Keeper:
    """Writes what a run leaves behind, each thing at the steps at which it is due."""

    folder: Path
    spec: Facts
    provenance: dict[str, Any]
    run: _Run
    seconds: float
    began: float = 0.0
    kept: int | None = None

    def elapsed(self) -> float:
        """Seconds of training, over all starts."""
        spent = time.perf_counter() - self.began if self.began else 0.0
        return round(self.seconds + spent, 3)

    def write(self, state: State, step: int, loss: float) -> None:
        """A line, and the state and the snapshot where they are due."""
        config = self.run.config
        log.append(self.folder / "train.jsonl", {"step": step, "loss": loss})
        due = step % config.checkpoint_every == 0 or step == config.steps
        snap = config.snapshot_every and step % config.snapshot_every == 0
        if not (due or snap):
            return
        if not bool(jnp.isfinite(state.params).all() & jnp.isfinite(state.ema).all()):
            _diverged(f"a parameter after step {step}", self)
        if snap:
            self.save(state, self.folder / "snapshots" / f"step-{step:06d}")
        if due:
            about = {**self.description(step), "spec": self.spec}
            checkpoint.save_state(self.folder, step, as_tree(state), about)
            self.kept = step

    def description(self, step: int) -> dict[str, Any]:
        """What is told of the training up to this step."""
        return {**self.provenance, "step": step, "seconds": self.elapsed()}

    def save(self, state: State, folder: Path) -> None:
        """Write the target of this state."""
        about = self.description(int(state.step))
        if self.run.mechanism is not None:
            about["privacy"] = dp.record(
                self.run.config, self.run.mechanism, int(state.step)
            )
        last, average = (
            self.run.whole(state, vector) for vector in (state.params, state.ema)
        )
        checkpoint.save_target(folder, self.spec, last, average, about)


def as_tree(state: State) -> dict[str, Any]:
    """The state as the nested dict that is written; leaf order is the state's.

    What is not trained is left out: it is the base model's.
    """
    leaves = jax.tree.leaves(dataclasses.replace(state, frozen={}))
    return {f"{i:02d}": leaf for i, leaf in enumerate(leaves)}


def _float32(shapes: Any) -> Any:
    for leaf in jax.tree.leaves(shapes):
        ok = leaf.dtype == jnp.float32
        remedy = "keep parameters in float32 (compute in what you like)"
        require(ok, "network parameters", f"hold {leaf.dtype}", remedy)
    return shapes


def _check_data(
    images: np.ndarray, conditions: Any, shape: tuple[int, int, int]
) -> None:
    ok = images.ndim == 4 and images.shape[1:] == shape and len(images) > 0
    problem = f"are not [n, {', '.join(map(str, shape))}]"
    remedy = "give at least one image of the spec's shape"
    require(ok, f"images of shape {images.shape}", problem, remedy)
    ok = images.dtype == np.float32
    remedy = "give float32 in [0, 1]"
    require(ok, f"images of dtype {images.dtype}", "are not float32", remedy)
    finite("images", images)
    low, high = float(images.min()), float(images.max())
    ok = low >= 0.0 and high <= 1.0
    remedy = "divide 8-bit values by 255"
    require(ok, f"images in [{low:.4g}, {high:.4g}]", "leave [0, 1]", remedy)
    for leaf in jax.tree.leaves(conditions):
        require(
            leaf.shape[:1] == (len(images),),
            f"conditions of shape {leaf.shape}",
            f"are not one for each of {len(images)} images",
            "give one for each image, or none",
        )


def run_identity(
    spec: Facts, config: TrainConfig, sde: SDE, images: Any, conditions: Any, *how: str
) -> str:
    """Digest of everything that decides the result; `images` may be several arrays."""
    science = config.science(sde.clock)
    told = json.dumps([spec, science], sort_keys=True, default=dict)
    given = jax.tree.leaves((images, conditions))
    return digest(told, *map(np.asarray, given), *how)


def _require_same_run(folder: Path, found: Any, identity: str) -> None:
    problem = "holds the training of another config or other data"
    remedy = "choose another workdir, or delete that folder to train anew"
    require(found == identity, f"{folder}", problem, remedy)


def _is_done(folder: Path, spec: Facts, config: TrainConfig, provenance: Facts) -> bool:
    """Whether the folder holds this run's finished target; another's is refused."""
    if not (folder / "target.json").exists():
        return False
    for path in (folder, *sorted((folder / "snapshots").glob("step-*"))):
        if checkpoint.is_unsealed(path):
            _seal(path, spec, config, provenance)
    about = checkpoint.describe(folder)["provenance"]
    _require_same_run(folder, about.get("identity"), provenance["identity"])
    if about.get("step") != config.steps:
        return False
    require(
        checkpoint.has_arrays(folder) or checkpoint.has_state(folder),
        f"{folder}",
        "lacks parameters that its target.json speaks of, and has no training state",
        "restore them from a copy, or delete that folder to train anew",
    )
    return checkpoint.has_arrays(folder)


def _seal(folder: Path, spec: Facts, config: TrainConfig, provenance: Facts) -> None:
    """Seal the description of a target that a version before 0.2 wrote.

    It says that it is of this very run, so all that becomes a number is known here and
    written anew; seconds and versions are taken from it.
    """
    old = checkpoint.describe(folder, unsealed=True)["provenance"]
    _require_same_run(folder, old.get("identity"), provenance["identity"])
    step, privacy = old.get("step"), None
    ok = isinstance(step, int) and step > 0
    if folder.parent.name == "snapshots":
        ok = ok and folder.name == f"step-{step:06d}"
    if ok and config.dp is not None:
        privacy = dp.record(config, dp.mechanism(config, provenance["members"]), step)
        told = old.get("privacy")
        names = ("noise_multiplier", "rate", "clip", "delta")
        ok = isinstance(told, dict) and all(told.get(n) == privacy[n] for n in names)
    problem = "does not say what a training with this config leaves"
    remedy = "restore it from a copy, or train in a new workdir"
    require(ok, f"{folder / 'target.json'}", problem, remedy)
    about = {**provenance, "step": step}
    about |= {n: old[n] for n in ("seconds", "config", "versions") if n in old}
    checkpoint.seal_target(
        folder, spec, about if privacy is None else {**about, "privacy": privacy}
    )


def _diverged(what: str, keeper: _Keeper) -> NoReturn:
    state = keeper.folder / "state"
    kept = checkpoint.has_state(keeper.folder)
    raise UserError(
        f"training: {what} is NaN or infinite; lower learning_rate, or set clip, and "
        f"train in a new workdir ("
        + (f"the last good state is kept in {state})" if kept else "no state yet)")
    )
