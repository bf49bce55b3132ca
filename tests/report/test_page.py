"""The page: complete, honest, self-contained, safe, and there in every case."""

from __future__ import annotations

import csv
import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.report import NearestContent, PerturbedContent, write
from score_mia.report.content import AttackContent
from score_mia.report.page import TEMPLATES
from score_mia.results import AttackResult, AuditResult, Estimate

from .example import attack, bare, changed, drawn, entry, full, metrics_of, stepped

VOID = {"meta", "img", "br"}
HOSTILE = "<script>alert(1)</script>\"'&$\\frac{_^}%"


class Page(HTMLParser):
    """Reads a page: balanced elements, text, attributes, ids."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def values(self, name):
        return [value for _, key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def content():
    return full()


@pytest.fixture(scope="module")
def folder(content, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("report"), content)
    assert path.name == "index.html"
    return path.parent


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_every_number_stands_beside_its_interval(content, page):
    for found in content.result.attacks.values():
        value, low, high = found.auc.interval
        assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in page.text
        zero, tpr = found.tpr_at_zero_fp, found.tpr_at_fpr
        for e in (found.balanced_accuracy, tpr[0.1], tpr[0.01], zero):
            value, low, high = (100 * x for x in e.interval)
            assert f"{value:.1f} % [{low:.1f}, {high:.1f}] %" in page.text
        assert f"true FPR up to {100 * zero.fpr_upper:.2g} %" in page.text
    assert "40 members, 150 non-members" in page.text


def test_unresolvable_rates_have_no_number(content, page):
    for found in content.result.attacks.values():
        assert not found.tpr_at_fpr[0.001].resolvable
    assert page.text.count("below resolution n = 150") == 4
    assert "Below resolution with n = 150 non-members: TPR at 0.1 % and 0.01 %" in (
        page.text
    )


def test_tells_everything_it_was_given(content, page):
    for said in (
        *("An audit", "Loss at one step", "Likelihood", "column 2", "17", "2 x CPU"),
        *("3 near-duplicates across the split", "0.0712", "grey box"),
        *("fixed grid vs adaptive reference: 0.003 bits/dim on 8 images", "1.25"),
    ):
        assert said in page.text
    # 16 pairs, 24 members, 12 non-members, 2 rows of 5 noised pictures.
    assert page.tags.count("img") == 2 * 16 + 24 + 12 + 10
    assert page.tags.count("svg") == 2 + 2 + 2 + 1


def test_needs_nothing_from_elsewhere(folder, page):
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not re.search("https?:", text)
    assert "@import" not in text
    assert all(uri.startswith("data:image/") for uri in page.values("src"))
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_ids_are_unique_and_links_resolve(folder, page):
    text = (folder / "index.html").read_text(encoding="utf-8")
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    inner = [h[1:] for h in page.values("href") if h.startswith("#")]
    assert inner
    assert {*inner, *re.findall(r"url\(#([^)]+)\)", text)} <= set(ids)
    assert len(page.values("href")) == len(inner)


def test_pictures_and_drawings_have_words(page):
    assert page.tags.count("img") == len([v for v in page.values("alt") if v])
    said = [v for tag, key, v in page.attributes if (tag, key) == ("svg", "aria-label")]
    assert page.tags.count("svg") == len([v for v in said if v])


def test_colours_exist_in_both_schemes_and_are_readable(folder):
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, flags=re.S)[:2]
    )
    text = (folder / "index.html").read_text(encoding="utf-8")
    used = set(re.findall(r"var\(--(\w+)\)", text))
    assert used <= set(light) == set(dark)
    # Figures carry no colour of their own, which the dark page could not change.
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.S))
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) <= {"#ffffff"}
    for scheme in (light, dark):
        for role in ("ink", "soft", "strong", "partial", "chance", "unclear", "blue"):
            assert contrast(scheme[role], scheme["card"]) >= 4.5, role
        for role in ("orange", "green", "purple", "ochre", "rose", "level2", "level3"):
            assert contrast(scheme[role], scheme["card"]) >= 3, role


def contrast(one, other):
    """WCAG 2 contrast ratio of two colours "#rrggbb"."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_writes_all_files(folder):
    names = {path.name for path in folder.iterdir()}
    figures = ("roc", "scores", "tpr_by_step", "tpr_by_log_snr", "perturbed", "samples")
    assert names == {
        *(f"{name}.png" for name in (*figures, "training")),
        *("attacks.csv", "attacks.tex", "roc.csv", "by_step.csv", "index.html"),
    }
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_light_enough_to_mail(tmp_path):
    # The worst that pictures do: noise, at 64x64 in colour, does not compress.
    path = write(tmp_path, full(size=64))
    assert path.stat().st_size < 1_500_000


