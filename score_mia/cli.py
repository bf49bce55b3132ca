"""The command line: `score-mia COMMAND --config=FILE.py --workdir=DIR`.

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

COMMANDS = {
    "audit": "train the target, attack it, report; skips what is done",
    "train": "train the target only",
    "import": "take a checkpoint of score_sde or MIDM for the target (--checkpoint)",
    "attack": "attack a trained target (and write metrics.json)",
    "report": "write the report again from the files of the workdir",
    "generate": "draw samples from the trained target",
    "study": "run many audits, then build tables and figures over them",
}

_FLAGS = ("config", "workdir", "dry_run", "cache")
"""What every command takes; `_OWN` has what some take besides."""

_OWN = {
    "import": ("checkpoint",),
    "generate": ("count",),
    "study": ("only",),
}

_HELP = (
    "Audits the membership privacy of diffusion models.\n\n"
    "usage: score-mia COMMAND --config=FILE.py[:smoke] --workdir=DIR [flags]\n\n"
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
    values = _define_flags(argv)
    if not words or words[0] == "help" or not _HELP_FLAGS.isdisjoint(words):
        _print(_help(values, words))
        return
    rest = _parse(values, argv)
    require(len(rest) > 1, "command", "is missing", "see score-mia --help")
    one_of("command", rest[1], COMMANDS)
    _check_flags(values, rest)
    # Flags are parsed before anything heavy is imported, so that a typing error
    # answers at once.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.WARNING)  # JAX tells which backends are not there
    from score_mia import auditing, device
    from score_mia.auditing.plan import plan as planned

    device.cache_compilations(values.cache)
    if rest[1] == "study":
        _study(values)
        return
    plan = planned(values.config)
    if values.dry_run:
        _print(auditing.describe(plan, values.workdir))
        return
    actions: dict[str, Callable[..., str]] = {
        "audit": auditing.run,
        "train": auditing.train,
        "import": lambda p, w: auditing.import_target(p, w, values.checkpoint),
        "attack": auditing.attack,
        "report": auditing.report,
        "generate": lambda p, w: auditing.generate(p, w, values.count),
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
            f"usage: score-mia {command} --config=FILE.py[:smoke] --workdir=DIR [flags]"
        )
    lines = [f"  {f'--{name}':14s}{values[name].help}" for name in names]
    fields = "Fields of the config can be set as flags: --config.train.steps=1000"
    return "\n".join([head, "", *lines, "", fields])


def _check_flags(values: flags.FlagValues, rest: Sequence[str]) -> None:
    """Require the flags that the command needs, and a folder that can be written in."""
    if len(rest) > 2:
        raise UserError(f"{rest[2]!r} is neither a flag nor a command; see --help")
    for command, names in _OWN.items():
        for name in names:
            require(
                command == rest[1] or not values[name].present,
                f"--{name}",
                f"means nothing to {rest[1]!r}",
                f"leave it out, or run {command!r}",
            )
    if values.config is None and values["config"].present:
        raise UserError("config: get_config returns None; let it return the config")
    for name in ("config", "workdir"):
        if getattr(values, name) is None and not (values.dry_run and name == "workdir"):
            raise UserError(f"--{name} is missing; give it, see score-mia --help")
    if rest[1] == "import":
        require(bool(values.checkpoint), "--checkpoint", "is missing", "give the file")
    if values.workdir is not None:
        workdir(values.workdir)


def _study(values: flags.FlagValues) -> None:
    from score_mia import study

    planned = study.plan(values.config)
    if values.dry_run:
        _print(study.describe(planned, values.workdir))
    else:
        _print(study.run(planned, values.workdir, values.only))


def _define_flags(argv: Sequence[str]) -> flags.FlagValues:
    from ml_collections import config_flags

    own = flags.FlagValues()
    known: Any = {"flag_values": own}
    config_flags.DEFINE_config_file(
        "config", None, "the experiment's file", sys_argv=list(argv), **known
    )
    flags.DEFINE_string(
        "workdir", None, "folder in which everything of this run is kept", **known
    )
    flags.DEFINE_bool("dry_run", False, "print config, sizes, cost; no more", **known)
    flags.DEFINE_integer(
        "count", 64, "how many samples to draw (64)", lower_bound=1, **known
    )
    flags.DEFINE_string("checkpoint", None, "the file to import", **known)
    flags.DEFINE_list("only", [], "names of the study's audits to run (all)", **known)
    flags.DEFINE_string("cache", None, "folder of compiled programs", **known)
    return own


def _parse(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Flags, with a config file's own mistakes told in one line."""
    if os.getcwd() not in sys.path:  # a config may import its neighbours
        sys.path.append(os.getcwd())
    logging.set_verbosity(logging.ERROR)  # what is wrong with a config is told below
    try:
        rest = values(list(argv))
        if values.config is not None and hasattr(values.config, "to_dict"):
            values.config.to_dict()  # a missing file is told only on first use
        return rest
    except flags.Error as error:
        if "Traceback" not in str(error):
            raise UserError(f"{one_line(error)}; see score-mia --help") from error
        what = str(error).strip().splitlines()[-1]  # a config file that failed
        raise UserError(f"config: {what}; check --config and its fields") from error
    except OSError as error:
        path = next((a for a in argv if a.startswith("--config=")), "--config")
        what = "the file cannot be read; check its path"
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno is not None:
            what = f"{type(cause).__name__}: {one_line(cause)}; check what it reads"
        raise UserError(f"{path}: {what}") from error
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise UserError(f"config {where}: {error.msg}; mend the file") from error
    except SystemExit as error:
        raise UserError(
            f"config: the file ends the program (sys.exit({error.code!r})); let "
            "get_config return the config"
        ) from error
    except Exception as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(f"config: {what}; check --config and its fields") from error


def _print(text: str) -> None:
    print(printable(text, keep="\n"))


def _say(text: str) -> None:
    print(f"score-mia: {printable(text)}", file=sys.stderr)
