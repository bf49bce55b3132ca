"""The command line: what it does, and the one line that each kind of bad input gets."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from score_mia import cli
from score_mia.files import load_sealed, save_sealed
from tests.helpers import signal_folder

TINY = Path(__file__).parent / "auditing" / "tiny.py"


def run(capsys, command, workdir, *rest, config=TINY):
    """Exit status, standard output and standard error of one command."""
    flags = [f"--config={config}", f"--workdir={workdir}", *rest]
    status = cli.main(["score-mia", command, *flags])
    return status, *capsys.readouterr()


def variant(folder, code):
    """A config file: the tiny one after `code`, which changes `c`."""
    path = folder / "variant.py"
    path.write_text(
        "from ml_collections import ConfigDict\n"
        "from tests.auditing.tiny import get_config as tiny\n\n\n"
        "def get_config():\n    c = tiny()\n    c.unlock()\n    " + code + "\n"
        "    return c\n"
    )
    return path


def refused(capsys, command, workdir, *rest, config=TINY):
    """The one line of a command that is refused."""
    status, _, err = run(capsys, command, workdir, *rest, config=config)
    said = [line for line in err.splitlines() if line.startswith("score-mia: ")]
    assert status == 2, err
    assert len(said) == 1, err
    assert err.splitlines()[-1] == said[0], err
    assert ";" in said[0] or "--help" in said[0], f"no remedy: {said[0]}"
    assert "Traceback" not in err
    return said[0]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The workdir of a finished audit."""
    workdir = tmp_path_factory.mktemp("cli") / "run"
    argv = ["score-mia", "audit", f"--config={TINY}", f"--workdir={workdir}"]
    assert cli.main(argv) == 0
    return workdir


@pytest.fixture
def copy(done, tmp_path):
    """A copy of the finished audit, to spoil."""
    return shutil.copytree(done, tmp_path / "run")


def test_audit_leaves_what_the_documentation_says(done):
    metrics = json.loads((done / "metrics.json").read_text())
    assert metrics["schema"] == 2
    assert metrics["split"] == {"members": 12, "nonmembers": 20, "reference": 32}
    for entry in metrics["attacks"].values():
        assert entry["members"] == 12
        for rate, n in (("0.1", True), ("0.01", False)):  # 20 non-members
            estimate = entry["tpr_at_fpr"][rate]
            assert estimate["resolvable"] is n
            assert (estimate["value"] is None) is not n
        assert entry["network_evaluations_per_image"] in (4.0, 6.0)
    for name in ("config.json", "split.npz", "target/target.json", "report/index.html"):
        assert (done / name).stat().st_size > 0
    losses = map(json.loads, (done / "target/train.jsonl").read_text().splitlines())
    assert [x["step"] for x in losses] == [10, 20, 30, 40, 50, 60]


def test_stages_one_by_one(tmp_path, capsys):
    assert "run 'train' or 'audit'" in refused(capsys, "attack", tmp_path)
    for command, said in (
        ("train", "target: "),
        ("attack", "metrics: "),
        ("report", "report: "),
    ):
        status, out, _ = run(capsys, command, tmp_path)
        assert status == 0
        assert said in out
    status, out, _ = run(capsys, "generate", tmp_path, "--count=3")
    assert status == 0
    assert len(list((tmp_path / "samples").glob("*.png"))) == 3


def test_dry_run_tells_sizes_and_cost_and_touches_nothing(tmp_path, capsys):
    workdir = tmp_path / "none"
    status, out, _ = run(capsys, "audit", workdir, "--dry_run")
    assert status == 0
    assert not workdir.exists()
    config = json.loads(out[: out.rindex("}") + 1])
    assert config["parameterisation"] == {"name": "noise"}  # resolved
    assert "1,797 images of (8, 8, 1)" in out
    assert "24 members, 40 non-members; 32 of them are reference data" in out
    assert f"{60 * 8 * 3:,} forward passes" in out
    assert f"{64 * 4:,} forward passes" in out


