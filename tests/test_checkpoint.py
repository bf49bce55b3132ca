from __future__ import annotations

import resource
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia import checkpoint
from score_mia.check import UserError
from score_mia.checkpoint import (
    load_state,
    load_target,
    save_state,
    save_target,
    target_digest,
)
from score_mia.files import load_sealed, save_sealed
from score_mia.networks import NETWORKS
from score_mia.spec import parts
from tests.train.toys import AFFINE, MLP


@pytest.fixture(scope="module")
def weights():
    params = jax.tree.map(np.asarray, parts(MLP).network.init(jax.random.key(0)))
    return params, jax.tree.map(lambda a: a + np.float32(0.25), params)


@pytest.fixture
def folder(tmp_path, weights):
    save_target(tmp_path / "target", MLP, *weights, {"step": 7, "split": "abc"})
    return tmp_path / "target"


def edit(folder, change):
    """Change a description and seal it again, as whoever means harm would."""
    about = load_sealed(folder / "target.json")
    change(about)
    save_sealed(folder / "target.json", about)


def bits(tree):
    return [np.asarray(a).tobytes() for a in jax.tree.leaves(tree)]


def test_a_target_comes_back_with_its_meaning(folder, weights):
    params, ema = weights
    averaged = load_target(folder)
    assert bits(averaged.params) == bits(ema)
    assert bits(load_target(folder, use="params").params) == bits(params)
    original = parts(MLP).target(jax.tree.map(jnp.asarray, ema))
    x = jax.random.normal(jax.random.key(1), (2, 2, 1))
    assert np.array_equal(averaged.denoiser.eps(x, 0.3), original.denoiser.eps(x, 0.3))
    assert (averaged.sde, averaged.parameterisation, averaged.codec) == (
        original.sde, original.parameterisation, original.codec,
    )  # fmt: skip
    assert checkpoint.describe(folder)["provenance"] == {"step": 7, "split": "abc"}


def test_digest_tells_weights_and_meanings_apart(weights):
    params, ema = weights
    one = target_digest(parts(MLP).target(params))
    assert one == target_digest(parts(MLP).target(jax.tree.map(jnp.array, params)))
    others = [
        parts(MLP).target(ema),
        parts({**MLP, "sde": {"name": "sub_vp"}}).target(params),
        parts({**MLP, "codec": {"low": 0.0, "high": 1.0}}).target(params),
    ]
    assert len({one, *map(target_digest, others)}) == 4


def test_saving_again_replaces_and_leaves_other_files(folder, weights):
    params, ema = weights
    (folder / "notes.txt").write_text("mine")
    save_target(folder, MLP, ema, params, {"step": 8})
    assert bits(load_target(folder).params) == bits(params)
    assert len(list(folder.iterdir())) == 4  # json, ema-*, params-*, notes
    save_target(folder, MLP, ema, params, {"step": 9})
    assert checkpoint.describe(folder)["provenance"]["step"] == 9


def test_a_save_that_dies_before_the_rename_leaves_the_old_target(
    folder, weights, monkeypatch
):
    params, ema = weights

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_sealed", die)
        with pytest.raises(KeyboardInterrupt):
            save_target(folder, MLP, ema, params, {"step": 8})
    assert bits(load_target(folder).params) == bits(ema)
    assert checkpoint.describe(folder)["provenance"]["step"] == 7


def spoil(data, how):
    if how == "truncate":
        return data[: len(data) // 2]
    if how == "empty":
        return b""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]


def refusal(folder):
    try:
        load_target(folder)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("how", ["truncate", "empty", "flip"])
def test_no_damaged_file_is_ever_read_as_weights(folder, weights, how):
    whole = bits(weights[1])
    refused = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        path.write_bytes(spoil(data, how))
        said = refusal(folder)
        if said is None:
            assert bits(load_target(folder).params) == whole
        else:
            refused += 1
            assert "\n" not in said.strip()
            assert str(folder) in said
            assert "; " in said
        path.write_bytes(data)
    assert refused == len([p for p in folder.rglob("ema-*/**/*") if p.is_file()]) + 1
    assert bits(load_target(folder).params) == whole


def test_missing_things_are_named_with_a_remedy(folder, tmp_path):
    with pytest.raises(UserError, match=r"nowhere.*does not exist.*train it first"):
        load_target(tmp_path / "nowhere")
    for path in folder.glob("ema-*"):
        shutil.rmtree(path)
    with pytest.raises(UserError, match=r"ema-.*is missing; restore"):
        load_target(folder)


