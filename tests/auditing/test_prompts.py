"""Each signal is asked with the prompt that its config names."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia import auditing
from score_mia.attacks.prompts import Retrieved
from score_mia.attacks.protocol import HostQuery
from score_mia.auditing import plan as planning
from score_mia.auditing.work import open_work
from score_mia.check import UserError
from score_mia.data.local import bundled
from score_mia.data.split import Split
from score_mia.engine import collect
from score_mia.tiles import row_key
from tests.helpers import ask

RETRIEVED = dict(
    name="retrieved",
    data=dict(name="bundled", dataset="emoji"),
    folder="auxiliary",
    encoder=dict(name="pixels"),
)
UNTOLD = dict(RETRIEVED, data=dict(name="bundled", dataset="digits"), folder="")
LOSS = dict(name="loss", times=(0.1, 0.5))
MEAN = dict(rule=dict(name="mean"))
MINE = """
import dataclasses
from typing import ClassVar

import numpy as np

from score_mia.attacks.protocol import Columns, Reading

SEEN = []


@dataclasses.dataclass(frozen=True)
class Listening:
    access: ClassVar[str] = "samples"
    needs: ClassVar[tuple] = ()

    def columns(self, model):
        return Columns(("none",))

    def batch(self, model, queries, products):
        SEEN.extend(queries.prompts)
        return Reading(queries.seeds[:, None].astype(np.float32))


@dataclasses.dataclass(frozen=True)
class Asking:
    access: ClassVar[str] = "samples"

    def fingerprint(self):
        return "1"

    def batch(self, model, queries):
        return {"captions": model.draw(None, queries.seeds)}