def test_help_and_no_command(capsys):
    for argv in (["score-mia"], ["score-mia", "--help"]):
        assert cli.main(argv) == 0
        out = capsys.readouterr().out
        assert all(name in out for name in cli.COMMANDS)
        assert "--workdir" in out


SIGNAL = """
import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from score_mia.attacks.protocol import Columns, Reading


@dataclasses.dataclass(frozen=True)
class Brightness:
    access: ClassVar[str] = "scores"
    needs: ClassVar = ()

    def columns(self, model):
        return Columns(("brightness",), diagnostics=("network_evaluations",))

    def __call__(self, model, query, products):
        return Reading(jnp.mean(query.image)[None], jnp.zeros(1))
"""


def test_a_users_own_attack_runs_from_a_config_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "my_attacks.py").write_text(SIGNAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = variant(
        tmp_path,
        "c.attacks.mine = ConfigDict(dict(signal=dict(name='my_attacks:Brightness')))",
    )
    status, out, err = run(capsys, "audit", tmp_path / "run", config=config)
    assert status == 0, err
    entry = json.loads((tmp_path / "run/metrics.json").read_text())["attacks"]["mine"]
    split = np.load(tmp_path / "run/split.npz")
    assert entry["members"] + entry["nonmembers"] == (~split["reference"]).sum()
    assert "mine" in out


JOIN = (
    *("--distributed", "--coordinator=a:1", "--process_id=0"),
    "--process_count=2",
)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["audti"], "did you mean 'audit'"),
        (["audit", "more"], "neither a flag nor a command"),
        (["audit", "--wrkdir=x"], "Did you mean: workdir"),
        (["audit", "--config.train.stepz=3"], "did you mean 'steps'"),
        (["audit", "--config.train.dp.epsilom=3"], "did you mean 'epsilon'"),
        (["audit", "--config.reprot.samples=3"], "did you mean 'report'"),
        (["audit", "--config.attacks.los.signal.times=3"], "did you mean 'loss'"),
        (["audit", "--config.train.steps=many"], "steps='many' is a text"),
        (["audit", "--config.title.x=1"], "--config.title.x: title is "),
        (["audit", "--config=quikstart"], "did you mean 'quickstart'"),
        (["train", "--process_id=1"], "--process_id: means nothing alone; add"),
        (
            ["audit", "--distributed", "--coordinator=a:1"],
            "--coordinator: is not enough",
        ),
        (["attack", "--distributed", "--host=0/2"], "--host: is not for --distributed"),
        (["generate", *JOIN, "--coordinator=a"], "--coordinator='a': is not HOST:PORT"),
        (["audit", *JOIN, "--process_id=2"], "--process_id=2: is no number among 2;"),
        (["report", "--distributed"], "--distributed: means nothing to 'report'"),
    ],
)
def test_misspelt_flags_and_commands(argv, said, tmp_path, capsys):
    command, *rest = argv
    assert said in refused(capsys, command, tmp_path, *rest)
    assert not list(tmp_path.iterdir())


def test_every_field_is_a_flag_written_in_the_file_or_not(tmp_path, capsys):
    config = variant(tmp_path, "c.report = None; c.lock()")
    flags = [
        *("--config.report.samples", "8", "--config.report.pictures"),
        *("--noconfig.train.flip", "--config.quality.encoder.name=pixels"),
        *("--config.train.learning_rate=1", "--config.title=3", "--config.seed=7"),
        "--config.attacks.mine={'signal': {'name': 'loss', 'times': (3,)}}",
    ]
    status, out, err = run(
        capsys, "audit", tmp_path, "--dry_run", *flags, config=config
    )
    assert status == 0, err
    told = json.loads(out[: out.rindex("}") + 1])
    assert told["report"] == {"samples": 8, "pictures": True}
    assert told["train"]["flip"] is False
    assert told["quality"] == {"encoder": {"name": "pixels"}}
    assert repr(told["train"]["learning_rate"]) == "1.0"  # as in the file, a float
    assert (told["title"], told["seed"]) == ("3", 7)
    assert told["attacks"]["mine"]["signal"]["times"] == [3]