def test_nan_weights_are_refused_by_name(folder, weights):
    params, ema = weights
    bad = jax.tree.map(np.array, ema)
    jax.tree.leaves(bad)[0].flat[0] = np.nan
    save_target(folder, MLP, params, bad, {})
    with pytest.raises(UserError, match=r"NaN or infinite weights in \w+.*; training"):
        load_target(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["spec"]["network"].update(features=16),
        lambda a: a["spec"]["network"].update(blocks=2),
        lambda a: a["spec"].update(shape=[2, 3, 1]),
    ],
)
def test_weights_that_do_not_fit_the_spec_are_refused(folder, change):
    edit(folder, change)
    with pytest.raises(UserError, match=r"array '\w+.*' has shape .* its spec needs"):
        load_target(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a["spec"].pop("sde"), "spec: has no"),
        (lambda a: a["spec"].update(sde={"name": "vpp"}), "did you mean 'vp'"),
        (lambda a: a["spec"].update(shape=[2, -2, 1]), "give .h, w, c."),
        (lambda a: a["spec"].update(codec={"low": 1.0, "high": 0.0}), "low < high"),
        (lambda a: a["spec"]["network"].update(features="x"), "give a whole number"),
        (lambda a: a["digest"].update(ema="../../etc"), "no description of a target"),
        (lambda a: a.update(digest=None), "digest is None, not an object"),
    ],
)
def test_wrong_descriptions_are_refused(folder, change, told):
    edit(folder, change)
    with pytest.raises(UserError, match=told) as caught:
        load_target(folder)
    assert str(folder) in str(caught.value)


def test_whatever_a_spec_makes_a_network_raise_is_one_line(folder, monkeypatch):
    class Fragile:
        def build(self, shape):
            return 1 // 0

    monkeypatch.setitem(NETWORKS, "fragile", Fragile)
    edit(folder, lambda a: a["spec"].update(network={"name": "fragile"}))
    with pytest.raises(UserError, match=r"cannot be built \(ZeroDivisionError"):
        load_target(folder)


def test_a_file_cannot_choose_code_to_run(folder, tmp_path, monkeypatch):
    (tmp_path / "evil_mod.py").write_text(
        "import pathlib\npathlib.Path('ran').touch()\nNet = dict\n"
    )
    monkeypatch.chdir(tmp_path)
    for family in ("network", "sde", "parameterisation"):
        evil = {family: {"name": "evil_mod:Net"}}
        edit(folder, lambda a, evil=evil: a["spec"].update(evil))
        with pytest.raises(UserError, match="would run code from outside"):
            load_target(folder)
        edit(folder, lambda a, f=family: a["spec"].update({f: MLP[f]}))
    assert not (tmp_path / "ran").exists()


def test_an_own_network_is_loaded_when_the_caller_names_it(tmp_path):
    params = parts(AFFINE, allow=["tests.train.toys:Affine"]).network.init(None)
    save_target(tmp_path, AFFINE, params, params, {})
    target = load_target(tmp_path, allow=["tests.train.toys:Affine"])
    assert bits(target.params) == bits(params)


# --- training states ---------------------------------------------------------------


def state(step):
    return {"00": np.full(500, step, np.float32), "01": np.int32(step)}


def test_the_last_two_states_are_kept(tmp_path):
    for step in (10, 20, 30):
        save_state(tmp_path, step, state(step), {"identity": "x"})
    found = load_state(tmp_path, state(0))
    assert (found.step, found.record) == (30, {"identity": "x"})
    assert bits(found.tree) == bits(state(30))
    names = sorted(p.name for p in (tmp_path / "state").iterdir())
    steps = ["step-00000020", "step-00000030"]
    assert names == sorted([*steps, *(f"{s}.json" for s in steps)])


def test_no_state_is_none(tmp_path):
    assert load_state(tmp_path, state(0)) is None


def test_a_damaged_state_gives_way_to_the_one_before(tmp_path):
    for step in (10, 20):
        save_state(tmp_path, step, state(step), {})
    newest = tmp_path / "state" / "step-00000020"
    files = [p for p in newest.rglob("*") if p.is_file() and p.parent.name == "d"]
    for path in files:
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="trying the state before"):
        found = load_state(tmp_path, state(0))
    assert found.step == 10
    assert bits(found.tree) == bits(state(10))
    save_state(tmp_path, 20, state(20), {})  # training goes on and gets there again
    assert load_state(tmp_path, state(0)).step == 20
    for path in (tmp_path / "state").glob("*.json"):
        path.write_text("{")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserError, match="delete that folder"):
            load_state(tmp_path, state(0))


# The storage library's threads outlive its failed write and complain to nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    save_state(tmp_path, 10, state(10), {})
    big = {"00": np.random.default_rng(0).normal(size=50_000), "01": np.int32(1)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write .*; free some space"):
            save_state(tmp_path, 20, big, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    found = load_state(tmp_path, state(0))
    assert found.step == 10
    assert bits(found.tree) == bits(state(10))
    names = {p.name for p in (tmp_path / "state").iterdir()}
    assert names == {"step-00000010", "step-00000010.json"}  # the torn one is gone


def test_a_nearly_full_disk_is_seen_before_writing(tmp_path, monkeypatch):
    save_state(tmp_path, 10, state(10), {})
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(UserError, match=r"cannot write .*No space left.*; free some"):
        save_state(tmp_path, 20, state(20), {})
    assert load_state(tmp_path, state(0)).step == 10


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, weights):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*; free some space or choose"):
        save_target(tmp_path / "file" / "target", MLP, *weights, {})
