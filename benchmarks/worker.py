"""What both sides of beside.py share: a loop over requests, a clock, a memory gauge."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], tuple[int, dict[str, Any]]]
"""Does the work; returns the number of images it was done for, and facts about it."""


def peak() -> float:
    """The largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve(kinds: dict[str, Callable[[dict[str, Any]], dict[str, Call]]]) -> None:
    """Answer "make" with the variants' names, "run" with seconds, "peak" with MiB."""
    before, calls = peak(), {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "make":
            calls = kinds[request["kind"]](request)
            answer: Any = list(calls)
        elif request["do"] == "run":
            start = time.perf_counter()
            images, facts = calls[request["variant"]]()
            seconds = (time.perf_counter() - start) / images
            answer = {"seconds": seconds, **facts}
        else:
            answer = peak() - before
        print(json.dumps(answer), flush=True)