def test_missing_flags(capsys):
    assert cli.main(["score-mia", "audit", "--workdir=x"]) == 2
    assert "--config is missing" in capsys.readouterr().err
    assert cli.main(["score-mia", "audit", f"--config={TINY}"]) == 2
    assert "--workdir is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("c.sde.name = 'ddmp'", "sde 'ddmp' is unknown; did you mean 'ddpm'"),
        ("c.sde.beta = 3.0", "sde 'ddpm' has no field 'beta'"),
        ("c.network.name = 'unet'", "network 'unet' is unknown"),
        ("c.attacks.loss.rule.name = 'bets'", "did you mean 'best'"),
        ("c.attacks.loss.knows = 'all'", "attacks.loss.knows='all'"),
        ("c.attacks.loss.signal.times = 0", "times"),
        ("c.attacks = {}", "attacks: none is given"),
        ("c.attcks = {}", "config has no section 'attcks'; did you mean 'attacks'"),
        ("del c.split", "config section 'split': is missing"),
        ("c.train.batch = 0", "batch=0"),
        ("c.train.learning_rate = -1.0", "learning_rate=-1.0"),
        ("c.split.members = 0", "members=0"),
        ("c.split.members = 5000", "5000"),
        ("c.split.nonmembers = 0", "nonmembers=0"),
        ("c.split.reference = 1.0", "reference"),
        ("c.data.dataset = 'fashion_minst'", "did you mean 'fashion_mnist'"),
        ("c.attacks.loss.signal.name = 'nowhere:Signal'", "cannot import 'nowhere'"),
        ("c.attacks.loss.signal = ConfigDict(dict(name='json:JSONEncoder'))",
         "has no access, needs, columns"),
        ("c.attacks.likelihood.rule = ConfigDict(dict(name='column',"
         " column='log_prop'))", "did you mean 'log_prob'"),
        ("c.network = ConfigDict(dict(name='ddpm', features=32,"
         " multipliers=(1, 1, 1, 1, 1), blocks=1, attention=()))", "8"),
        ("raise RuntimeError('oh')", "RuntimeError: oh"),
        ("c.attacks.loss.signal.times = object", "Could not override field 'times'"),
        ("c.attacks.loss.signal.scale = object()", "numbers, texts, lists and dict"),
    ],
)  # fmt: skip
def test_wrong_configs(code, said, tmp_path, capsys):
    config = variant(tmp_path, code)
    assert said in refused(capsys, "audit", tmp_path / "run", config=config)
    assert not (tmp_path / "run" / "target").exists()


def test_missing_config_file(tmp_path, capsys):
    line = refused(capsys, "audit", tmp_path, config=tmp_path / "none.py")
    assert "none.py: the file cannot be read" in line


def arrays(tmp_path, images, capsys, **fields):
    """What an audit says to these images."""
    np.save(tmp_path / "x.npy", images)
    path = str(tmp_path / "x.npy")
    code = f"c.data = ConfigDict(dict(name='arrays', path={path!r}))"
    config = variant(tmp_path, code)
    return refused(capsys, "audit", tmp_path / "run", config=config)


def test_bad_images(tmp_path, capsys):
    images = np.random.default_rng(0).random((80, 8, 8, 1), np.float32)
    spoilt = images.copy()
    spoilt[7, 2, 2] = np.nan
    line = arrays(tmp_path, spoilt, capsys)
    assert "NaN" in line
    assert "7" in line
    assert "x.npy" in line
    assert "[0, 1]" in arrays(tmp_path, images * 255, capsys)
    assert "x.npy" in arrays(tmp_path, images[0, 0], capsys)
    assert "40" in arrays(tmp_path, images[:50], capsys)  # 24 + 40 are asked for
    assert "x.npy" in arrays(tmp_path, images[:0], capsys)
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY nonsense")
    config = tmp_path / "variant.py"
    assert "x.npy" in refused(capsys, "audit", tmp_path / "run", config=config)
    (tmp_path / "x.npy").unlink()
    assert "x.npy" in refused(capsys, "audit", tmp_path / "run", config=config)


