"""The command line: `score-mia COMMAND --config=CONFIG --workdir=DIR`.

All science is in the config file; a mistake the user can mend ends with one line on
standard error and exit status 2, everything else with its traceback. Status 1 says that
a part failed and all else was done, status 3 that a condition of --fail_if holds.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from absl import flags, logging

from score_mia import __version__, storage
from score_mia.check import Incomplete, UserError, one_line, one_of, printable, require
from score_mia.cli import config, gate
from score_mia.results import AuditResult

COMMANDS = {
    "audit": "train the target, attack it, report; skips what is done",
    "train": "train the target only",
    "import": "take a checkpoint of score_sde or MIDM for the target (--checkpoint)",
    "attack": "attack a trained target (and write metrics.json)",
    "report": "write the report again from the workdir's files (needs no --config)",
    "generate": "draw samples from the target, or images for --prompts",
    "study": "run many audits, then build tables and figures over them",
    "sanitise": "make lists of members and non-members that are alike",
    "verify": "recompute a workdir's numbers from its scores; say which differ",
}

_FLAGS = ("config", "workdir", "dry_run", "cache")
"""What every command takes; `_OWN` has what some take besides."""

_JOINT = ("distributed", "coordinator", "process_id", "process_count")

_OWN: dict[str, tuple[str, ...]] = {
    "audit": ("host", "fail_if", "bill", "share", "profile", *_JOINT),
    "train": ("bill", "share", "profile", *_JOINT),
    "import": ("checkpoint",),
    "attack": ("host", "fail_if", "bill", "share", "profile", *_JOINT),
    "report": ("fail_if",),
    "generate": ("count", "host", "prompts", "profile", *_JOINT),
    "study": ("only", "bill", "share"),
}

_TEXTS = {
    "config": "FILE.py, or the name of one of ours; then, after :, a word",
    "workdir": "folder in which everything of this run is kept",
    "checkpoint": "the file to import",
    "prompts": "file of prompts: --count images for each (1)",
    "host": "I/N: this is process I of N that share the workdir",
    "coordinator": "HOST:PORT of process 0, with --distributed",
    "cache": "folder of compiled programs",
    "profile": "folder for a trace of the first tiles and steps",
}
"""Flags that are texts."""

_HELP = (
    "Audits the membership privacy of diffusion models.\n\n"
    "usage: score-mia COMMAND --config=CONFIG --workdir=DIR [flags]\n\n"
    + "\n".join(f"  {name:10s}{what}" for name, what in COMMANDS.items())
    + "\n\nscore-mia COMMAND --help tells of one command, --version the version."
)

_HELP_FLAGS = frozenset(("-h", "-help", "--help", "--helpfull", "--helpshort"))

_CLOSED = 141  # what a shell reports of a program whose reader went away


def run() -> None:
    """What every entry point ends in (`score_mia.__main__`)."""
    try:
        status = main(sys.argv)
        _end(status)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough, as in `score-mia --help | head`. What is still
        # to be flushed at the exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = _CLOSED
    except Exception:
        _end(1, traceback.format_exc())
        raise
    sys.exit(status)


def _end(status: int, text: str = "") -> None:
    """After a failure beside joined processes, end without waiting for them."""
    if status and "score_mia.distributed" in sys.modules:
        from score_mia import distributed

        distributed.end(status, text)


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit status.

    Args:
      argv: the program's name, the command, and its flags.
    """
    try:
        return _run(argv)
    except Incomplete as error:
        _print(error.done)
        _say(one_line(error))
        return 1
    except UserError as error:
        _say(one_line(error))
        return 2
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to continue where it was")
        return 130
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _say(
            "out of memory on the device; lower engine.tile, the attack's chunk or "
            "train.batch, then run the same command again: what was done is kept"
        )
        return 2


