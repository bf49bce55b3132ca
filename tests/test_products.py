"""Products, and signals that meet a model through its images alone."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import score_mia
from score_mia import auditing
from score_mia.attacks.calibration import Compressed
from score_mia.attacks.products import Drawn
from score_mia.attacks.protocol import Columns, HostQuery, Product, Reading
from score_mia.check import UserError
from score_mia.engine import Engine, Reader, collect, row_seeds, view
from score_mia.hosts import TaskError
from score_mia.sampling import SAMPLERS, Served, Service, Watched
from score_mia.sde import VP
from score_mia.target import Denoiser, Generator, Target
from tests.defects.tiny_work import plan
from tests.oracles import memorising_target

SHAPE = (4, 4, 1)
N = 24
IDS = np.arange(2 * N)
MEMBER = IDS < N


class Images:
    digest = "noise"
    all = np.random.default_rng(0).random((2 * N, *SHAPE), np.float32)

    def images(self, ids):
        return self.all[ids]


class Server:
    """A service that repeats the image of a prompt it was trained on, with noise.

    It has no network, and whatever else is asked of it is an AttributeError.
    """

    shape = SHAPE

    def __init__(self):
        self.asked = []

    def draw(self, prompts, seeds):
        self.asked += [int(seed) for seed in seeds]
        noise = [np.random.default_rng(int(s)).random(SHAPE) for s in seeds]
        known = [Images.all[p] if p < N else noise[i] for i, p in enumerate(prompts)]
        return np.float32(0.8 * np.stack(known) + 0.2 * np.stack(noise))


@dataclasses.dataclass(frozen=True)
class Nearest:
    """How close the closest drawn image is, as a traced signal."""

    count: int = 2
    access: ClassVar = "samples"

    @property
    def needs(self):
        return (Drawn(self.count),)

    def columns(self, model):
        assert model.shape
        return Columns(("nearest",))

    def __call__(self, model, query, products):
        drawn = products[0]["images"] / 255
        return Reading(
            -jnp.min(jnp.mean((drawn - query.image[None]) ** 2, (1, 2, 3)))[None]
        )


@dataclasses.dataclass(frozen=True)
class OnHost(Nearest):
    """The same, as a signal on the host."""

    __call__ = None

    def batch(self, model, queries, products):
        drawn = np.float32(products[0]["images"] / np.float32(255))
        apart = np.mean((drawn - queries.images[:, None]) ** 2, (2, 3, 4))
        return Reading(-apart.min(1, keepdims=True))


def reader(signal, model, **more):
    engine = Engine(tile=4, shard=8, devices=1)
    more = {"prompts": lambda ids: tuple(ids.tolist()), **more}
    return Reader("nearest", signal, model, Images(), 5, engine, **more)


@pytest.mark.parametrize("signal", [Nearest(), OnHost()], ids=["traced", "host"])
def test_what_repeats_its_training_images_is_found_out_without_a_network(
    signal, tmp_path
):
    rows = collect(reader(signal, Server()), IDS, tmp_path)
    assert roc_auc_score(MEMBER, rows.matrix()[:, 0]) == 1.0


def test_two_signals_on_one_product_draw_once_and_agree(tmp_path):
    server, products = Server(), tmp_path / "products"
    found = [
        collect(reader(s, server), IDS, tmp_path / name, products=products)
        for name, s in {"a": Nearest(), "b": OnHost()}.items()
    ]
    assert len(set(server.asked)) == len(server.asked) == 2 * len(IDS)
    np.testing.assert_allclose(*(f.matrix() for f in found), rtol=1e-5, atol=1e-7)
    assert len(list(products.glob("drawn-*"))) == 1
    collect(reader(Nearest(3), server), IDS, tmp_path / "c", products=products)
    assert len(server.asked) == 5 * len(IDS)


def test_an_image_s_product_is_its_own_in_any_order_cut_and_company(tmp_path):
    whole = collect(reader(Nearest(), Server()), IDS, tmp_path / "whole")
    some = np.random.default_rng(1).permutation(IDS)[:11]
    part = collect(reader(Nearest(), Server()), some, tmp_path / "part")
    np.testing.assert_array_equal(part.matrix(), whole.matrix()[np.sort(some)])
    # More images for each prompt begin with the same ones.
    query = HostQuery(Images.all[:3], (0, 1, 2), IDS[:3], row_seeds(5, IDS[:3]))
    few, more = (Drawn(k).batch(Server(), query)["images"] for k in (2, 5))
    np.testing.assert_array_equal(more[:, :2], few)


def test_only_what_is_missing_is_made_again(tmp_path):
    whole = collect(reader(Nearest(), Server()), IDS, tmp_path).matrix()
    for path in (
        *tmp_path.glob("products/*/part-00002*"),
        *tmp_path.glob("part-00002*"),
    ):
        path.unlink()
    server = Server()
    again = collect(reader(Nearest(), server), IDS, tmp_path)
    np.testing.assert_array_equal(again.matrix(), whole)
    assert len(server.asked) == 2 * 8
    for path in tmp_path.glob("products/*/part-*"):
        path.unlink()
    collect(reader(Nearest(), server), IDS, tmp_path)  # nobody needs them any more
    assert len(server.asked) == 2 * 8


def test_what_a_service_refuses_is_the_signals_failure(tmp_path):
    class Shut(Server):
        def draw(self, prompts, seeds):
            raise UserError("service: is closed; come again")

    with pytest.raises(TaskError, match="is closed"):
        collect(reader(OnHost(), Shut()), IDS, tmp_path)


# --- views -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def target():
    return memorising_target(VP(), Images.all[:N])


SERVICE = Service(SAMPLERS["ddim"](steps=6), None, SHAPE, 8)


VIEWS = {
    "samples": Served,
    "observed": Watched,
    "scores": Denoiser,
    "gradients": Target,
}


@pytest.mark.parametrize(("access", "kind"), VIEWS.items())
def test_each_access_is_handed_its_view(target, access, kind):
    model = view(target, access, SERVICE)
    assert type(model) is kind
    if kind in (Served, Watched):
        public = {name for name in dir(model) if not name.startswith("_")}
        ways = {"shape", "noise_shape", "draw", "vary"}
        assert public == (ways if kind is Served else {*ways, "trace"})


@pytest.mark.parametrize("access", ["observed", "scores", "gradients"])
def test_a_service_gives_its_images_and_nothing_else(access):
    server = Server()
    assert view(server, "samples") is server
    with pytest.raises(UserError, match=f"access '{access}' cannot be had of Server"):
        view(server, access)


def test_without_a_sampler_a_target_gives_no_images(target):
    with pytest.raises(UserError, match="cannot be had of Target"):
        view(target, "samples")


def test_the_sampler_decides_what_is_read_and_only_then(target):
    made = {"service": SERVICE, "made_of": {"target": "t"}}
    other = dataclasses.replace(SERVICE, sampler=SAMPLERS["ddim"](steps=7))
    facts = [reader(Nearest(), target, **made).facts]
    facts.append(reader(Nearest(), target, **{**made, "service": other}).facts)
    assert facts[0] != facts[1]
    assert "service" not in reader(Nearest(), Server(), **made).facts


def test_a_target_of_ones_own_is_met_through_its_images(target, tmp_path):
    """A model that memorised N images repeats one of them, whoever is asked about."""
    one = reader(Nearest(8), target, service=SERVICE, prompts=lambda ids: None)
    rows = collect(one, IDS[::4], tmp_path)
    member = MEMBER[::4]
    assert rows.matrix()[member, 0].max() > -1e-3 > rows.matrix()[~member, 0].max()


@pytest.mark.parametrize("product", [Drawn(2), Compressed()], ids=str)
def test_a_product_is_made_of_its_view_and_gives_one_row_for_each_image(product):
    assert isinstance(product, Product)
    assert isinstance(Server(), Generator)
    query = HostQuery(Images.all[:3], (0, 1, 2), IDS[:3], row_seeds(5, IDS[:3]))
    whole = product.batch(Server(), query)
    one = product.batch(
        Server(), HostQuery(Images.all[1:2], (1,), IDS[1:2], query.seeds[1:2])
    )
    for name, values in whole.items():
        np.testing.assert_array_equal(one[name][0], values[1])


def looks_inside(tree):
    """Names by which a program takes a view apart, or reaches what it hides."""
    hidden = {"params", "_target", "_model"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in hidden:
            yield node.attr
        if isinstance(node, ast.Call) and "model" in map(ast.unparse, node.args):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in ("leaves", "flatten", "map", "tree_leaves", "vars", "getattr"):
                yield ast.unparse(node)


def test_no_signal_below_gradients_looks_at_parameters():
    """By their text: inside a traced program the parameters are there to be found."""
    assert list(looks_inside(ast.parse("jax.tree.leaves(model)[0] + model.params")))
    for path in sorted(Path(score_mia.__file__).parent.glob("attacks/*.py")):
        text = path.read_text()
        if path.name == "protocol.py" or '= "gradients"' in text:
            continue
        assert not list(looks_inside(ast.parse(text))), path.name


# --- in an audit -------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Latents:
    """A product of the network's outputs."""

    access: ClassVar = "scores"

    def batch(self, model, queries):
        raise AssertionError("never made")


@dataclasses.dataclass(frozen=True)
class Sly(OnHost):
    """A signal that says it needs less than its product does."""

    needs: ClassVar = (Latents(),)


def test_an_audit_reads_two_signals_off_one_product(tmp_path):
    here = {"name": f"{__name__}:Nearest"}, {"name": f"{__name__}:OnHost"}
    attacks = {n: {"signal": s} for n, s in zip(("traced", "host"), here, strict=True)}
    audit = plan(attacks=attacks)
    auditing.train(audit, tmp_path)
    text = auditing.attack(audit, tmp_path)
    assert "traced" in text
    assert "host" in text
    (folder,) = (tmp_path / "products").glob("drawn-*")
    (folder / "manifest.json").unlink()  # nobody asks for it again
    auditing.attack(audit, tmp_path)


def test_a_signal_may_not_need_more_than_it_says():
    with pytest.raises(UserError, match=r"access='samples'.* Latents needs.*'scores'"):
        plan(attacks={"sly": {"signal": {"name": f"{__name__}:Sly"}}})
