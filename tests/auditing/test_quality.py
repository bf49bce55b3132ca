"""Quality of samples, the choice of a snapshot by it, and `generate`: as users run."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from score_mia import cli
from score_mia.auditing.content import _nearer
from score_mia.checkpoint import load_target, target_digest
from score_mia.data import SOURCES
from score_mia.data.split import Split
from score_mia.encoders import Pixels, encode
from score_mia.files import save_sealed
from score_mia.metrics.image import frechet_distance, kid
from score_mia.results import Closer, Distance
from score_mia.sampling import Ddim
from score_mia.sde import DDPM
from score_mia.typed import to_json
from tests.helpers import generate, signal_folder
from tests.oracles import memorising_target

HEAD = """from ml_collections import ConfigDict
from tests.auditing.tiny import get_config as tiny


def get_config():
    c = tiny()
    c.unlock()
    del c.attacks.likelihood
    c.train.snapshot_every = 20
    c.split.nonmembers = 30
    c.quality = ConfigDict(dict(samples=10, encoder="pixels"))
"""


def config(folder, code=""):
    path = folder / "quality.py"
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    path.write_text(f"{HEAD}{lines}    return c\n")
    return path


def run(command, path, workdir, *rest):
    flags = [f"--config={path}", f"--workdir={workdir}", *rest]
    return cli.main(["score-mia", command, *flags])


BEST = "c.target = ConfigDict(dict(snapshot='best_kid'))"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """An audit whose target is the snapshot with the best KID."""
    folder = tmp_path_factory.mktemp("quality")
    path = config(folder, BEST)
    assert run("audit", path, folder / "run") == 0
    return path, folder / "run"


def read(path):
    return json.loads(path.read_text())


def parts(folder):
    """Samples of a folder by number."""
    files = [np.load(p) for p in folder.glob("part-*.npz")]
    ids = np.concatenate([f["ids"] for f in files])
    return dict(
        zip(ids.tolist(), np.concatenate([f["images"] for f in files]), strict=True)
    )


def encoded(pictures):
    return encode(Pixels(), np.asarray(pictures, np.float32) / np.float32(255))


def members_and_others(workdir):
    source = SOURCES["bundled"](dataset="digits")
    split = Split.load(workdir / "split.npz")
    return (
        np.rint(255 * source.images(i)).astype(np.uint8)
        for i in (split.members, split.nonmembers)
    )


def test_quality_is_the_distance_of_the_kept_samples(done):
    _, workdir = done
    found = read(workdir / "quality.json")
    metrics = read(workdir / "metrics.json")
    told = metrics["target"]["quality"]
    assert told.items() <= found.items()
    assert {"members", "nonmembers", "encoder", "samples", "sampler"} <= set(told)
    assert (found["encoder"], found["frechet_name"]) == ("pixels", "FD[pixels]")
    assert (found["features"], found["samples"]) == (64, 10)
    assert found["network_evaluations_per_sample"] == 4
    step = metrics["target"]["steps"]
    held = parts(workdir / "samples" / f"step-{step:06d}-seed-0")
    samples = encoded([held[i] for i in range(10)])
    members, others = members_and_others(workdir)
    # 24 members and 30 non-members: 24 of either are compared.
    to_members = kid(samples, encoded(members))
    assert found["members"]["kid"] == to_json(to_members)
    assert found["members"]["kid"]["n"] == [10, 24]
    assert found["nonmembers"]["kid"]["n"] == [10, 24]
    assert found["members_to_nonmembers"]["frechet"]["n"] == [24, 24]
    frechet = frechet_distance(samples, encoded(members))
    assert found["members"]["frechet"] == to_json(frechet)
    nearer = found["closer"]
    assert nearer["difference"]["n"] == [24, 24]
    apart = [found[group]["kid"]["value"] for group in ("nonmembers", "members")]
    assert nearer["difference"]["value"] == pytest.approx(apart[0] - apart[1])
    assert 0 < nearer["p_value"] <= 1
    assert (nearer["trials"], nearer["alpha"]) == (100, 0.05)
    every = kid(samples, encoded(others)).value
    assert abs(found["nonmembers"]["kid"]["value"] - every) < 0.5 * abs(every)


def test_the_best_snapshot_is_the_one_attacked(done):
    _, workdir = done
    chosen = read(workdir / "selection.json")
    steps = [c["step"] for c in chosen["candidates"]]
    assert steps == [20, 40, 60]
    members, _ = members_and_others(workdir)
    values = []
    for candidate in chosen["candidates"]:
        folder = workdir / "samples" / f"step-{candidate['step']:06d}-seed-0"
        held = parts(folder)
        # Numbers 10 to 19: not those that the quality is reported on.
        samples = encoded([held[i] for i in range(10, 20)])
        assert candidate["kid"] == to_json(kid(samples, encoded(members)))
        values.append(candidate["kid"]["value"])
    step = steps[int(np.argmin(values))]
    assert chosen["chosen"] == step
    folder = workdir / "target"
    folder = folder if step == 60 else folder / "snapshots" / f"step-{step:06d}"
    digest = target_digest(load_target(folder))
    metrics = read(workdir / "metrics.json")
    assert metrics["target"]["digest"] == digest
    assert metrics["target"]["steps"] == step
    assert read(signal_folder(workdir, "loss") / "manifest.json")["target"] == digest
    assert metrics["target"]["snapshot"]["rule"] == "best_kid"


def test_the_report_tells_quality_and_selection(done):
    _, workdir = done
    page = (
        (workdir / "report/index.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    )
    chosen = read(workdir / "selection.json")["chosen"]
    assert f"step {chosen}, of 20, 40, 60 the one with the lowest KID" in page
    assert "The attacked target is a selection" in page
    assert "<h3>Quality</h3>" in page
    assert "pixels (64 features)" in page
    assert "n = 10 and 24, fewer images than features" in page
    value = read(workdir / "quality.json")["members"]["kid"]["value"]
    assert f"<dt>KID, samples to members</dt><dd>{value:.4g} [" in page
    told = "<dt>nearer to members, as a set</dt><dd>KID lower by "
    said = page.split(told)[1].split("</dd>")[0]
    assert "by permutation, which accused" in said
    assert "of 100 cuts of non-members at 5.0 %" in said
    assert "FID</dt>" not in page.replace("KID, FID, FD[encoder]</dt>", "")


@pytest.mark.parametrize(("alarms", "told"), [(7, "p = 0.02 by"), (12, "too many")])
def test_a_test_that_accuses_too_many_sets_gives_no_p_value(alarms, told):
    found = Closer(Distance(0.2, 0.1, 0.3, (24, 24), 64), 0.02, alarms, 100)
    said = _nearer(found).replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("KID lower by 0.2 [0.1, 0.3], n = 24 and 24; ")
    assert told in said
    assert f"{alarms} of 100 cuts of non-members at 5.0 %" in said
    assert ("p = 0.02" in said) == (alarms == 7)


class Killed(BaseException):
    """Not an Exception: nothing on the way may tidy up, as after SIGKILL."""


def killed(monkeypatch, path, workdir, point, command="audit"):
    """Run until a file whose path holds `point` would be finished."""
    finish = os.replace

    def replace(temporary, target, **rest):
        if point in str(target):
            raise Killed
        finish(temporary, target, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(Killed):
            run(command, path, workdir, *(["--count=23"] * (command == "generate")))


def test_kills_on_the_way_change_nothing(done, tmp_path, monkeypatch):
    path, whole = done
    for point in (
        "step-000040-seed-0/part-00003.npz",
        "selection.json",
        "quality.json",
        "metrics.json",
    ):
        killed(monkeypatch, path, tmp_path, point)
        assert not list(tmp_path.rglob(point))
    assert run("audit", path, tmp_path) == 0
    for name in ("selection.json", "quality.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    for part in (whole / "samples").rglob("part-*"):
        mine = tmp_path / part.relative_to(whole)
        assert mine.read_bytes() == part.read_bytes()


def test_a_second_audit_draws_and_encodes_nothing(done, tmp_path, capsys):
    path, whole = done
    workdir = shutil.copytree(whole, tmp_path / "run")
    capsys.readouterr()
    assert run("audit", path, workdir) == 0
    said = capsys.readouterr().err
    assert "samples of step" not in said
    assert "pixels of" not in said
    assert read(workdir / "quality.json") == read(whole / "quality.json")
    # Changed features are noticed although the config names the same encoder.
    kept = read(workdir / "quality.json")
    save_sealed(workdir / "quality.json", kept | {"fingerprint": "other"})
    assert run("attack", path, workdir) == 0
    assert read(workdir / "quality.json") == kept


def test_a_named_snapshot_is_attacked(done, tmp_path):
    _, whole = done
    path = config(tmp_path, "c.target = ConfigDict(dict(snapshot=20))\ndel c.quality")
    workdir = tmp_path / "run"
    shutil.copytree(whole / "target", workdir / "target")
    assert run("audit", path, workdir) == 0
    metrics = read(workdir / "metrics.json")
    snapshot = whole / "target/snapshots/step-000020"
    assert metrics["target"]["digest"] == target_digest(load_target(snapshot))
    assert metrics["target"]["snapshot"] == {"rule": 20}
    assert "quality" not in metrics["target"]
    page = (workdir / "report/index.html").read_text()
    assert "step 20, named in the config" in page
    assert "is a selection" not in page


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (f"del c.quality\n{BEST}", "needs to know how quality is measured"),
        (f"c.train.snapshot_every = None\n{BEST}", "has one target to choose from"),
        (BEST.replace("kid", "fid"), "needs FID's own encoder, not 'pixels'"),
        (BEST.replace("kid", "kdi"), "did you mean 'best_kid'"),
        ("c.target = ConfigDict(dict(snapshot=30))", "give one of [20, 40, 60]"),
        ("c.target = ConfigDict(dict(step=30))", "has no field 'step'"),
        ("c.quality.encoder = 'pixel'", "did you mean 'pixels'"),
        ("c.quality = dict(encoder=dict(name='pixels', sizes=3))", "'sizes'"),
        ("c.quality.encoder = 'json:JSONEncoder'", "has no name, canonical"),
        ("c.quality.samples = 1", "quality.samples=1"),
        ("c.quality = dict(encoder=dict(name='inception', weights='no.pth'))",
         "Inception weights no.pth: does not exist"),
    ],
)  # fmt: skip
def test_wrong_configs_are_told_before_training(code, said, tmp_path, capsys):
    assert run("audit", config(tmp_path, code), tmp_path / "run") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


ENCODER = """
import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Mean:
    name = "mean"
    canonical = False
    fingerprint = "mean 1"
    tile = 8

    def params(self, channels):
        return ()

    def apply(self, params, images):
        pair = (images.mean((1, 2, 3)), images.std((1, 2, 3)))
        return {"pooled": jnp.stack(pair, axis=1)}