def test_hostile_names_stay_words(tmp_path):
    bad = dataclasses.replace(
        attack(name="../" + HOSTILE, title="_" + HOSTILE), notes=(HOSTILE,)
    )
    report = dataclasses.replace(
        bare(bad, attack(name="/etc/x y"), title=HOSTILE),
        warnings=(HOSTILE,),
        facts={HOSTILE: {HOSTILE: HOSTILE}},
        perturbed=PerturbedContent(np.zeros((1, 1, 2, 2, 1)), (HOSTILE,)),
    )
    path = write(tmp_path / "in", report)
    page = Page(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 6
    assert {p.parent for p in tmp_path.rglob("*") if p.is_file()} == {tmp_path / "in"}
    assert (tmp_path / "in" / "tpr_by_step-etc-x-y.png").exists()


def test_renders_without_optional_parts_and_removes_old_files(tmp_path):
    write(tmp_path, full())
    (tmp_path / "mine.png").write_bytes(b"not the report's")
    lone = dataclasses.replace(attack(), stepped=None, result=AttackResult())
    page = Page(write(tmp_path, bare(lone)).read_text(encoding="utf-8"))
    assert page.values("src") == []
    assert "Where in the diffusion process" not in page.text
    assert "How this was made" not in page.text
    assert {p.name for p in tmp_path.glob("*.png")} == {
        "roc.png",
        "scores.png",
        "mine.png",
    }


def test_renders_without_any_attack(tmp_path):
    report = dataclasses.replace(full(), attacks=(), result=AuditResult())
    page = Page(write(tmp_path, report).read_text(encoding="utf-8"))
    assert "Not enough data" in page.text
    assert "No attack was run" in page.text
    assert not (tmp_path / "roc.png").exists()


def test_a_group_that_is_missing_draws_no_curve(tmp_path):
    only = AttackContent("loss", AttackResult(), np.ones(3), np.ones(3, bool))
    page = Page(write(tmp_path, bare(only)).read_text(encoding="utf-8"))
    assert "below resolution" in page.text
    assert not (tmp_path / "roc.png").exists()


def test_samples_without_members_are_shown_alone(tmp_path):
    near = NearestContent(np.full(18, np.nan), 0, np.zeros((16, 4, 4, 1)))
    report = dataclasses.replace(full(), nearest=near)
    page = Page(write(tmp_path, report).read_text(encoding="utf-8"))
    assert "16 of 18 pictures the model generated." in page.text
    assert "nearest of" not in page.text


def test_lost_rows_and_wrong_signs_are_warned_of(tmp_path):
    good = attack(shift=3.0)
    scores = -good.scores
    found = entry(scores, good.member)
    scores[7] = np.nan
    backwards = dataclasses.replace(good, result=found, scores=scores)
    page = Page(write(tmp_path, bare(backwards)).read_text(encoding="utf-8"))
    assert "1 of 190 membership scores are not finite" in page.text
    assert "non-members score higher than members" in page.text
    assert "Not found" in page.text


def test_same_content_same_bytes(tmp_path):
    report = dataclasses.replace(full(), members=None, perturbed=None, nearest=None)
    one, two = (
        write(tmp_path / "a", report).parent,
        write(tmp_path / "b", report).parent,
    )
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes(), path.name


def test_contents_that_do_not_fit_are_refused():
    good = attack()
    with pytest.raises(UserError, match="one time"):
        dataclasses.replace(good.stepped, names=good.stepped.names[1:])
    with pytest.raises(UserError, match="no column"):
        dataclasses.replace(good.stepped, chosen=5)
    with pytest.raises(UserError, match="labels"):
        PerturbedContent(np.zeros((1, 2, 2, 2, 1)), ("t = 0",))


def test_a_column_that_is_never_finite_leaves_the_rest(tmp_path):
    values, member = drawn()
    values[:, 4] = np.nan
    report = bare(dataclasses.replace(attack(), stepped=stepped(values, member)))
    page = Page(write(tmp_path, report).read_text(encoding="utf-8"))
    assert "AUC is highest for loss at diffusion step " in " ".join(
        page.values("aria-label")
    )
    assert metrics_of(report.attacks) == report.result


@pytest.mark.slow
def test_of_many_attacks_the_first_are_drawn_and_all_are_told(tmp_path):
    many = [attack(f"loss-{i}", f"Loss number {i}", n=(20, 60)) for i in range(12)]
    shuffled = Estimate(0.5, 0.4, 0.6)
    path = write(tmp_path, bare(*(changed(one, permuted=shuffled) for one in many)))
    text = path.read_text(encoding="utf-8")
    said = Page(text).text.partition("Shuffled labels")[2]
    assert 0 < said.index("loss-7: 0.500") < said.index("of 4 more in attacks.csv")
    assert "loss-8: 0.500" not in said
    assert "4 further attacks are in the table only." in Page(text).text
    steps = {p.name for p in tmp_path.glob("tpr_by_step*.png")}
    assert len(steps) == 8
    for i in range(12):
        assert f"Loss number {i}" in text
    assert text.count('aria-label="Histograms') == 8 or text.count("Histograms") == 8
    with (tmp_path / "roc.csv").open() as file:
        assert len({row["attack"] for row in csv.DictReader(file)}) == 12
