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

from score_mia.check import Incomplete, UserError, one_of

COMMANDS = {
    "audit": "train the target, attack it, report; skips what is done",
    "train": "train the target only",
    "import": "take a checkpoint of score_sde or MIDM for the target (--checkpoint)",
    "attack": "attack a trained target (and write metrics.json)",
    "report": "write the report again from the files of the workdir",
    "generate": "draw samples from the trained target",
    "study": "run many audits, then build tables and figures over them",
}

_HELP = (
    "Audits the membership privacy of diffusion models.\n\n"
    "usage: score-mia COMMAND --config=FILE.py[:smoke] --workdir=DIR [flags]\n\n"
    + "\n".join(f"  {name:10s}{what}" for name, what in COMMANDS.items())
    + "\n\nFields of the config can be set as flags: --config.train.steps=1000\n"
)


def run() -> None:
    """Entry point of launch.py and of the console script."""
    sys.exit(main(sys.argv))


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit status.

    Args:
      argv: the program's name, the command, and its flags.
    """
    try:
        _run(argv)
    except Incomplete as error:
        print(error.done)
        _say(_one_line(error))
        return 1
    except UserError as error:
        _say(_one_line(error))
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
    values = _define_flags(argv)
    if len(argv) < 2 or argv[1] in ("-h", "--help", "help"):
        print(_HELP + values.get_help())
        return
    rest = _parse(values, argv)
    one_of("command", rest[1], COMMANDS)
    if len(rest) > 2:
        raise UserError(f"{rest[2]!r} is neither a flag nor a command; see --help")
    for name in ("config", "workdir"):
        if getattr(values, name) is None and not (values.dry_run and name == "workdir"):
            raise UserError(f"--{name} is missing; give it, see score-mia --help")
    if rest[1] == "import" and values.checkpoint is None:
        raise UserError("--checkpoint is missing; give the file to import")
    # Flags are parsed before anything heavy is imported, so that a typing error
    # answers at once.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.WARNING)  # JAX tells which backends are not there
    from score_mia import audit, build, device

    device.cache_compilations(values.cache)
    if rest[1] == "study":
        _study(values)
        return
    plan = build.plan(values.config)
    if values.dry_run:
        print(audit.describe(plan, values.workdir))
        return
    actions: dict[str, Callable[..., str]] = {
        "audit": audit.run,
        "train": audit.train,
        "import": lambda p, w: audit.import_target(p, w, values.checkpoint),
        "attack": audit.attack,
        "report": audit.report,
        "generate": lambda p, w: audit.generate(p, w, values.count),
    }
    print(actions[rest[1]](plan, values.workdir))


def _study(values: flags.FlagValues) -> None:
    from score_mia import study

    planned = study.plan(values.config)
    if values.dry_run:
        print(study.describe(planned, values.workdir))
    else:
        print(study.run(planned, values.workdir, values.only))


def _define_flags(argv: Sequence[str]) -> flags.FlagValues:
    from ml_collections import config_flags

    own = flags.FlagValues()
    known: Any = {"flag_values": own}
    config_flags.DEFINE_config_file(
        "config", None, "Experiment file.", sys_argv=list(argv), **known
    )
    flags.DEFINE_string(
        "workdir", None, "Where everything of this run is kept.", **known
    )
    flags.DEFINE_bool("dry_run", False, "Print config, sizes and cost only.", **known)
    flags.DEFINE_integer("count", 64, "generate: how many.", lower_bound=1, **known)
    flags.DEFINE_string("checkpoint", None, "import: the file.", **known)
    flags.DEFINE_list("only", [], "study: names of the audits to run.", **known)
    flags.DEFINE_string("cache", None, "Folder of compiled programs.", **known)
    return own


def _parse(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Flags, with a config file's own mistakes told in one line."""
    if os.getcwd() not in sys.path:  # a config may import its neighbours
        sys.path.append(os.getcwd())
    try:
        rest = values(list(argv))
        if values.config is not None:
            values.config.to_dict()  # a missing file is told only on first use
        return rest
    except flags.Error as error:
        if "Traceback" not in str(error):
            raise UserError(f"{_one_line(error)}; see score-mia --help") from error
        said = str(error).strip().splitlines()[-1]  # a config file that failed
        raise UserError(f"config: {said}; check --config and its fields") from error
    except OSError as error:
        path = next((a for a in argv if a.startswith("--config=")), "--config")
        raise UserError(f"{path}: the file cannot be read; check its path") from error
    except Exception as error:
        what = f"{type(error).__name__}: {_one_line(error)}"
        raise UserError(f"config: {what}; check --config and its fields") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _say(text: str) -> None:
    print(f"score-mia: {text}", file=sys.stderr)
