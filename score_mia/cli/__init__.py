"""The command line: `score-mia COMMAND --config=CONFIG --workdir=DIR`.

All science is in the config file; a mistake the user can mend ends with one line on
standard error and exit status 2, everything else with its traceback. Status 1 says that
a part failed and all else was done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags, logging

from score_mia import __version__
from score_mia.check import (
    Incomplete,
    UserError,
    one_line,
    one_of,
    printable,
    require,
    workdir,
)
from score_mia.cli import config

COMMANDS = {
    "audit": "train the target, attack it, report; skips what is done",
    "train": "train the target only",
    "import": "take a checkpoint of score_sde or MIDM for the target (--checkpoint)",
    "attack": "attack a trained target (and write metrics.json)",
    "report": "write the report again from the workdir's files (needs no --config)",
    "generate": "draw samples from the trained target",
    "study": "run many audits, then build tables and figures over them",
}

_FLAGS = ("config", "workdir", "dry_run", "cache")
"""What every command takes; `_OWN` has what some take besides."""

_OWN = {
    "audit": ("host",),
    "import": ("checkpoint",),
    "attack": ("host",),
    "generate": ("count", "host"),
    "study": ("only",),
}

_HELP = (
    "Audits the membership privacy of diffusion models.\n\n"
    "usage: score-mia COMMAND --config=CONFIG --workdir=DIR [flags]\n\n"
    + "\n".join(f"  {name:10s}{what}" for name, what in COMMANDS.items())
    + "\n\nscore-mia COMMAND --help tells of one command, --version the version."
)

_HELP_FLAGS = frozenset(("-h", "-help", "--help", "--helpfull", "--helpshort"))

_CLOSED = 141  # what a shell reports of a program whose reader went away


def run() -> None:
    """Entry point of launch.py, of the console script and of `python -m score_mia`."""
    try:
        status = main(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough, as in `score-mia --help | head`. What is still
        # to be flushed at the exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = _CLOSED
    sys.exit(status)


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit status.

    Args:
      argv: the program's name, the command, and its flags.
    """
    try:
        _run(argv)
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
    return 0


def _run(argv: Sequence[str]) -> None:
    words = argv[1:]
    if "--version" in words:
        _print(f"score_mia {__version__}")
        return
    values = _define_flags()
    if not words or words[0] == "help" or not _HELP_FLAGS.isdisjoint(words):
        _print(_help(values, words))
        return
    plain, overrides = config.separate(values.read_flags_from_files(list(argv)))
    try:
        rest = values(plain)
    except flags.Error as error:
        raise UserError(f"{one_line(error)}; see score-mia --help") from error
    require(len(rest) > 1, "command", "is missing", "see score-mia --help")
    one_of("command", rest[1], COMMANDS)
    _check_flags(values, rest)
    if rest[1] == "report":
        from score_mia import report

        _print(report.make(values.workdir))
        return
    experiment = config.load(values.config, overrides)
    # Flags are parsed before anything heavy is imported, so that a typing error
    # answers at once.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.WARNING)  # JAX tells which backends are not there
    from score_mia import auditing, device
    from score_mia.auditing.plan import plan as planned
    from score_mia.hosts import ALONE, Host

    device.cache_compilations(values.cache)
    if rest[1] == "study":
        _study(experiment, values)
        return
    plan = planned(experiment)
    if values.dry_run:
        _print(auditing.describe(plan, values.workdir))
        return
    host = ALONE if values.host is None else Host.of(values.host)
    actions: dict[str, Callable[..., str]] = {
        "audit": lambda p, w: auditing.run(p, w, host),
        "train": auditing.train,
        "import": lambda p, w: auditing.import_target(p, w, values.checkpoint),
        "attack": lambda p, w: auditing.attack(p, w, host),
        "generate": lambda p, w: auditing.generate(p, w, values.count, host),
    }
    _print(actions[rest[1]](plan, values.workdir))


def _help(values: flags.FlagValues, words: Sequence[str]) -> str:
    """What a command does and takes, or what commands there are."""
    command = next((word for word in words if word in COMMANDS), None)
    own = sorted({name for names in _OWN.values() for name in names})
    head, names = _HELP, (*_FLAGS, *own)
    if command is not None:
        names = (*_FLAGS, *_OWN.get(command, ()))
        head = (
            f"score-mia {command}: {COMMANDS[command]}\n\n"
            f"usage: score-mia {command} --config=CONFIG --workdir=DIR [flags]"
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
        require(
            rest[1] in commands or not values[name].present,
            f"--{name}",
            f"means nothing to {rest[1]!r}",
            f"leave it out, or run {' or '.join(map(repr, commands))}",
        )
    for name in ("config", "workdir"):
        unneeded = "config" if rest[1] == "report" else "workdir" * values.dry_run
        if getattr(values, name) is None and name != unneeded:
            raise UserError(f"--{name} is missing; give it, see score-mia --help")
    if rest[1] == "import":
        require(bool(values.checkpoint), "--checkpoint", "is missing", "give the file")
    if values.workdir is not None:
        workdir(values.workdir)


def _study(experiment: Any, values: flags.FlagValues) -> None:
    from score_mia.auditing import study

    planned = study.plan(experiment)
    if values.dry_run:
        _print(study.describe(planned, values.workdir))
    else:
        _print(study.run(planned, values.workdir, values.only))


def _define_flags() -> flags.FlagValues:
    own = flags.FlagValues()
    known: Any = {"flag_values": own}
    flags.DEFINE_string(
        "config",
        None,
        "FILE.py, or the name of one of ours; then, after :, a word",
        **known,
    )
    flags.DEFINE_string(
        "workdir", None, "folder in which everything of this run is kept", **known
    )
    flags.DEFINE_bool("dry_run", False, "print config, sizes, cost; no more", **known)
    flags.DEFINE_integer(
        "count", 64, "how many samples to draw (64)", lower_bound=1, **known
    )
    flags.DEFINE_string("checkpoint", None, "the file to import", **known)
    flags.DEFINE_string(
        "host", None, "I/N: this is process I of N that share the workdir", **known
    )
    flags.DEFINE_list("only", [], "names of the study's audits to run (all)", **known)
    flags.DEFINE_string("cache", None, "folder of compiled programs", **known)
    return own


def _print(text: str) -> None:
    print(printable(text, keep="\n"))


def _say(text: str) -> None:
    print(f"score-mia: {printable(text)}", file=sys.stderr)