"""


def get_config(**attacks):
    return dict(
        data=dict(name="bundled", dataset="emoji"),
        split=dict(name="files", members=[*range(8)], nonmembers=[*range(8, 16)]),
        sde=dict(name="vp"),
        network=dict(name="captioned", vocabulary=1606, features=8, multipliers=(1,))
        | dict(blocks=1, attention=(), groups=4, width=16, heads=2),
        conditioner=dict(name="words", vocabulary="emoji", cut=True),
        train=dict(steps=8, batch=8, learning_rate=0.02, warmup=0, ema=0.5),
        attacks={name: dict(MEAN, **entry) for name, entry in attacks.items()},
        engine=dict(tile=8, shard=8, devices=1),
        report=dict(samples=0, replicates=100),
    )


def run(config, folder):
    auditing.run(planning.plan(config), folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    attacks = {
        "own": dict(signal=LOSS),
        "null": dict(signal=dict(LOSS, prompt="null")),
        "given": dict(signal=dict(LOSS, prompt=dict(name="given", caption="a cat"))),
        "retrieved": dict(signal=dict(LOSS, prompt=RETRIEVED)),
        "again": dict(signal=dict(LOSS, prompt="own")),
    }
    plan = planning.plan(get_config(**attacks))
    auditing.run(plan, folder)
    return open_work(plan, folder)


def test_a_signal_of_one_prompt_is_read_once(done):
    assert set(done.plan.signals) == {"own", "null", "given", "retrieved"}
    assert set(done.plan.prompts) == {"null", "given", "retrieved"}
    folders = {done.signal_folder(done.reader(name)) for name in done.plan.signals}
    assert len(folders) == 4


@pytest.mark.parametrize("name", ["own", "null", "given", "retrieved"])
def test_the_model_is_told_what_the_config_says(name, done):
    reader = done.reader(name)
    ids = done.needed(reader)
    texts = {
        "own": done.source.columns(ids, ("caption",))["caption"],
        "null": [""] * len(ids),
        "given": ["a cat"] * len(ids),
        "retrieved": nearest(done.source, ids),
    }[name]
    kept = collect(reader, ids, done.signal_folder(reader)).matrix()
    tokens = done.plan.known.conditioner({"caption": np.asarray(texts)})
    for row in (0, len(ids) - 1):
        image = jnp.asarray(done.source.images(ids[row : row + 1])[0])
        key = row_key(jax.random.key(0), jnp.uint32(0), jnp.uint32(ids[row]))
        alone = ask(reader.signal, done.target, image, key, tokens[row])
        np.testing.assert_allclose(kept[row], np.asarray(alone)[:2], rtol=1e-4)
    if name != "own":
        assert np.abs(kept - done.collect("own").matrix()).max() > 1e-3


def nearest(source, ids):
    """By a loop: the caption of the auxiliary image whose centred pixels fit best."""
    files = source.columns(source.ids, ("file", "caption"))
    inside = np.char.startswith(files["file"], "auxiliary/")
    known = source.images(source.ids[inside]).reshape(inside.sum(), -1)
    mean, captions = known.mean(axis=0), files["caption"][inside]
    found = []
    for image in source.images(ids).reshape(len(ids), -1) - mean:
        cosines = [
            image @ (k - mean) / np.linalg.norm(image) / np.linalg.norm(k - mean)
            for k in known
        ]
        found.append(captions[int(np.argmax(cosines))])
    return found


def test_the_report_says_with_which_prompt(done):
    attacks = json.loads((done.folder / "metrics.json").read_text())["attacks"]
    titles = {name: entry["title"] for name, entry in attacks.items()}
    assert titles["own"] == titles["again"] == "Loss at one time"
    assert titles["null"] == "Loss at one time, told no text"
    assert titles["given"] == "Loss at one time, told 'a cat'"
    assert (
        titles["retrieved"] == "Loss at one time, told the caption of a similar image"
    )


def test_what_a_captioner_says_is_kept_and_read_again(done):
    (folder,) = (done.folder / "products").glob("retrieved-*")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "target" not in manifest  # the model under attack had no part in it
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    for part in done.signal_folder(done.reader("retrieved")).glob("part-*"):
        part.unlink()
    done.collect("retrieved")
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_other_captions_of_the_attacker_are_another_signal(done, tmp_path):
    images = done.source.images(done.source.ids[-4:])
    for text in ("one", "two"):
        np.savez(tmp_path / f"{text}.npz", images=images, captions=[text] * 4)
    folders = set()
    for text in ("one", "two"):
        given = tmp_path / "mine.npz"
        given.write_bytes((tmp_path / f"{text}.npz").read_bytes())
        data = dict(name="arrays", path=str(given))
        prompt = dict(name="retrieved", data=data, encoder=dict(name="pixels"))
        config = get_config(box=dict(signal=dict(LOSS, prompt=prompt)))
        work = open_work(planning.plan(config), done.folder)
        folders.add(work.signal_folder(work.reader("box")))
    assert len(folders) == 2


def test_who_draws_images_is_told_it_too(tmp_path, monkeypatch):
    (tmp_path / "my_listening.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    signal = dict(name="my_listening:Listening", prompt=RETRIEVED)
    config = get_config(box=dict(signal=signal))
    auditing.run(planning.plan(config), tmp_path / "run")
    import my_listening

    source, judged = bundled("emoji"), Split.load(tmp_path / "run" / "split.npz")
    assert [*nearest(source, judged.evaluation)] == my_listening.SEEN


def test_a_service_is_sent_an_empty_caption(tmp_path, monkeypatch):
    (tmp_path / "my_listening.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_service.py").write_text(
        "import numpy as np\n\n\nclass Client:\n    shape = (32, 32, 3)\n\n"
        "    def draw(self, prompts, seeds):\n"
        "        return np.zeros((len(seeds), 32, 32, 3))"
    )
    config = get_config(
        box=dict(signal=dict(name="my_listening:Listening", prompt="null"))
    )
    for section in ("sde", "network", "conditioner", "train"):
        del config[section]
    call = dict(name="client", call="my_service:Client", prompt="caption")
    config["target"] = call
    auditing.run(planning.plan(config), tmp_path / "run")
    import my_listening

    judged = Split.load(tmp_path / "run" / "split.npz").counts
    asked = judged["members"] + judged["nonmembers"]
    assert my_listening.SEEN[-asked:] == [""] * asked > []


def test_a_captioner_says_of_an_image_what_it_says_of_it_alone():
    source = bundled("emoji")
    captioner = Retrieved(**{k: v for k, v in RETRIEVED.items() if k != "name"})
    images, none = source.images(source.ids[:5]), np.zeros(5, np.int64)
    whole = captioner.batch(None, HostQuery(images, None, none, none))["captions"]
    alone = captioner.batch(None, HostQuery(images[3:4], None, none[:1], none[:1]))
    assert alone["captions"][0] == whole[3]


def test_an_attacker_s_images_may_be_a_list(tmp_path):
    """Of a data set that lies in one folder, as a paper's builder leaves it."""
    source, none = bundled("emoji"), np.zeros(3, np.int64)
    query = HostQuery(source.images(source.ids[:3]), None, none, none)
    (tmp_path / "mine.txt").write_text("".join(f"{i}\n" for i in source.ids[10:14]))
    fields = {k: v for k, v in RETRIEVED.items() if k not in ("name", "folder")}
    captioner = Retrieved(**fields, files=str(tmp_path / "mine.txt"))
    known = source.columns(source.ids[10:14], ("caption",))["caption"]
    assert {*captioner.batch(None, query)["captions"]} <= {*known}
    assert captioner.fingerprint() != Retrieved(**fields).fingerprint()
    with pytest.raises(UserError, match=r"attacker's file .*nowhere.*does not exist"):
        Retrieved(**fields, files=str(tmp_path / "nowhere")).fingerprint()


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("none", "prompt='none': is no prompt; say"),
        (dict(name="givn", caption="a"), "prompt 'givn' is unknown"),
        (dict(name="given"), "is neither a caption nor a label"),
        (dict(name="given", label=1), "gives a label, and the model is told a caption"),
        (dict(name="my_listening:Listening"), "has no fingerprint"),
        (dict(name="my_listening:Asking"), "asks the model under attack"),
        (dict(RETRIEVED, folder="nowhere"), "folder 'nowhere': holds no image"),
        (dict(UNTOLD), "the data: have no captions"),
    ],
)
def test_what_is_no_prompt_is_told(prompt, told, tmp_path, monkeypatch):
    (tmp_path / "my_listening.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = get_config(box=dict(signal=dict(LOSS, prompt=prompt)))
    with pytest.raises(UserError, match=told):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "target").exists()