"""


def test_a_users_own_encoder_runs_from_a_config_line(done, tmp_path, monkeypatch):
    _, whole = done
    (tmp_path / "my_encoders.py").write_text(ENCODER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = config(tmp_path, "c.quality.encoder = 'my_encoders:Mean'")
    workdir = tmp_path / "run"
    shutil.copytree(whole / "target", workdir / "target")
    assert run("attack", path, workdir) == 0
    found = read(workdir / "quality.json")
    assert (found["frechet_name"], found["features"]) == ("FD[mean]", 2)
    assert found["step"] == 60


# --- generate -----------------------------------------------------------------------


def test_generate_draws_once_and_goes_on(done, tmp_path, capsys, monkeypatch):
    path, whole = done
    workdir = shutil.copytree(whole, tmp_path / "run")
    step = read(workdir / "selection.json")["chosen"]
    assert run("generate", path, workdir, "--count=6") == 0
    out, err = capsys.readouterr()
    assert f"6 samples: {workdir / 'samples'}" in out
    assert "samples of step" not in err  # the quality stage had drawn them

    killed(monkeypatch, path, workdir, "part-00005", "generate")
    capsys.readouterr()
    assert run("generate", path, workdir, "--count=23") == 0
    assert f"samples of step {step}: 24/24 images, " in capsys.readouterr().err
    whole_array = np.load(workdir / "samples/samples-23.npz")
    assert whole_array["images"].dtype == np.uint8
    metrics = read(workdir / "metrics.json")
    assert str(whole_array["target"]) == metrics["target"]["digest"]
    few = np.load(workdir / "samples/samples-6.npz")["images"]
    np.testing.assert_array_equal(few, whole_array["images"][:6])
    pictures = sorted((workdir / "samples").glob("*.png"))
    assert [p.name for p in pictures] == [f"{i:05d}.png" for i in range(23)]
    shown = np.stack([np.asarray(Image.open(p))[..., None] for p in pictures])
    np.testing.assert_array_equal(shown, whole_array["images"])
    assert len(np.unique(shown.reshape(23, -1), axis=0)) == 23


def test_generate_needs_a_trained_target(tmp_path, capsys):
    path = config(tmp_path, BEST)
    assert run("generate", path, tmp_path / "run", "--count=2") == 2
    assert "run 'train' or 'audit'" in capsys.readouterr().err
    path = config(tmp_path)
    assert run("generate", path, tmp_path / "other", "--count=2") == 2
    assert "run 'train' or 'audit'" in capsys.readouterr().err


def test_samples_of_a_memorising_model_are_closer_to_its_members():
    source = SOURCES["bundled"](dataset="digits")
    images = source.images(source.ids[:60])
    members, others = images[::2], images[1::2]
    target = memorising_target(DDPM(), members)
    drawn = generate(target.denoiser, 0, 60, source.shape, Ddim(steps=30))
    distance = {
        name: kid(encode(Pixels(), drawn), encode(Pixels(), group))
        for name, group in (("members", members), ("others", others))
    }
    assert distance["members"].value < distance["others"].value