def _run(argv: Sequence[str]) -> int:
    words = argv[1:]
    if "--version" in words:
        _print(f"score_mia {__version__}")
        return 0
    values = _define_flags()
    if not words or words[0] == "help" or not _HELP_FLAGS.isdisjoint(words):
        _print(_help(values, words))
        return 0
    plain, overrides = config.separate(values.read_flags_from_files(list(argv)))
    try:
        rest = values(plain)
    except flags.Error as error:
        raise UserError(f"{one_line(error)}; see score-mia --help") from error
    require(len(rest) > 1, "command", "is missing", "see score-mia --help")
    one_of("command", rest[1], COMMANDS)
    if rest[1] == "verify":
        return _verify(values, rest)
    _check_flags(values, rest)
    if rest[1] == "report":
        return _report(values)
    experiment = config.load(values.config, overrides)
    # Flags are parsed before anything heavy is imported, so that a typing error
    # answers at once.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.WARNING)  # JAX tells which backends are not there
    from score_mia import auditing, device, profiling
    from score_mia.auditing.plan import plan as planned

    device.cache_compilations(values.cache)
    if rest[1] in ("study", "sanitise"):
        (_study if rest[1] == "study" else _sanitise)(experiment, values)
        return 0
    host = _host(values, rest[1], experiment)
    plan = planned(experiment)
    if values.bill:
        _print(auditing.bill(plan, values.share))
        return 0
    conditions = _conditions(values, [attack.name for attack in plan.attacks])
    if values.dry_run:
        _print(auditing.describe(plan, values.workdir))
        return 0
    actions: dict[str, Callable[..., str]] = {
        "audit": lambda p, w: auditing.run(p, w, host),
        "train": lambda p, w: auditing.train(p, w, host),
        "import": lambda p, w: auditing.import_target(p, w, values.checkpoint),
        "attack": lambda p, w: auditing.attack(p, w, host),
        "generate": lambda p, w: _generate(p, w, values, host),
    }
    act = functools.partial(actions[rest[1]], plan, values.workdir)
    with profiling.into(values.profile, host.number):
        return _gated(act, conditions if host.first else (), values.workdir)


def _host(values: flags.FlagValues, command: str, experiment: Any) -> Any:
    """Which of several processes this is; joined to the others if they train."""
    from score_mia import distributed
    from score_mia.hosts import ALONE, Host

    if not values.distributed or values.dry_run or values.bill:
        return ALONE if values.host is None else Host.of(values.host)
    number, count = values.process_id, values.process_count
    trains = command in ("audit", "train") and not _is_trained(experiment, values)
    if values.coordinator is not None and not trains:
        # Nobody is needed, so that one that was killed may come back alone.
        return Host(number, count)
    host = distributed.start(values.coordinator, number, count)
    if not trains:
        distributed.leave()
    return host


def _is_trained(experiment: Any, values: flags.FlagValues) -> bool:
    """Whether no training is left to be done."""
    from score_mia.checkpoint import describe

    if "train" not in experiment:
        return True
    try:
        known = describe(os.path.join(values.workdir, "target"))["provenance"]
    except UserError:
        return False
    return known.get("step") == experiment.train.get("steps")


def _generate(plan: Any, workdir: str, values: flags.FlagValues, host: Any) -> str:
    from score_mia import auditing
    from score_mia.auditing import prompted

    if values.prompts is None:
        return auditing.generate(plan, workdir, values.count, host)
    count = values.count if values["count"].present else 1
    return prompted.generate(plan, workdir, values.prompts, count)


def _report(values: flags.FlagValues) -> int:
    from score_mia import report

    conditions = []
    if values.fail_if:
        conditions = _conditions(values, AuditResult.load(values.workdir).attacks)
    make = functools.partial(report.make, values.workdir)
    return _gated(make, conditions, values.workdir)


def _conditions(
    values: flags.FlagValues, attacks: Iterable[str]
) -> list[gate.Condition]:
    return [gate.parse(text, tuple(attacks)) for text in values.fail_if]


def _gated(
    act: Callable[[], str], conditions: Sequence[gate.Condition], folder: str
) -> int:
    """Run a command, then judge the numbers that it left by the conditions."""
    if not conditions:
        _print(act())
        return 0
    from score_mia.report.files import load_copies

    status = 0
    try:
        _print(act())
    except Incomplete as error:
        _print(error.done)
        _say(one_line(error))
        status = 1
    result = AuditResult.load(folder)
    lines = gate.broken(conditions, result, load_copies(folder, result))
    for line in lines:
        _say(line)
    return 3 if lines else status


def _verify(values: flags.FlagValues, rest: Sequence[str]) -> int:
    """Status 1 if a number differs."""
    from score_mia.auditing.verify import verify

    folders = [*rest[2:], *([values.workdir] if values.workdir else [])]
    require(len(folders) == 1, "verify", "takes one folder", "write: verify WORKDIR")
    verdict = verify(folders[0])
    _print(verdict.text)
    return 1 if verdict.differing else 0


def _help(values: flags.FlagValues, words: Sequence[str]) -> str:
    """What a command does and takes, or what commands there are."""
    command = next((word for word in words if word in COMMANDS), None)
    own = sorted({name for names in _OWN.values() for name in names})
    head, names = _HELP, (*_FLAGS, *own)
    if command is not None:
        names = (*_FLAGS, *_OWN.get(command, ()))
        takes = "WORKDIR" if command == "verify" else "--config=CONFIG --workdir=DIR"
        head = (
            f"score-mia {command}: {COMMANDS[command]}\n\n"
            f"usage: score-mia {command} {takes} [flags]"
        )
    lines = [f"  {f'--{name}':14s}{values[name].help}" for name in names]
    fields = (
        f"Ours are {', '.join(config.shipped())}; :smoke runs them in a minute.\n"
        "Every field of a config is a flag: --config.train.steps=1000 (docs/config.md)"
    )
    return "\n".join([head, "", *lines, "", fields])


