"""`import` makes a published checkpoint the target of an audit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from score_mia import cli
from score_mia.checkpoint import describe, load_target, target_digest
from tests.defects.tiny_work import unseal
from tests.helpers import signal_folder
from tests.interop.golden import case

CONFIG = """
from ml_collections import ConfigDict


def get_config():
    spec = {spec!r}
    del spec["shape"]
    column = dict(name="column", column="loss@800")
    return ConfigDict(dict(
        spec,
        data=dict(name="bundled", dataset="digits", channels=3),
        split=dict(name="shuffled", members=24, nonmembers=40, reference=0.5),
        train=dict(steps=5, batch=4),
        attacks=dict(
            right=dict(signal=dict(name="loss", times=(199.0,))),
            published=dict(
                signal=dict(
                    name="score_mia.papers.hu_pang:PublishedLoss", times=(800.0,)),
                rule=column),
        ),
        engine=dict(tile=8, devices=1),
        report=dict(samples=0, replicates=100, grid_check=0),
    ))
"""


def run(capsys, command, folder, *flags, config="config.py"):
    argv = [command, f"--config={folder / config}", f"--workdir={folder / 'run'}"]
    status = cli.main(["score-mia", *argv, *flags])
    return status, *capsys.readouterr()


def refused(capsys, folder, *flags, command="import"):
    status, _, err = run(capsys, command, folder, *flags)
    said = [line for line in err.splitlines() if line.startswith("score-mia: ")]
    assert status == 2
    assert len(said) == 1, err
    assert "Traceback" not in err
    return said[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("import")
    golden = case("smld", path)
    (path / "config.py").write_text(CONFIG.format(spec=golden.spec))
    return path


def test_from_a_file_to_a_report(folder, capsys):
    assert "--checkpoint: is missing" in refused(capsys, folder)
    golden = case("smld", folder)
    flag = f"--checkpoint={golden.path}"
    status, out, err = run(capsys, "import", folder, flag)
    assert status == 0, err
    assert "step 1" in out
    # A normal, self-describing target with the weights of the file.
    target = folder / "run" / "target"
    about = describe(target)["provenance"]
    assert about["imported"]["file"] == "smld"
    assert about["members"] == 24
    ours, theirs = load_target(target), golden.target()
    for use in ("ema", "params"):
        ours = load_target(target, use).params
        theirs = golden.target(ema=use == "ema").params
        leaf = ours["first"]["kernel"]
        np.testing.assert_array_equal(leaf, theirs["first"]["kernel"])
    # The rest of the audit takes it as it is, and trains nothing.
    before = (target / "target.json").read_bytes()
    for command in ("train", "audit"):
        status, _, err = run(capsys, command, folder)
        assert status == 0, err
        assert "train:" not in err
    assert (target / "target.json").read_bytes() == before
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    assert metrics["target"]["imported"] == about["imported"]
    assert metrics["target"]["steps"] == 1
    assert "training_seconds" not in (folder / "run" / "timings.json").read_text()
    page = (folder / "run" / "report" / "index.html").read_text()
    assert about["imported"]["sha256"] in page
    assert "with the non-members as the positive class" in page
    check_published_numbers(folder / "run", metrics)


def test_the_same_file_mends_a_target(folder, capsys, tmp_path):
    golden = case("smld", folder)
    (tmp_path / "config.py").write_text(CONFIG.format(spec=golden.spec))
    flag, target = f"--checkpoint={golden.path}", tmp_path / "run" / "target"
    assert run(capsys, "import", tmp_path, flag)[0] == 0
    digest = target_digest(load_target(target))
    spoils = (
        lambda: shutil.rmtree(next(target.glob("ema-*"))),
        lambda: unseal(target / "target.json"),
    )
    for spoil in spoils:
        spoil()
        said = refused(capsys, tmp_path, command="attack")
        assert "run 'import' again with the same file" in said
        assert run(capsys, "import", tmp_path, flag)[0] == 0
        assert target_digest(load_target(target)) == digest


def check_published_numbers(workdir, metrics):
    """Their evaluation: members 0, non-members 1, the loss for a score."""
    assert "as_published" not in metrics["attacks"]["right"]
    entry = metrics["attacks"]["published"]["as_published"]
    with np.load(workdir / "split.npz") as split:
        ids, member = split["ids"], split["member"]
        used = dict(zip(ids, ~split["reference"], strict=True))
        inside = dict(zip(ids, member, strict=True))
    losses, labels = [], []
    for part in sorted(signal_folder(workdir, "published").glob("part-*.npz")):
        with np.load(part) as file:
            for i, row in zip(file["ids"], file["values"], strict=True):
                if used[i]:
                    losses.append(-row[0])
                    labels.append(0 if inside[i] else 1)
    fpr, tpr, _ = roc_curve(labels, losses, drop_intermediate=False)
    for limit, value in entry["tpr_at_fpr"].items():
        assert value == tpr[np.flatnonzero(fpr <= float(limit))[-1]]


def test_what_is_refused(folder, capsys, tmp_path):
    golden = case("smld", folder)
    text = CONFIG.format(spec=golden.spec)
    other = tmp_path / "none.pth"
    (tmp_path / "config.py").write_text(text)
    assert str(other) in refused(capsys, tmp_path, f"--checkpoint={other}")
    other.write_bytes(b"nothing")
    assert str(other) in refused(capsys, tmp_path, f"--checkpoint={other}")
    # Noise levels of the published attack, not of the checkpoint.
    flags = ("--config.sde.sigma_min=0.001", "--config.sde.sigma_max=50.0")
    wrong = refused(capsys, tmp_path, *flags, f"--checkpoint={golden.path}")
    assert "noise levels" in wrong


def test_another_target_is_not_replaced(folder, capsys):
    golden = case("smld", folder)
    target = folder / "run" / "target"
    if not (target / "target.json").exists():
        run(capsys, "import", folder, f"--checkpoint={golden.path}")
    before = (target / "target.json").read_bytes()
    copy = folder / "renamed.pth"
    copy.write_bytes(golden.path.read_bytes() + b"\n")
    assert "holds smld" in refused(capsys, folder, f"--checkpoint={copy}")
    assert (target / "target.json").read_bytes() == before
