"""Tensors from safetensors: what the files hold, when it is asked for, or one line."""

from __future__ import annotations

import json
import re
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from score_mia.check import UserError
from score_mia.interop.keys import Key, fill, same
from score_mia.interop.safetensors import Tensors
from score_mia.networks import MLP
from score_mia.networks.network import abstract, parameters

RNG = np.random.default_rng(0)
ARRAYS = {
    "conv.weight": RNG.normal(size=(5, 4, 3, 3)).astype(np.float32),
    "conv.bias": RNG.normal(size=5).astype(np.float16),
    "scalar": np.array(3.0, np.float32),
    "position_ids": np.arange(7)[None],
}


def load(spec, shape, tensors, *args, **options):
    """The parameters of a network from torch's tensors."""
    return fill(parameters(abstract(spec, shape)), tensors, *args, **options)


def written(folder, arrays=ARRAYS, name="model.safetensors", **metadata):
    folder.mkdir(exist_ok=True)
    save_file(arrays, folder / name, metadata or None)
    return folder / name


def sharded(folder, name="model.safetensors.index.json"):
    shards = {"model-1-of-2.safetensors": {}, "model-2-of-2.safetensors": {}}
    table = {}
    for i, (key, array) in enumerate(ARRAYS.items()):
        shard = list(shards)[i % 2]
        shards[shard][key], table[key] = array, shard
    for shard, arrays in shards.items():
        written(folder, arrays, shard)
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": table}))
    return folder / name


def refused(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    (line,) = str(caught.value).splitlines()
    assert ";" in line
    for word in words:
        assert word in line, line
    return line


@pytest.mark.parametrize("place", ["file", "folder", "index", "shards"])
def test_gives_the_files_arrays(tmp_path, place):
    path = written(tmp_path / "a") if place in ("file", "folder") else sharded(tmp_path)
    tensors = Tensors.of(path if place in ("file", "index") else path.parent)
    assert set(tensors) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert tensors[name].dtype == array.dtype
        assert tensors.shape(name) == array.shape
        np.testing.assert_array_equal(tensors[name], array)


def test_bfloat16_is_not_mistaken_for_whole_numbers(tmp_path):
    array = jnp.asarray(RNG.normal(size=(3, 4)), jnp.bfloat16)
    header = {"a": {"dtype": "BF16", "shape": [3, 4], "data_offsets": [0, 24]}}
    text = json.dumps(header).encode()
    path = tmp_path / "bf16.safetensors"
    raw = np.asarray(array).tobytes()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw)
    read = Tensors.of(path)["a"]
    assert read.dtype == jnp.bfloat16
    np.testing.assert_array_equal(read, np.asarray(array))


def test_a_variant_is_asked_for_by_name(tmp_path):
    written(tmp_path, {"a": np.float32([1])})
    written(tmp_path, {"a": np.float16([2])}, "model.fp16.safetensors")
    assert Tensors.of(tmp_path)["a"] == 1
    assert Tensors.of(tmp_path, "fp16")["a"] == 2
    refused(lambda: Tensors.of(tmp_path, "bf16"), "bf16", "fp16")


def test_metadata_and_digest(tmp_path):
    one, other = written(tmp_path / "a", alpha="3"), written(tmp_path / "b")
    assert Tensors.of(one).metadata == {"alpha": "3"}
    assert Tensors.of(one).sha256() != Tensors.of(other).sha256()
    assert len(Tensors.of(sharded(tmp_path / "c").parent).sha256()) == 64


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    """A lazy mapping: opening many megabytes takes kilobytes, and so does keeping."""
    big = {str(i): np.zeros(2**18, np.float32) for i in range(8)}
    tensors = Tensors.of(written(tmp_path, big))
    tracemalloc.start()
    tensors = Tensors.of(tmp_path)
    for name in tensors:
        assert not tensors[name].any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**20


def _pickled(folder, name="diffusion_pytorch_model.bin"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"PK\x03\x04" + bytes(64))
    return folder


def _float8(folder):
    text = b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'
    path = folder / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    return path


def _cut(folder):
    path = written(folder)
    path.write_bytes(path.read_bytes()[:-5])
    return path


def _half_missing(folder):
    sharded(folder)
    (folder / "model-2-of-2.safetensors").unlink()
    return folder


def _misnamed(folder):
    index = sharded(folder)
    text = json.loads(index.read_text())
    text["weight_map"]["other"] = "model-1-of-2.safetensors"
    index.write_text(json.dumps(text))
    return folder


def _outside(folder):
    index = sharded(folder)
    index.write_text('{"weight_map": {"a": "../model-1-of-2.safetensors"}}')
    return folder