def _check_flags(values: flags.FlagValues, rest: Sequence[str]) -> None:
    """Require the flags that the command needs, and a folder that can be written in."""
    if len(rest) > 2:
        raise UserError(f"{rest[2]!r} is neither a flag nor a command; see --help")
    for name in {name for names in _OWN.values() for name in names}:
        commands = [command for command, names in _OWN.items() if name in names]
        ok = rest[1] in commands or not values[name].present
        remedy = f"leave it out, or run {' or '.join(map(repr, commands))}"
        require(ok, f"--{name}", f"means nothing to {rest[1]!r}", remedy)
    for name in ("config", "workdir"):
        nothing = values.dry_run or values.bill
        unneeded = "config" if rest[1] == "report" else "workdir" * nothing
        if getattr(values, name) is None and name != unneeded:
            raise UserError(f"--{name} is missing; give it, see score-mia --help")
    _check_joint(values)
    if rest[1] == "import":
        require(bool(values.checkpoint), "--checkpoint", "is missing", "give the file")
    if values.workdir is not None:
        storage.workdir(values.workdir)


def _check_joint(values: flags.FlagValues) -> None:
    """Refuse flags of several processes that contradict each other."""
    own = [name for name in _JOINT[1:] if values[name].present]
    told = ", ".join(f"--{name}" for name in own)
    ok = values.distributed or not own
    require(ok, told, "means nothing alone", "add --distributed")
    remedy = "give all of --coordinator, --process_id and --process_count, or none"
    require(len(own) in (0, 3), told, "is not enough", remedy)
    ok = not (values.distributed and values.host is not None)
    remedy = "leave it out: the number of the process is that of the host"
    require(ok, "--host", "is not for --distributed", remedy)
    if own:
        ok = re.fullmatch(r"\S+:\d{1,5}", values.coordinator) is not None
        what = f"--coordinator={values.coordinator!r}"
        require(ok, what, "is not HOST:PORT", "give 10.0.0.1:1234")
        what = f"--process_id={values.process_id}"
        problem = f"is no number among {values.process_count}"
        ok = values.process_id < values.process_count
        require(ok, what, problem, "count from 0")


def _study(experiment: Any, values: flags.FlagValues) -> None:
    from score_mia.auditing import study

    planned = study.plan(experiment)
    if values.bill:
        _print(study.bill(planned, values.share))
    elif values.dry_run:
        _print(study.describe(planned, values.workdir))
    else:
        _print(study.run(planned, values.workdir, values.only))


def _sanitise(experiment: Any, values: flags.FlagValues) -> None:
    from score_mia.auditing import sanitising

    planned = sanitising.plan(experiment)
    if values.dry_run:
        _print(sanitising.describe(planned))
    else:
        _print(sanitising.run(planned, values.workdir))


def _define_flags() -> flags.FlagValues:
    own = flags.FlagValues()
    known: Any = {"flag_values": own}
    for name, what in _TEXTS.items():
        flags.DEFINE_string(name, None, what, **known)
    flags.DEFINE_bool("dry_run", False, "print config, sizes, cost; no more", **known)
    what = "print FLOPs, bytes, hours on known devices; no more"
    flags.DEFINE_bool("bill", False, what, **known)
    flags.DEFINE_float("share", 0.4, "of peak rates that a bill counts on", **known)
    what = "train with the other processes of this job, then share the rest"
    flags.DEFINE_bool("distributed", False, what, **known)
    for name, what, low in (
        ("process_id", "number of this one, with --coordinator", 0),
        ("process_count", "how many they are, with --coordinator", 1),
    ):
        flags.DEFINE_integer(name, None, what, lower_bound=low, **known)
    what = "how many samples to draw (64; of each prompt 1)"
    flags.DEFINE_integer("count", 64, what, lower_bound=1, **known)
    what = "end with status 3 if so: [ATTACK:]tpr@0.01.low>0.05"
    flags.DEFINE_multi_string("fail_if", [], what, **known)
    flags.DEFINE_list("only", [], "names of the study's audits to run (all)", **known)
    return own


def _print(text: str) -> None:
    print(printable(text, keep="\n"))


def _say(text: str) -> None:
    print(f"score-mia: {printable(text)}", file=sys.stderr)
