"""Writes files as torch does, and as it never would, without torch."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np


class Named:
    """Pickles as a name alone."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickles as a call of a name."""

    def __init__(self, module, name, *args):
        self.function, self.args = Named(module, name), args


class Stored:
    """Pickles as a reference to a storage."""

    def __init__(self, kind, key, count):
        self.pid = ("storage", Named("torch", kind), key, "cpu", count)


class Pickler(pickle._Pickler):
    """Writes what torch writes, and what it never would."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Stored) else None

    def name(self, obj):
        self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())

    def call(self, obj):
        self.save(obj.function)
        self.save(obj.args)
        self.write(pickle.REDUCE)

    dispatch[Named] = name
    dispatch[Call] = call


def program(value) -> bytes:
    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def tensor(shape, kind="FloatStorage", key="0", count=6, offset=0, strides=None):
    """A tensor as torch writes it."""
    rows = np.cumprod((1, *shape[:0:-1]))[::-1][: len(shape)]
    steps = tuple(int(s) for s in (rows if strides is None else strides))
    stored = Stored(kind, key, count)
    name = ("torch._utils", "_rebuild_tensor_v2")
    return Call(*name, stored, offset, shape, steps, False, {})


def zipped(path, value, storages=None, **options):
    """A file in torch's zip format."""
    numbers = np.arange(6, dtype=np.float32).tobytes()
    data = value if isinstance(value, bytes) else program(value)
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("archive/data.pkl", data)
        for key, content in (storages or {"0": numbers}).items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def legacy(path, value, storages):
    """A file in the format before torch 1.6; storages are {key: array}."""
    with path.open("wb") as file:
        system = {"protocol_version": 1001, "little_endian": True}
        for part in (0x1950A86A20F9469CFC6C, 1001, system, value, sorted(storages)):
            file.write(program(part))
        for _, array in sorted(storages.items()):
            file.write(len(array).to_bytes(8, "little") + array.tobytes())
    return path


def checkpoint(path, model, averages, **rest):
    """What score_sde_pytorch saves, from arrays."""
    storages: dict[str, bytes] = {}

    def stored(array):
        key = str(len(storages))
        storages[key] = np.ascontiguousarray(array).tobytes()
        kind = {"f4": "Float", "f8": "Double"}[array.dtype.str[1:]]
        return tensor(array.shape, f"{kind}Storage", key, array.size)

    tree = {
        "optimizer": {"lr": Call("numpy.core.multiarray", "scalar", NUMBER, EIGHT)},
        "model": {k: stored(v) for k, v in model.items()},
        "ema": {"decay": 0.999, "shadow_params": [stored(v) for v in averages]},
        "step": 3,
        **rest,
    }
    return zipped(path, tree, storages)


NUMBER = Call("numpy", "dtype", "f8", False, True)
EIGHT = Call("_codecs", "encode", "\x00" * 8, "latin1")
