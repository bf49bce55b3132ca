"""One of several processes that train a perceptron together; see test_together.py.

Its arguments are the folder, the config as JSON, the coordinator's port, the number of
this process, how many there are, and the step after which it dies, or 0.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from score_mia import distributed
from score_mia.check import UserError
from score_mia.device import cache_compilations
from score_mia.lease import lease
from score_mia.train import loop, spread
from score_mia.train.config import TrainConfig
from tests.train.toys import MLP, images


def main(folder: str, config: str, port: str, number: str, count: str, last: str):
    spread.SMALL = 8
    write = loop._Keeper.write

    def write_and_die(self, state, step, loss):
        write(self, state, step, loss)
        if step == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    loop._Keeper.write = write_and_die
    cache_compilations()
    host = distributed.start(f"127.0.0.1:{port}", int(number), int(count))
    host = type(host)(host.number, host.count, Path(folder))
    with lease(folder, host.number), host.stage(), distributed.together(host):
        settings = TrainConfig.of(json.loads(config))
        loop.train(MLP, images(10, (2, 2, 1)), settings, Path(folder) / "target")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        distributed.end(2, f"score-mia: {error}\n")
