"""Folders of the diffusers library: models as `save_pretrained` writes them.

    spec = describe("google/ddpm-cifar10-32")     # a spec, from the configs alone
    foreign = read_folder("google/ddpm-cifar10-32")

`families` lists the classes of components that are read, `schedulers` the schedulers;
whatever has no counterpart here is refused by its name.
"""

from score_mia.interop.diffusers.folder import (
    Patch,
    components,
    describe,
    origin,
    read_folder,
)

__all__ = ["Patch", "components", "describe", "origin", "read_folder"]
