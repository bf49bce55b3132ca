"""The front door from Python: the stages and files of the command line, in memory."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import score_mia
from score_mia import cli
from score_mia.checkpoint import load_target, target_digest
from score_mia.codecs import Bound
from score_mia.data.local import bundled
from score_mia.data.sampled import sampled
from score_mia.data.split import Split
from score_mia.files import load_sealed, save_npz, save_sealed
from score_mia.metrics.roc import auc
from score_mia.networks import MLP
from score_mia.parameterisation import Noise
from score_mia.sde import DDPM
from score_mia.target import Target
from tests.beams.parts.codec import Learned

ATTACKS = {"loss": dict(signal=dict(name="loss", times=2), rule=dict(name="mean"))}
QUICK = dict(
    sampler=dict(name="ddim", steps=2),
    report=dict(samples=0, replicates=100, grid_check=0),
    how=score_mia.Engine(tile=4, shard=16, devices=1),
)
SHAPE = (8, 8, 1)
MEMBER = np.arange(48) < 20


@pytest.fixture(scope="module")
def images():
    source = bundled("digits")
    return source.images(source.ids[:48])


def model(seed=0):
    network = MLP(features=8, blocks=1).build(SHAPE)
    return Target(network.init(jax.random.key(seed)), DDPM(), Noise(), network.apply)


@pytest.fixture(scope="module")
def done(tmp_path_factory, images):
    workdir = tmp_path_factory.mktemp("door") / "run"
    return score_mia.audit(model(), images, MEMBER, ATTACKS, workdir=workdir, **QUICK)


def test_numbers_scores_and_curve_agree(done):
    result = done.result.attacks["loss"]
    assert "loss" in done.table()
    scores = done.scores("loss")
    member = np.asarray([s.role == "member" for s in scores])
    assert (int(member.sum()), len(scores)) == (result.members, 24)
    assert {s.id for s in scores if s.role == "member"} <= set(range(20))
    values = np.asarray([s.score for s in scores])
    assert np.all(np.diff(values[member]) <= 0)
    assert auc(values, member) == pytest.approx(result.auc.value)
    curve = done.curve("loss")
    area = np.trapezoid(curve.tpr, curve.fpr)
    assert area == pytest.approx(result.auc.value)
    with (done.folder / "scores.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(row["id"]) for row in table] == [s.id for s in scores]
    assert done.report().stat().st_size > 0
    with pytest.raises(score_mia.UserError, match="did you mean 'loss'"):
        done.scores("los")


def test_it_goes_on_where_it_was(done, images):
    parts = sorted(done.folder.glob("signals/*/part-*"))
    before = [(p.name, p.stat().st_mtime_ns) for p in parts]
    metrics = (done.folder / "metrics.json").read_bytes()
    again = score_mia.audit(
        model(), images, MEMBER, ATTACKS, workdir=done.folder, **QUICK
    )
    assert again.result == done.result
    assert (done.folder / "metrics.json").read_bytes() == metrics
    assert [(p.name, p.stat().st_mtime_ns) for p in parts] == before
    with pytest.raises(score_mia.UserError, match="holds"):
        score_mia.audit(
            model(seed=1), images, MEMBER, ATTACKS, workdir=done.folder, **QUICK
        )


def test_the_model_is_kept_and_loads(done):
    for path in (done.folder, done.folder / "target"):
        kept = score_mia.load(path)
        assert (kept.sde, kept.apply) == (model().sde, model().apply)
        jax.tree.map(np.testing.assert_array_equal, kept.params, model().params)
    assert load_target(done.folder / "target").sde == DDPM()


def test_a_split_keeps_every_role(tmp_path):
    source = bundled("digits")
    whole = dict(name="shuffled", members=20, nonmembers=28, auxiliary=5)
    split = sampled(source, whole, members=8)
    done = score_mia.audit(model(), source, split, ATTACKS, workdir=tmp_path, **QUICK)
    kept = Split.load(done.folder / "split.npz")
    for role in ("ids", "member", "reference", "auxiliary", "unjudged", "members"):
        np.testing.assert_array_equal(getattr(kept, role), getattr(split, role))
    assert len(kept.unjudged) == 12
    assert done.result.attacks["loss"].members == 4


def test_the_command_line_goes_on_where_python_was(tmp_path, capsys):
    data = dict(name="bundled", dataset="digits")
    split = dict(name="shuffled", members=20, nonmembers=28)
    done = score_mia.audit(model(), data, split, ATTACKS, workdir=tmp_path, **QUICK)
    config = tmp_path / "config.json"
    flags = ["score-mia", "attack", f"--config={config}", f"--workdir={tmp_path}"]
    assert cli.main(flags) == 0, capsys.readouterr().err
    assert (
        score_mia.audit(
            tmp_path, data, split, ATTACKS, workdir=tmp_path, **QUICK
        ).result
        == done.result
    )


def test_verify_recomputes_what_the_scores_decide(done, tmp_path, capsys):
    def verify(folder):
        status = cli.main(["score-mia", "verify", str(folder)])
        return status, capsys.readouterr().out.splitlines()

    status, (line,) = verify(done.folder)
    assert status == 0, line
    assert re.fullmatch(r"0 of (\d\d) numbers differ; taken as recorded: .*", line)
    copy = shutil.copytree(done.folder, tmp_path / "run")
    metrics = load_sealed(copy / "metrics.json")
    metrics["attacks"]["loss"]["auc"]["high"] += 1e-9
    save_sealed(copy / "metrics.json", metrics)
    status, lines = verify(copy)
    assert status == 1
    assert len(lines) == 2
    assert lines[0].startswith("attacks.loss.auc.high: metrics.json says 0.")
    save_sealed(copy / "metrics.json", load_sealed(done.folder / "metrics.json"))
    arrays = dict(np.load(copy / "scores" / "loss.npz"))
    del arrays["seal"]
    arrays["scores"][np.argmax(arrays["scores"])] = -99.0
    save_npz(copy / "scores" / "loss.npz", **arrays)
    assert verify(copy)[0] == 1
    (copy / "scores" / "loss.npz").unlink()
    assert verify(copy)[0] == 2


def test_a_release_gate(tmp_path, capsys):
    data = dict(name="bundled", dataset="digits")
    split = dict(name="shuffled", members=20, nonmembers=28)
    score_mia.audit(model(), data, split, ATTACKS, workdir=tmp_path, **QUICK)
    capsys.readouterr()

    def report(*conditions):
        flags = [f"--fail_if={c}" for c in conditions]
        page = tmp_path / "report" / "index.html"
        page.unlink(missing_ok=True)
        place = [f"--config={tmp_path / 'config.json'}", f"--workdir={tmp_path}"]
        status = cli.main(["score-mia", "report", *place, *flags])
        out, err = capsys.readouterr()
        return status, page.exists(), out, err.splitlines()

    status, page, out, err = report("auc.low>0.999", "loss:auc.high<0.001")
    assert (status, page, err) == (0, True, [])
    assert "AUC" in out
    status, page, out, err = report(
        "auc.value>0.01", "auc>0.999", "loss:tpr@0.1.high>0"
    )
    assert (status, page, len(err)) == (3, True, 2)
    status, page, out, err = report("tpr@0.01.low>0.05")
    assert (status, page, len(err)) == (2, True, 1)
    assert "14 non-members, which do not resolve an FPR of 0.01" in err[0]
    status, page, out, err = report("los:auc>0.5")
    assert (status, page, len(err)) == (2, False, 1)
    assert "did you mean 'loss'" in err[0]


@pytest.mark.parametrize("names", [False, True])
def test_names_are_on_the_page_only_if_asked_for(names, images, tmp_path):
    files = tuple(f"person-{i}.png" for i in range(48))
    source = score_mia.ArraySource("x", images, np.arange(48), files=files)
    quick = QUICK | dict(report=QUICK["report"] | dict(names=names))
    done = score_mia.audit(model(), source, MEMBER, ATTACKS, workdir=tmp_path, **quick)
    most = done.scores("loss")[0].file
    page = done.report().read_text()
    assert (most in page) is names
    assert ("person-" in page) is names
    assert most in (tmp_path / "scores.csv").read_text().splitlines()[1]


def flat(params, x, label, condition=None):
    return 0.1 * x


def steep(params, x, label, condition=None):
    return 0.2 * x


def test_a_bare_function_and_its_limits(tmp_path, images, capsys):
    def audit(function):
        target = Target({"unused": np.zeros(1, np.float32)}, DDPM(), Noise(), function)
        return score_mia.audit(
            target, images, MEMBER, ATTACKS, workdir=tmp_path, **QUICK
        )

    assert audit(flat).result.attacks["loss"].failed is None
    steep.__qualname__ = flat.__qualname__
    with pytest.raises(score_mia.UserError, match=r"network\.digest"):
        audit(steep)
    config = tmp_path / "config.json"
    flags = ["score-mia", "attack", f"--config={config}", f"--workdir={tmp_path}"]
    assert cli.main(flags) == 2
    assert "were handed over in memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (dict(source=np.full((48, 8, 8, 1), 2.0)), "scale all images to"),
        (dict(source=np.zeros((48, 1, 8, 8), np.uint8)), "channels"),
        (dict(split=MEMBER[:40]), "is no mask of the 48 images"),
        (dict(split=MEMBER.astype(int)), "is no mask"),
        (dict(split=np.ones(48, bool)), "has one class only"),
        (dict(attacks={"loss": dict(signal=dict(name="lost"))}), "did you mean 'loss'"),
        (dict(reports={}), "did you mean 'report'"),
        (dict(target="nowhere"), "does not exist"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(spoil, words, images, tmp_path):
    given = dict(target=model(), source=images, split=MEMBER, attacks=ATTACKS)
    with pytest.raises(score_mia.UserError, match=words):
        score_mia.audit(**{**given, **spoil}, workdir=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_learned_codec_is_kept_with_the_weights(tmp_path, images):
    """Audited in memory, found whole in the workdir, one copy of it; gone on with."""
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    codec = Bound(Learned(), {"rotation": jnp.asarray(rotation, jnp.float32)})
    net = MLP(features=8, blocks=1).build(codec.shape((8, 8, 1)))
    params = net.init(jax.random.key(0))
    target = Target(params, DDPM(), Noise(), net.apply, codec)
    attacks = dict(loss=ATTACKS["loss"])
    done = score_mia.audit(target, images, MEMBER, attacks, workdir=tmp_path, **QUICK)
    assert done.result.target.parameters == 16 + tree_size(params)
    kept = score_mia.load(tmp_path, codec={"name": f"{Learned.__module__}:Learned"})
    jax.tree.map(np.testing.assert_array_equal, kept.tree, target.tree)
    assert target_digest(kept) == target_digest(target) == done.result.target.digest
    assert [p.name[:4] for p in tmp_path.glob("target/*-*")] == ["ema-"]
    other = dataclasses.replace(codec, params={"rotation": -codec.params["rotation"]})
    turned = dataclasses.replace(target, codec=other)
    assert target_digest(turned) != target_digest(target)
    image = jnp.asarray(images[0])
    np.testing.assert_allclose(codec.decode(codec.encode(image)), image, atol=1e-6)


def tree_size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
