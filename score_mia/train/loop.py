"""`train`: from a spec and images to a target, resumable at any moment.

    folder/target.json, ema-*/, params-*/   the finished target (see `checkpoint`)
    folder/state/                           the last two training states
    folder/snapshots/step-000500/           targets kept on the way
    folder/train.jsonl                      {"step", "loss"}: mean since the line before

Step n depends on the seed, n, and the state after step n - 1, on nothing else. Lines,
states and snapshots are due at fixed steps, so that a run that was killed and started
again (same machine, same number of devices) writes what it would have written.

Processes that are joined (`distributed`) enter together and train as one, over a mesh
of all their devices: each puts in its rows of a batch, process 0 writes, and all go on
from the step that process 0 read. More of them or fewer end with the same numbers, up
to the order of sums.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from score_mia import checkpoint, device, distributed, profiling
from score_mia.arrays import Key, Params
from score_mia.check import UserError, require
from score_mia.codecs import LearnedCodec
from score_mia.data.loader import Batches, PoissonBatches
from score_mia.files import Facts
from score_mia.progress import Progress
from score_mia.spec import Parts, names, parts
from score_mia.storage import locate
from score_mia.target import Target
from score_mia.train import dp, log
from score_mia.train.accounting import Mechanism
from score_mia.train.adapt import Adaptation, Start, whole
from score_mia.train.config import TrainConfig
from score_mia.train.identity import (
    check_data,
    is_done,
    require_same_run,
    run_identity,
)
from score_mia.train.spread import Spread, layout, restored, written
from score_mia.train.step import (
    Batch,
    Layout,
    State,
    Step,
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
    check_data(images, conditions, p.shape)
    config.check_shape(p.shape)
    begin = start if isinstance(start, Start) else Start(start)
    given = images if begin.tree is None else (images, begin.tree)
    identity = run_identity(spec, config, p.sde, given, conditions, *begin.told)
    about = dict(provenance or {}, train=config.record(p.sde.clock))
    about |= {"identity": identity, "members": len(images)}
    if _finished(folder, spec, config, about):
        return checkpoint.load_target(folder, allow=trusted)
    run = _Run.prepare(p, config, Batch(images, conditions), devices, begin)
    state, seconds = run.resume(folder, identity)
    done = int(state.step)
    if distributed.first():
        log.truncate(folder / "train.jsonl", done)
    keeper = _Keeper(folder, spec, about, run, seconds)
    with Progress("train", config.steps, "steps", done) as progress:
        if done:
            progress.note(f"training goes on from step {done}")
        if done < config.steps:
            state = _loop(run, state, keeper, progress)
        keeper.save(state, keeper.folder)
    distributed.meet()  # it is written
    return checkpoint.load_target(folder, allow=trusted)


def _finished(folder: Path, spec: Facts, config: TrainConfig, about: Facts) -> bool:
    """Whether nothing is left to do: what the first of several processes says."""
    same = "give all hosts the same"
    distributed.require_same("data and config", about["identity"], same)
    done = distributed.first() and is_done(folder, spec, config, about)
    return bool(distributed.agreed(done))


def _loop(run: _Run, state: State, keeper: _Keeper, progress: Progress) -> State:
    """Run to the end, stopping wherever something is to be written."""
    config, start = run.config, int(state.step)
    first = step = start
    call = run.compile(state, progress)
    distributed.meet()  # compilation takes longer on some than collectives wait
    progress.start_clock()
    keeper.began = time.perf_counter()
    for stop in stops(start, config):
        losses = []
        while step < stop:
            count = run.chunk if step + run.chunk <= stop else 1
            state, loss = call(state, step, count)
            losses.append(loss)
            step += count
            profiling.tick("train", loss)
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


def counts(start: int, config: TrainConfig, chunk: int) -> set[int]:
    """Steps at a time from stop to stop: chunks, and single ones for the rest."""
    runs = np.diff([start, *stops(start, config)])
    return {chunk for run in runs if run >= chunk} | {1 for run in runs if run % chunk}


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """The fixed things of one run: programs, data, layout."""

    config: TrainConfig
    parts: Parts
    adapt: Adaptation
    layout: Layout
    optimiser: Any
    step: Step
    batches: Batches | PoissonBatches
    data: Batch
    spread: Spread
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
        spread = _spread(config, batches.size, devices)
        trained = jax.eval_shape(
            lambda k: adapt.split(p.init(k), k)[1], jax.random.key(0)
        )
        lying = layout(_float32(trained), spread)

        def join(frozen: Params, trained: Params) -> Target:
            return p.target(adapt.join(spread.gather(frozen), trained))

        if private is None:
            how = config.objective, config.accumulate
            gradient = make_gradient(join, lying, *how)
        else:
            gradient = dp.make_private_gradient(
                join, lying, config, private, spread.mesh
            )
        indexed = images.nbytes <= RESIDENT_BYTES
        if indexed:
            data = spread.put(data)
        usual = 1 if jax.default_backend() == "cpu" else STEPS_PER_CALL
        run = _Run(
            config=config,
            parts=p,
            adapt=adapt,
            layout=lying,
            optimiser=optimiser,
            step=make_step(gradient, optimiser, config),
            batches=batches,
            data=data,
            spread=spread,
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

    def initial(self) -> State:
        """The state before the first step."""
        # 0x1217 is 4,631, so that step 4,631 draws its noise with this very key. It
        # stays: another key is another training, and every committed number another.
        key = jax.random.fold_in(jax.random.key(self.config.seed), 0x1217)
        held = self.layout.abstract
        if self.start is None:
            params = self._jit(self._fresh, held)(self._known(key))
        else:
            known = self._known(self.start), self._known(key)
            params = self._jit(self._begun, held)(*known)
        moments = jax.eval_shape(self.optimiser.init, held)
        moments = self._jit(self.optimiser.init, moments)(params)
        step = self.spread.put(jnp.zeros((), jnp.int32))
        # A donated buffer must not be held twice.
        return self.completed(State(self._copy(params), params, moments, step))

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
        frozen = self._copy(self.spread.place(frozen))
        return dataclasses.replace(state, frozen=frozen)

    def _known(self, value: Any) -> Any:
        """What a program that makes a state is given."""
        return value if self.spread.plain else self.spread.place(value)

    def _jit(self, make: Any, like: Any) -> Any:
        """A program that makes a part of a state, of these shapes, where it is held."""
        return device.jit(make, out_shardings=self.spread.held(like))

    def _copy(self, tree: Any) -> Any:
        return self._jit(lambda t: jax.tree.map(jnp.copy, t), tree)(tree)

    def trees(self, state: State) -> list[Params]:
        """The model's last trees and the averaged ones; all processes have to ask."""
        frozen: Any = state.frozen
        if self.spread.plain:
            # On the host: array by array, programs of the cuts take a second to make.
            # Copies, since the next step is given the state's own memory.
            vectors = [np.array(v) for v in (state.params, state.ema)]
            join = device.jit(self.adapt.join)
        else:
            kept, join = self.written(state), self.adapt.join
            vectors = [kept.params, kept.ema]
            if self.start is not None:
                frozen = self.adapt.split(self.start, jax.random.key(0))[0]
        return [join(frozen, self.layout.cut(vector)) for vector in vectors]

    def written(self, state: State) -> State:
        """The state as it is written, on the host; all processes have to ask."""
        return written(self.spread, self.layout, self.abstract(), state)

    def is_finite(self, state: State) -> bool:
        """Whether all parameters and their averages are numbers."""

        def finite(tree: Any) -> Any:
            each = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
            return jnp.stack(each).all()

        check = device.jit(finite, out_shardings=self.spread.sharding())
        return bool(check((state.params, state.ema)))

    def abstract(self) -> State:
        """Shapes of the state, without making one."""
        vector = jax.ShapeDtypeStruct((self.layout.size,), jnp.float32)
        moments = jax.eval_shape(self.optimiser.init, vector)
        return State(vector, vector, moments, jax.ShapeDtypeStruct((), jnp.int32))

    def resume(self, folder: Path, identity: str) -> tuple[State, float]:
        """The newest state of this very run with its seconds so far, or a new one."""
        shapes = self.abstract()
        found = _newest(folder, as_tree(shapes))
        if found is None:
            return self.initial(), 0.0
        require_same_run(folder, found.record.get("identity"), identity)
        ok = found.step <= self.config.steps
        problem = f"lie behind step {found.step}, which {folder} has reached"
        remedy = "give more steps or a new folder"
        require(ok, f"steps={self.config.steps}", problem, remedy)
        state = jax.tree.unflatten(
            jax.tree.structure(shapes), jax.tree.leaves(found.tree)
        )
        state = self.completed(restored(self.spread, self.layout, shapes, state))
        return state, float(found.record.get("seconds", 0.0))

    def inputs(self, step: int, count: int) -> tuple[Batch, Any]:
        """What the program is given for `count` steps from this one."""
        rows = np.stack([self.batches.indices(step + i) for i in range(count)])
        fill = -rows.shape[1] % self.spread.mesh.size  # private batches have any length
        rows = np.pad(rows, ((0, 0), (0, fill)), constant_values=-1).astype(np.int32)
        axes = (None, "data")
        if count == 1:
            rows, axes = rows[0], ("data",)
        if self.indexed:
            return self.data, self.spread.put(rows, *axes)
        return self.spread.put(take(self.data, rows), *axes), None

    def compile(self, state: State, progress: Progress) -> Any:
        """`call(state, step, count)`, compiled for the counts that will occur."""
        key = self.spread.put(jax.random.key(self.config.seed))
        held = self.spread.held(state) if self.spread.dealt else None
        program = make_program(self.step, self.spread.mesh, self.indexed, held)
        progress.note("compiling the step (kept on disk for the next start) ...")
        began = time.perf_counter()
        programs = {
            count: program.lower(state, *self.inputs(0, count), key).compile()
            for count in counts(int(state.step), self.config, self.chunk)
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
        if distributed.first():
            log.append(self.folder / "train.jsonl", {"step": step, "loss": loss})
        due = step % config.checkpoint_every == 0 or step == config.steps
        snap = config.snapshot_every and step % config.snapshot_every == 0
        if not (due or snap):
            return
        if not self.run.is_finite(state):
            _diverged(f"a parameter after step {step}", self)
        if snap:
            self.save(state, self.folder / "snapshots" / f"step-{step:06d}")
        if due:
            about = {**self.description(step), "spec": self.spec}
            tree = as_tree(self.run.written(state))
            if distributed.first():
                checkpoint.save_state(self.folder, step, tree, about)
            self.kept = step

    def description(self, step: int) -> dict[str, Any]:
        """What is told of the training up to this step."""
        return {**self.provenance, "step": step, "seconds": self.elapsed()}

    def save(self, state: State, folder: Path) -> None:
        """Write the target of this state."""
        last, average = self.run.trees(state)
        if not distributed.first():
            return
        about = self.description(int(state.step))
        if self.run.mechanism is not None:
            about["privacy"] = dp.record(
                self.run.config, self.run.mechanism, int(state.step)
            )
        checkpoint.save_target(folder, self.spec, last, average, about)


def as_tree(state: State) -> dict[str, Any]:
    """The state as the nested dict that is written; leaf order is the state's.

    What is not trained is left out: it is the base model's.
    """
    leaves = jax.tree.leaves(dataclasses.replace(state, frozen={}))
    return {f"{i:02d}": leaf for i, leaf in enumerate(leaves)}


def _spread(config: TrainConfig, rows: int, devices: int | None) -> Spread:
    """The devices over which a batch of so many rows is spread."""
    rows //= config.accumulate
    if distributed.joined() and jax.process_count() > 1:
        there, hosts = jax.device_count(), jax.process_count()
        problem = f"cannot be dealt out to {there} devices of {hosts} hosts"
        cut = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
        remedy = f"give a multiple of {there * config.accumulate}"
        ok = config.dp is not None or rows % there == 0
        require(ok, f"train.batch={config.batch}", problem + cut, remedy)
        return Spread(device.mesh(everywhere=True), config.fsdp)
    available = min(devices or jax.local_device_count(), jax.local_device_count())
    return Spread(device.mesh(math.gcd(rows, available)), config.fsdp)


def _newest(folder: Path, like: Any) -> checkpoint.TrainingState | None:
    """The newest whole state; of several processes all take that of the first."""
    found = checkpoint.load_state(folder, like) if distributed.first() else None
    step = distributed.agreed(-1 if found is None else found.step)
    if distributed.first() or step < 0:
        return found
    return checkpoint.load_state(folder, like, step)


def _float32(shapes: Any) -> Any:
    for leaf in jax.tree.leaves(shapes):
        ok = leaf.dtype == jnp.float32
        remedy = "keep parameters in float32 (compute in what you like)"
        require(ok, "network parameters", f"hold {leaf.dtype}", remedy)
    return shapes


def _diverged(what: str, keeper: _Keeper) -> NoReturn:
    state = keeper.folder / "state"
    kept = checkpoint.has_state(keeper.folder)
    raise UserError(
        f"training: {what} is NaN or infinite; lower learning_rate, or set clip, and "
        f"train in a new workdir ("
        + (f"the last good state is kept in {state})" if kept else "no state yet)")
    )
