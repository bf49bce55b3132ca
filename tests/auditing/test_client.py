"""A service is audited: nothing of it is known but the images that it draws."""

from __future__ import annotations

import dataclasses
import json
from typing import ClassVar

import numpy as np
import pytest

from score_mia import auditing
from score_mia.attacks import Columns, Reading
from score_mia.auditing import plan as build
from score_mia.auditing import study
from score_mia.check import UserError
from score_mia.data import SOURCES
from score_mia.rows import seconds
from tests.auditing.tiny import get_config

SOURCE = SOURCES["bundled"](dataset="digits")


class Copier:
    """A service that has learned its training images by heart."""

    shape = SOURCE.shape

    def __init__(self) -> None:
        plan = build.plan(config())
        self.images = SOURCE.images(plan.split(SOURCE).members)

    def draw(self, prompts, seeds):
        return self.images[np.asarray(seeds) % len(self.images)]


@dataclasses.dataclass(frozen=True)
class Nearest:
    """Minus the distance to the nearest of many images that the service draws."""

    count: int = 400
    access: ClassVar = "samples"
    needs: ClassVar = ()

    def columns(self, model):
        return Columns(("nearest",), title="Nearest of many images")

    def batch(self, model, queries, products):
        drawn = model.draw(None, np.arange(self.count))
        apart = queries.images[:, None] - drawn[None]
        return Reading(-np.sqrt((apart**2).mean((2, 3, 4))).min(1)[:, None])


@dataclasses.dataclass(frozen=True)
class Nosy(Nearest):
    """The same, but it wants more than a service gives."""

    access: ClassVar = "scores"


def config(signal="Nearest", **target):
    made = get_config()
    for section in ("sde", "network", "train", "sampler", "attacks", "report"):
        del made[section]
    made.target = dict(name="client", call=f"{__name__}:Copier", **target)
    made.report = dict(replicates=100)
    made.attacks = dict(near=dict(signal=dict(name=f"{__name__}:{signal}")))
    return made


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("client")
    auditing.run(build.plan(config()), folder)
    return folder


def test_what_it_memorised_is_found_by_its_images_alone(done):
    metrics = json.loads((done / "metrics.json").read_text())
    assert metrics["attacks"]["near"]["auc"]["value"] == 1.0
    assert metrics["attacks"]["near"]["access"] == "samples"
    assert metrics["target"]["service"]["call"].endswith("Copier")
    assert not list(done.glob("target/*/"))  # no parameters, no training
    page = (done / "report" / "index.html").read_text(encoding="utf-8")
    assert "test_client:Copier" in page
    said = auditing.describe(build.plan(config()), done).splitlines()
    assert [*map(str.split, said[-2:])] == [
        ["target", "a", "service,", "of", "unknown", "cost"],
        ["near", "cost", "not", "known", "beforehand"],
    ]


def test_what_a_service_would_be_asked_and_how_long_it_took(tmp_path):
    made = config()
    drawn = dict(name="reconstruct", m=3, encoder=dict(name="pixels"))
    fewer = dict(drawn, m=2, drawn=3)
    mean = dict(name="mean")
    both = {"three": drawn, "two": fewer}
    made.attacks = {n: dict(signal=s, rule=mean) for n, s in both.items()}
    one = build.plan(made)
    asked = 3 * len(one.split(SOURCE).ids)
    said = auditing.describe(one)
    assert f"three      {asked:,} queries" in said
    assert "two        reads the images of three" in said
    auditing.run(one, tmp_path)
    (drawn,) = (tmp_path / "products").glob("drawn-*")
    waited = seconds(drawn)
    assert waited > 0
    timings = json.loads((tmp_path / "timings.json").read_text())["seconds"]
    for name in ("three", "two"):  # so long would either have taken alone
        (own,) = (tmp_path / "signals").glob(f"{name}-*")
        np.testing.assert_allclose(timings[name], seconds(own) + waited, atol=2e-3)


def test_a_service_stands_in_a_study(tmp_path):
    table = dict(name="attack_table")
    made = dict(audits=dict(service=config().to_dict()), exhibits=dict(table=table))
    study.run(study.plan(made), tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Nearest of many images" in page
    steps = dict(name="perturbed", times=(100,))
    with pytest.raises(UserError, match="of a service nothing but its images is known"):
        study.run(study.plan({**made, "exhibits": dict(steps=steps)}), tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(signal="Nosy"), "access 'scores' cannot be had of Copier"),
        (dict(prompt="caption"), "'caption': is no column of the data"),
    ],
)
def test_what_a_service_does_not_give_is_refused(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        auditing.run(build.plan(config(**change)), tmp_path)


def test_another_service_is_refused(done):
    with pytest.raises(UserError, match="is of another service"):
        auditing.run(build.plan(config(prompt="label")), done)


def test_sections_of_a_model_mean_nothing_to_it():
    made = config()
    made.sde = dict(name="ddpm")
    with pytest.raises(UserError, match="'sde': means nothing to target 'client'"):
        build.plan(made)
