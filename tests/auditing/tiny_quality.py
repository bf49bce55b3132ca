"""The tiny audit with one attack, and with the quality of some samples."""

from __future__ import annotations

from ml_collections import ConfigDict

from tests.auditing import tiny


def get_config(arg: str = "") -> ConfigDict:
    config = tiny.get_config(arg)
    config.unlock()
    del config.attacks.likelihood
    config.report.samples = 2
    config.quality = ConfigDict(dict(samples=6, encoder="pixels"))
    return config
