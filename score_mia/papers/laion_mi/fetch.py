"""Fetch the images of a released list, as far as they are still there.

    python -m score_mia.papers.laion_mi.fetch --list=members.parquet --out=DIR
    python -m score_mia.papers.laion_mi.fetch --list=nonmembers.parquet --out=DIR \\
        --most=5000

    DIR/members/..., DIR/nonmembers/...   the images, each list's in a folder of its own
    DIR/captions.csv                      of all of them
    DIR/log.jsonl                         one line for each address that was asked

A list's folder is called as its file is, up to the first "-" or "."; --group names it
otherwise. A config reads both with data=dict(name="folder", path=DIR, size=512) and
split=dict(name="folders"). An address in the log is not asked again, so that a run that
was ended goes on; --again asks those that gave no image. One run at a time in a DIR.

Most of the addresses are old, many are dead, and what is left of either list is no
random part of it: members and non-members that are still there may differ in more than
their membership. Judge them beside the blind control.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags

from score_mia.check import UserError, printable, require
from score_mia.papers.laion_mi.download import fetch
from score_mia.papers.laion_mi.web import Manners

_LIST = flags.DEFINE_string("list", "", "csv, tsv, jsonl or parquet: url and caption.")
_OUT = flags.DEFINE_string("out", "", "Folder to write.")
_GROUP = flags.DEFINE_string("group", None, "Folder of this list's images in it.")
_MOST = flags.DEFINE_integer("most", None, "Addresses of the list, from its beginning.")
_AGAIN = flags.DEFINE_boolean("again", False, "Ask again what gave no image.")
_THREADS = flags.DEFINE_integer("threads", Manners.threads, "Addresses asked at once.")
_TIMEOUT = flags.DEFINE_float("timeout", Manners.timeout, "Seconds without a byte.")
_RETRIES = flags.DEFINE_integer("retries", Manners.retries, "Further tries of each.")
_RATE = flags.DEFINE_float("per_second", Manners.per_second, "Most requests a second.")
_BYTES = flags.DEFINE_integer("most_bytes", Manners.most_bytes, "Of an answer.")


def main(argv: Sequence[str]) -> None:
    """Fetch what the flags say and print what came of it."""
    del argv
    try:
        for name, value in (("--list", _LIST.value), ("--out", _OUT.value)):
            require(bool(value), name, "is missing", "give it")
        manners = Manners(
            threads=_THREADS.value,
            timeout=_TIMEOUT.value,
            retries=_RETRIES.value,
            per_second=_RATE.value,
            most_bytes=_BYTES.value,
        )
        done = fetch(
            _LIST.value,
            _OUT.value,
            group=_GROUP.value,
            most=_MOST.value,
            again=_AGAIN.value,
            manners=manners,
        )
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")
    print(printable(done.about, keep="\n"))


if __name__ == "__main__":
    app.run(main)