def test_folders_without_images(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, said in ((empty, "empty"), (tmp_path / "none", "none")):
        code = f"c.data = ConfigDict(dict(name='folder', path={str(path)!r}, size=8))"
        config = variant(tmp_path, code)
        assert said in refused(capsys, "audit", tmp_path / "run", config=config)


def test_another_config_in_the_same_workdir(done, capsys):
    line = refused(capsys, "audit", done, "--config.train.steps=70")
    assert "a target of 60 training steps, now it is train.steps=70" in line
    assert "choose another --workdir" in line


def test_other_data_under_the_same_config(tmp_path, capsys):
    images = np.random.default_rng(0).random((80, 8, 8, 1), np.float32)
    np.save(tmp_path / "x.npy", images)
    path = str(tmp_path / "x.npy")
    code = f"c.data = ConfigDict(dict(name='arrays', path={path!r}))"
    config = variant(tmp_path, code)
    assert run(capsys, "train", tmp_path / "run", config=config)[0] == 0
    images[3] = 0.5
    np.save(tmp_path / "x.npy", images)
    line = refused(capsys, "attack", tmp_path / "run", config=config)
    assert "split.npz" in line or "digest" in line


def test_damaged_checkpoint_and_its_cure(copy, done, capsys):
    (path,) = (p for p in copy.glob("target/ema-*/d/*") if p.is_file())
    path.write_bytes(path.read_bytes()[:-20])
    line = refused(capsys, "attack", copy)
    assert "ema-" in line
    shutil.rmtree(copy / "target")
    assert run(capsys, "audit", copy)[0] == 0
    same_numbers(copy, done)


def test_damaged_shard_and_its_cure(copy, done, capsys):
    shard = signal_folder(copy, "loss") / "part-00001-of-00004.npz"
    for data in (shard.read_bytes()[:200], b"", b"PK nonsense"):
        shard.write_bytes(data)
        assert "part-00001-of-00004.npz" in refused(capsys, "attack", copy)
    shard.unlink()
    assert run(capsys, "attack", copy)[0] == 0
    same_numbers(copy, done)


def test_shards_of_another_target_are_refused(copy, capsys):
    manifest = signal_folder(copy, "loss") / "manifest.json"
    save_sealed(manifest, load_sealed(manifest) | {"target": "0" * 16})
    line = refused(capsys, "attack", copy)
    assert "target=" in line
    manifest.write_text("{")
    assert "manifest.json" in refused(capsys, "attack", copy)


def test_damaged_split(copy, capsys):
    (copy / "split.npz").write_bytes(b"no")
    assert "split.npz" in refused(capsys, "attack", copy)


def test_unwritable_workdir(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = refused(capsys, "audit", tmp_path / "file" / "run")
    assert "cannot write" in line
    assert "writable folder" in line


@contextlib.contextmanager
def full_disk(size):
    """No file may grow beyond `size` bytes: what a full disk does to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# The storage library's threads outlive its failed write and complain to nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_full_disk_loses_nothing_that_was_done(done, tmp_path, capsys):
    for part in ("config.json", "split.npz", "target"):
        source = done / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / part)
    with full_disk(600):  # the manifest fits, a shard does not
        line = refused(capsys, "attack", tmp_path)
    assert "part-00000" in line
    assert "free some space" in line
    assert not list(tmp_path.rglob("*.tmp*"))
    assert run(capsys, "attack", tmp_path)[0] == 0
    same_numbers(tmp_path, done)


def same_numbers(one, two):
    """The same metrics.json, to the bit."""
    first, second = ((f / "metrics.json").read_bytes() for f in (one, two))
    assert first == second