def test_a_model_that_is_told_nothing_takes_no_prompt():
    config = get_config(box=dict(signal=dict(LOSS, prompt="null")))
    del config["conditioner"]
    config["network"] = dict(name="ddpm", features=8, groups=4)
    with pytest.raises(UserError, match="takes no prompt; leave it out"):
        planning.plan(config)


@pytest.mark.slow
def test_classes_have_prompts_as_well(tmp_path):
    config = get_config(
        own=dict(signal=LOSS),
        box=dict(signal=dict(LOSS, prompt=dict(name="given", label=2))),
    )
    config["network"] = dict(name="ddpm", features=8, multipliers=(1,), classes=4)
    config["network"] |= dict(blocks=1, attention=(), groups=4)
    del config["conditioner"]
    pixels, rng = tmp_path / "some.npz", np.random.default_rng(0)
    images = rng.integers(0, 255, (16, 8, 8, 3), np.uint8)
    np.savez(pixels, images=images, labels=np.repeat(np.arange(4), 4))
    config["data"] = dict(name="arrays", path=str(pixels))
    plan = planning.plan(config)
    auditing.run(plan, tmp_path / "run")
    work = open_work(plan, tmp_path / "run")
    own, given = (work.collect(name).matrix() for name in ("own", "box"))
    same = work.source.columns(work.split.ids, ("label",))["label"] == 2
    np.testing.assert_allclose(own[same], given[same], rtol=1e-5)
    assert (np.abs(own[~same] - given[~same]) > 1e-6).any(axis=1).all()
    config["attacks"]["box"]["signal"]["prompt"] = "null"
    with pytest.raises(UserError, match="no label that says nothing"):
        planning.plan(config)