def _bytes(content):
    def make(folder):
        path = folder / "model.safetensors"
        path.write_bytes(content)
        return path

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_pickled, ["diffusion_pytorch_model.bin", "run code", "safetensors"]),
        (lambda f: _pickled(f) / "diffusion_pytorch_model.bin", ["pickled"]),
        (lambda f: _pickled(f, "model.safetensors"), ["pickled"]),
        (_float8, ["F8_E4M3", "bfloat16"]),
        (_cut, ["truncated"]),
        (_half_missing, ["model-2-of-2.safetensors", "missing"]),
        (_misnamed, ["other"]),
        (_outside, ["outside"]),
        (_bytes(b""), ["truncated"]),
        (_bytes(b"\xff" * 40), ["truncated"]),
        (_bytes(b"\x05" + bytes(7) + b"hello"), ["no file of safetensors"]),
        (lambda f: f, ["holds no safetensors"]),
        (lambda f: f / "nothing", ["does not exist"]),
    ],
)
def test_bad_files_are_told_in_one_line(tmp_path, make, words):
    refused(lambda: Tensors.of(make(tmp_path)), *words)


def test_a_file_that_shrinks_is_told(tmp_path):
    path = written(tmp_path)
    tensors = Tensors.of(path)
    path.write_bytes(path.read_bytes()[:100])
    for name in ("conv.weight", "conv.bias"):
        refused(lambda name=name: tensors[name], "ends within", name)


# --- into our networks ---------------------------------------------------------------


SPEC, SHAPE = MLP(features=6, blocks=1), (2, 2, 1)


def theirs(spec=SPEC, shape=SHAPE):
    """Our fresh parameters with torch's names and orders."""
    params = spec.build(shape).init(jax.random.key(0))
    state = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        array = np.asarray(leaf)
        state[same(name)] = array.T if name.endswith("kernel") else array
    return params, state


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_a_network_is_filled_by_the_general_rule(tmp_path, dtype):
    params, state = theirs()
    path = written(tmp_path, {k: np.ascontiguousarray(v) for k, v in state.items()})
    read = load(SPEC, SHAPE, Tensors.of(path), dtype=dtype, place=jnp.asarray)
    for ours, theirs_ in zip(
        jax.tree.leaves(params), jax.tree.leaves(read), strict=True
    ):
        assert theirs_.dtype == dtype
        np.testing.assert_array_equal(ours.astype(dtype), theirs_)


def test_orders():
    """Kernels are turned, 1x1 convolutions become matrices, embeddings stay."""
    conv, table = ARRAYS["conv.weight"], RNG.normal(size=(4, 6)).astype(np.float32)
    dense = RNG.normal(size=(3, 2, 1, 1)).astype(np.float32)
    state = {"a.weight": conv, "b.weight": dense, "c.weight": table, "d": table[:2]}
    tree = {
        "a": {"kernel": np.zeros((3, 3, 4, 5))},
        "b": {"kernel": np.zeros((2, 3))},
        "c": {"embedding": np.zeros((4, 6))},
        "e": np.zeros((6, 2)),
    }
    swapped = Key(("old", "d"), lambda a: a.T)
    read = fill(tree, state, lambda p: swapped if p == "e" else same(p))
    np.testing.assert_array_equal(read["a"]["kernel"], conv.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(read["b"]["kernel"], dense[:, :, 0, 0].T)
    np.testing.assert_array_equal(read["c"]["embedding"], table)
    np.testing.assert_array_equal(read["e"], table[:2].T)


class Counted(dict):
    """Counts what is read."""

    read = 0

    def __getitem__(self, name):
        self.read += 1
        return super().__getitem__(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, n: s.pop(n), ["have no", "NAME"]),
        (lambda s, n: s.update(more=s[n]), ["'more'", "no place"]),
        (lambda s, n: s.update({n: s[n][:-1]}), ["NAME", "has shape"]),
        (lambda s, n: s.update({n: s[n] * np.nan}), ["NAME", "NaN"]),
    ],
)
def test_what_does_not_fit_is_told_by_name(change, words):
    state = theirs()[1]
    name = next(n for n in state if n.endswith("weight"))
    change(state, name)
    refused(lambda: load(SPEC, SHAPE, state), *(w.replace("NAME", name) for w in words))


def test_names_and_shapes_are_checked_before_numbers_are_read(tmp_path):
    state = {k: np.ascontiguousarray(v) for k, v in theirs()[1].items()}
    tensors = Tensors.of(written(tmp_path, {**state, "more": np.zeros(1, np.float32)}))
    (tmp_path / "model.safetensors").write_bytes(b"")  # reading would tell of this
    refused(lambda: load(SPEC, SHAPE, tensors), "no place")


def test_left_over_names_may_be_ignored():
    params, state = theirs()
    state["text.position_ids"] = np.arange(3)
    read = load(SPEC, SHAPE, state, ignore=(r".*\.position_ids",))
    assert jax.tree.structure(read) == jax.tree.structure(params)
    assert re.fullmatch(r".*\.position_ids", "text.position_ids")
