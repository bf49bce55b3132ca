"""A study end to end: its numbers against the audits' files, its page, its mistakes."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil

import numpy as np
import pytest

from score_mia.auditing import stages, study
from score_mia.auditing.work import open_work
from score_mia.metrics.roc import tpr_at_fpr
from score_mia.papers.laion_mi.counting import resampled_tpr
from score_mia.report.exhibits import EXHIBITS as KINDS
from score_mia.report.page import TEMPLATES
from score_mia.results import AuditResult, Privacy, Profile
from tests.report.test_page import Page

from .command import (
    contents,
    evaluation,
    finished,
    metrics,
    rows,
    run,
    variant,
    wins,
)
from .tiny_study import TIMES, get_config

EXHIBITS = list(json.loads(get_config().to_json())["exhibits"])
SET = ("quality", "loss", "likelihood", "attacks", "variants")
"""Tables, which are set and not drawn."""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study") / "all"
    assert run(folder) == 0
    return folder


@pytest.fixture
def copy(done, tmp_path):
    """A copy of the finished study, to spoil."""
    return shutil.copytree(done, tmp_path / "all")


@pytest.fixture(scope="module")
def page(done):
    return Page((done / "index.html").read_text(encoding="utf-8"))


LESS = "c.exhibits = {'roc': dict(name='roc', attack='loss')}"
"""Only one exhibit: drawing is what takes the time."""


def test_every_exhibit_is_there_in_every_format(done, page):
    made = {p.name for p in (done / "exhibits").iterdir()}
    drawn = [name for name in EXHIBITS if name not in SET]
    assert made == {
        *(f"{name}.{form}" for name in EXHIBITS for form in ("csv", "tex")),
        *(f"{name}.{form}" for name in drawn for form in ("png", "pdf")),
    }
    for name in drawn:
        assert (done / "exhibits" / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
        assert (done / "exhibits" / f"{name}.png").read_bytes()[1:4] == b"PNG"
    anchors = [i for i in page.values("id") if i.startswith("exhibit-")]
    assert anchors == [f"exhibit-{name}" for name in EXHIBITS]


def test_page_needs_nothing_but_its_folder(done, page):
    text = (done / "index.html").read_text(encoding="utf-8")
    assert not {"script", "link"} & set(page.tags)
    assert not re.search("https?:", text)
    assert all(uri.startswith("data:image/") for uri in page.values("src"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for link in page.values("href"):
        if link.startswith("#"):
            assert link[1:] in ids
        else:
            assert (done / link).exists(), link
    for name in ("ddpm", "smld"):
        assert f"{name}/report/index.html" in page.values("href")
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    assert set(re.findall(r"var\(--(\w+)\)", text)) <= set(re.findall(r"--(\w+):", css))
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.S))
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) <= {"#ffffff"}
    assert "A tiny study of {50 %_real & made} targets" in page.text
    assert "DDPM_1 & co" in page.text


def test_whole_attacks_have_the_numbers_of_metrics_json(done):
    entries = metrics(done, "ddpm")["attacks"]
    agrees(rows(done, "likelihood", source="ours"), entries["likelihood"])
    table = KINDS["loss_table"](times=(0,), also=("likelihood",))
    text = table.build([finished(done, "ddpm")]).csv
    found = list(csv.DictReader(io.StringIO(text)))
    agrees([r for r in found if r["attack"] == "likelihood"], entries["likelihood"])


def agrees(found, entry):
    """A row for each estimate of an entry of metrics.json, with its very numbers."""
    seen = {(r["measure"], r["fpr"]): r for r in found}
    expected = {("tpr", f): e for f, e in entry["tpr_at_fpr"].items()}
    for measure in ("auc", "balanced_accuracy", "tpr_at_zero_fp"):
        expected[(measure, "")] = entry[measure]
    assert expected.keys() <= seen.keys()
    for key, e in expected.items():
        for part in ("value", "low", "high"):
            said = seen[key][part]
            assert (float(said) if said else None) == e[part]
    assert {(r["members"], r["nonmembers"]) for r in found} == {("12", "120")}


def test_tables_of_attacks_have_the_numbers_of_metrics_json(done, page):
    for exhibit, name, attack in (
        ("attacks", "smld", "loss"),
        ("attacks", "ddpm", "loss"),
        ("variants", "ddpm", "likelihood"),
    ):
        entry = metrics(done, name)["attacks"][attack]
        found = rows(done, exhibit, audit=name, attack=attack, source="ours")
        agrees(found, entry)
        cost = entry["network_evaluations_per_image"]
        assert {float(r["cost_per_image"]) for r in found} == {cost}
        assert {r["cost_in"] for r in found} == {"evaluations"}
        value, interval = (entry["auc"][k] for k in ("value", "low"))
        shown = f"{value:.3f}" if exhibit == "attacks" else "Of whom chosen whole"
        assert shown in page.text
        assert interval < value
    assert page.text.count("The loss") == 2
    values, member = evaluation(done, "ddpm")
    names = [f"loss@{t}" for t in TIMES]
    chosen = metrics(done, "ddpm")["attacks"]["loss"]["chosen"].partition(" ")[0]
    column = values[:, names.index(chosen)]
    (theirs,) = rows(done, "attacks", audit="ddpm", source="ours, mean of resamples")
    size = int(min(member.sum(), (~member).sum())) // 5
    assert float(theirs["value"]) == resampled_tpr(column, member, size=size).mean
    assert page.text.index("anyone") < page.text.index("nobody")


def test_chosen_step_is_the_one_of_the_audit(done):
    entry = metrics(done, "ddpm")["attacks"]["loss"]
    column = entry["chosen"].partition(" ")[0]
    found = rows(done, "loss", source="ours", audit="ddpm", column=column)
    agrees(found, {k: v for k, v in entry.items() if k != "at_fixed_threshold"})


@pytest.mark.parametrize(
    ("name", "times"), [("ddpm", (200, 999)), ("smld", (0, 200, 999))]
)
def test_chosen_steps_equal_a_direct_count(done, name, times):
    values, member = evaluation(done, name)
    for time in times:
        column = values[:, TIMES.index(time)]
        found = rows(done, "loss", source="ours", audit=name, column=f"loss@{time}")
        seen = {(r["measure"], r["fpr"]): r for r in found}
        assert {float(r["time"]) for r in found} == {time}
        auc = seen["auc", ""]
        assert float(auc["value"]) == pytest.approx(wins(column, member), abs=1e-12)
        assert float(auc["low"]) < float(auc["value"]) < float(auc["high"])
        strangers = np.sort(column[~member])[::-1]
        for fpr, allowed in (("0.1", 12), ("0.01", 1)):
            tpr = np.mean(column[member] > strangers[allowed])
            assert float(seen["tpr", fpr]["value"]) == tpr
        for fpr in ("0.001", "0.0001"):  # 120 non-members
            assert seen["tpr", fpr]["value"] == ""
            assert seen["tpr", fpr]["resolvable"] == "False"


def test_rows_counted_as_the_paper_counts(done):
    values, member = evaluation(done, "smld")
    column = values[:, TIMES.index(200)]
    found = rows(
        done,
        "loss",
        source="ours, non-members positive",
        audit="smld",
        column="loss@200",
        fpr="0.1",
    )
    # Non-members with a loss above all but one of the twelve members.
    least = np.sort(column[member])[1]
    assert [float(r["value"]) for r in found] == [np.mean(column[~member] < least)]


def test_published_rows_stand_apart_and_are_the_printed_ones(done, page):
    found = [r for r in rows(done, "loss") if r["source"].startswith("published")]
    assert {r["source"] for r in found} == {
        "published: Hu & Pang 2023, Table 2 (FFHQ-1k, 64x64)"
    }
    assert {r["audit"] for r in found} == {""}  # never taken for one of ours
    assert {r["low"] for r in found} == {""}
    printed = {(r["model"], r["time"], r["fpr"]): float(r["value"]) for r in found}
    assert printed["DDPM", "200", "0.0001"] == 1.0
    assert printed["DDPM", "999", "0.01"] == pytest.approx(0.017)
    # SMLD's steps are printed from most noise: our 0, 200, 999 are 999, 799, 0.
    assert {t for m, t, _ in printed if m == "SMLD"} == {"999", "0"}
    assert printed["SMLD", "999", "0.1"] == pytest.approx(0.415)
    assert "published, FFHQ-1k, 64x64" in page.text
    assert "Compare shapes, not values" in page.text
    fids = [r for r in rows(done, "quality") if r["source"] != "ours"]
    assert {(r["model"], r["value"]) for r in fids} == {
        ("DDPM", "57.88"),
        ("SMLD", "92.81"),
    }
    (last,) = [
        r for r in rows(done, "likelihood", fpr="0.0001") if r["model"] == "DDPM"
    ]
    assert last["value"] == "0.71"


def test_published_rows_are_for_the_paper_s_attacks_only(done):
    one = finished(done, "ddpm")
    beside = dict(name="score_mia.papers.hu_pang.tables:Rates", table="Table 2")
    table = KINDS["loss_table"](times=(200,), beside=beside)
    assert "published: " in table.build([one]).csv
    planned = one.planned
    # The same columns, another measure.
    other = planned.attacks["loss"]._replace(signal="mine.Loss")
    attacks = {**planned.attacks, "loss": other}
    for changes in ({"attacks": attacks}, {"discrete_steps": 1001}):
        changed = dataclasses.replace(planned, **changes)
        built = table.build([dataclasses.replace(one, planned=changed, _kept={})])
        assert "published: " not in built.csv
        assert "Table 2 of the paper has none of these steps" in built.caption


def test_quality_is_that_of_the_audit_or_not_measured(done, page):
    quality = metrics(done, "ddpm")["target"]["quality"]
    found = rows(done, "quality", source="ours", audit="ddpm")
    assert len(found) == 6
    for row in found:
        kind = "kid" if row["measure"] == "KID" else "frechet"
        e = quality[row["between"]][kind]
        assert float(row["value"]) == e["value"]
        assert row["low"] == ("" if e["low"] is None else str(e["low"]))
        assert [int(row["n_first"]), int(row["n_second"])] == e["n"]
    (missing,) = rows(done, "quality", source="ours", audit="smld")
    assert missing["measure"] == "not measured"
    assert missing["value"] == ""
    assert "not measured" in page.text


def test_curves_over_the_steps(done):
    sigma = 0.01 * (50 / 0.01) ** (np.array(TIMES) / 999)
    betas = np.linspace(0.1, 20, 1000) / 1000
    kept = np.cumprod(1 - betas)[list(TIMES)]
    log_snr = {"smld": -2 * np.log(sigma), "ddpm": np.log(kept / (1 - kept))}
    for name in ("ddpm", "smld"):
        values, member = evaluation(done, name)
        found = rows(done, "steps", audit=name)
        assert [r["column"] for r in found] == [f"loss@{t}" for t in TIMES]
        for k, row in enumerate(found):
            expected = wins(values[:, k], member)
            assert float(row["auc"]) == pytest.approx(expected, abs=1e-12)
            assert float(row["log_snr"]) == pytest.approx(log_snr[name][k], abs=2e-4)
            assert row["tpr@0.001"] == ""


def test_panels_for_rates_show_what_can_be_seen(done):
    audits = [finished(done, name) for name in ("smld", "ddpm")]
    exhibit = KINDS["tpr_by_step"](panels="fpr", axis="log_snr")
    built = exhibit.build(audits)
    assert [a.get_title(loc="left") for a in built.figure.axes] == [
        "at 10\xa0% FPR",
        "at 1\xa0% FPR",
    ]
    said = built.caption.replace("\xa0", " ")
    assert "Below resolution with 120 non-members: 0.1 %, 0.01 % FPR." in said
    for panel, fpr in zip(built.figure.axes, ("tpr@0.1", "tpr@0.01"), strict=True):
        assert panel.xaxis_inverted()  # noise grows to the right
        for line, name in zip(panel.lines, ("smld", "ddpm"), strict=False):
            by_log_snr = sorted(
                (float(r["log_snr"]), float(r[fpr]))
                for r in rows(done, "steps", audit=name)
            )
            assert np.allclose(line.get_xydata(), by_log_snr)


def test_roc_points(done):
    for name in ("ddpm", "smld"):
        values, member = evaluation(done, name)
        column = metrics(done, name)["attacks"]["loss"]["chosen"].partition(" ")[0]
        scores = values[:, TIMES.index(int(column.removeprefix("loss@")))]
        drawn = rows(done, "roc", audit=name)
        assert float(drawn[0]["fpr"]) == 1 / 120
        for row in drawn:
            expected = tpr_at_fpr(scores, member, float(row["fpr"]))
            assert float(row["tpr"]) == expected
            assert float(row["low"]) <= expected <= float(row["high"])
        # The nearest of the four columns to log-SNR 5, 0 and -5.
        near = {"ddpm": ["0", "200", "500"], "smld": ["200", "500", "999"]}[name]
        exhibit = KINDS["roc"](attack="loss", log_snr=(5.0, 0.0, -5.0))
        text = exhibit.build([finished(done, name)]).csv
        columns = [r["column"] for r in csv.DictReader(io.StringIO(text))]
        assert list(dict.fromkeys(columns)) == [f"loss@{t}" for t in near]


def test_frontier_has_the_numbers_of_the_audits(done, page):
    found = {r["audit"]: r for r in rows(done, "frontier")}
    for name, row in found.items():
        e = metrics(done, name)["attacks"]["loss"]["tpr_at_fpr"]["0.1"]
        for part, key in (("value", "tpr"), ("low", "tpr_low"), ("high", "tpr_high")):
            assert float(row[key]) == e[part]
        assert row["training"] == "none"
        assert row["epsilon"] == row["tpr_ceiling"] == ""
    quality = metrics(done, "ddpm")["target"]["quality"]["nonmembers"]["kid"]
    assert float(found["ddpm"]["quality_value"]) == quality["value"]
    assert found["smld"]["quality_value"] == ""
    assert "no privacy" in page.text


PRIVATE = Privacy(
    *("", 1.0, 1.2, 1e-3, "zero_out", 2.0, 1.0), profile=Profile((1.0,), (1e-3,))
)


def changed(folder, **changes):
    """The audit's result with another target."""
    result = AuditResult.load(folder)
    target = dataclasses.replace(result.target, **changes)
    dataclasses.replace(result, target=target).save(folder)


def test_frontier_draws_the_ceiling_and_marks_controls(copy):
    control = dataclasses.replace(PRIVATE, control="clip_only", epsilon_pld=None)
    for name, private in (("smld", PRIVATE), ("ddpm", control)):
        changed(copy / name, privacy=private)
    exhibit = KINDS["frontier"](fpr=0.1)
    built = exhibit.build([finished(copy, "smld"), finished(copy, "ddpm")])
    private, control = csv.DictReader(io.StringIO(built.csv))
    assert private["training"] == "private"
    assert private["epsilon"] == "1.0"
    # TPR <= e^epsilon FPR + delta, the tighter of the two bounds here.
    assert float(private["tpr_ceiling"]) == pytest.approx(np.e * 0.1 + 1e-3)
    assert control["training"] == "clip_only"
    assert control["epsilon"] == control["tpr_ceiling"] == ""
    assert built.table.rows[1].cells[1].value == "clip only (control)"
    ticks = [t.get_text() for t in built.figure.axes[1].get_xticklabels()]
    assert ticks == ["1", "clip\nonly"]


def test_pictures_are_members_under_the_noise_they_name(done):
    one = finished(done, "ddpm")
    exhibit = KINDS["perturbed"](times=(0, 500, 999), pictures=3)
    strips = exhibit.build([one]).strips
    work = open_work(study.plan(get_config()).audits["ddpm"], one.folder)
    members = work.source.images(work.split.members[:3])
    for strip, image in zip(strips, members, strict=True):
        # DDPM's first step: alpha² = 1 - 1e-4, noise of 0.01 in [-1, 1].
        assert np.abs(strip.pictures[0] - image).max() < 0.03
        correlation = [
            np.corrcoef(p.ravel(), image.ravel())[0, 1] for p in strip.pictures
        ]
        assert correlation[0] > 0.99
        assert abs(correlation[2]) < 0.6 < correlation[0]
        assert strip.labels[1].startswith("t = 500\nlog-SNR ")
    times = {(r["audit"], r["time"]): float(r["log_snr"]) for r in rows(done, "noised")}
    assert len(times) == 6
    for (_, time), level in times.items():
        assert float(time) == int(float(time))
        assert min(abs(level - wanted) for wanted in (6, 0, -6)) < 0.1


def test_samples_are_those_of_the_target(done, page):
    for name in ("ddpm", "smld"):
        kept = np.load(done / name / "target" / "samples.npz")
        found = rows(done, "samples", audit=name)
        assert [int(r["sample"]) for r in found] == list(range(6))
        assert {r["target_digest"] for r in found} == {str(kept["target"])}
    strips = KINDS["samples"](count=6).build([finished(done, "ddpm")]).strips
    shown = np.concatenate([s.pictures for s in strips])
    kept = np.load(done / "ddpm" / "target" / "samples.npz")["images"]
    assert np.array_equal(np.rint(255 * shown), kept)
    assert page.tags.count("img") == 2 * 6 + 2 * 2 * 3


def test_latex_is_balanced_and_escaped(done):
    for name in EXHIBITS:
        text = (done / "exhibits" / f"{name}.tex").read_text(encoding="utf-8")
        bare = text.replace("\\{", "").replace("\\}", "")
        assert bare.count("{") == bare.count("}")
        kinds = re.findall(r"\\begin\{(\w+)\}", text)
        assert sorted(kinds) == sorted(re.findall(r"\\end\{(\w+)\}", text))
        assert kinds[0] in ("table", "figure")
        assert rf"\label{{{kinds[0][:3]}:{name}}}" in text
        body = [x for x in text.splitlines()[1:] if not x.startswith("\\")]
        body += re.findall(r"\\caption\{(.*)\}$", text, flags=re.M)
        for line in body:
            words = re.sub(r"\$(\\[a-z]+|-)\$", "", line)
            assert not re.search(r"(?<!\\)[%#_$]", words), line
        columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
        for line in text.splitlines():
            if line.endswith(r"\\"):
                assert columns is not None
                cells = line.replace(r"\&", "").count("&") + 1
                assert cells == len(columns[1])
    assert r"DDPM\_1 \& co" in (done / "exhibits" / "loss.tex").read_text()


def test_a_second_run_computes_nothing_and_says_the_same(
    copy, done, tmp_path, monkeypatch, capsys
):
    def never(*_):
        raise AssertionError("an audit ran again")

    same = ("quality", "samples")
    kept = "{n: c.exhibits[n] for n in " + repr(same) + "}"
    monkeypatch.setattr(stages, "run", never)
    assert run(copy, config=variant(tmp_path, f"c.exhibits = {kept}")) == 0
    assert f"study: {copy / 'index.html'}" in capsys.readouterr().out
    assert contents(copy, "ddpm", "smld") == contents(done, "ddpm", "smld")
    made = contents(copy, "exhibits")
    assert len(made) == 2 + 4  # those that the config no longer has are gone
    assert made.items() <= contents(done, "exhibits").items()


def test_a_failing_audit_does_not_stop_the_others(
    copy, done, tmp_path, monkeypatch, capsys
):
    shutil.rmtree(copy / "smld" / "report")  # killed before its last stage
    real = stages.run

    def stage(plan, folder):
        if folder.name == "bad":
            real(plan, folder)
        else:
            shutil.copytree(done / "smld" / "report", folder / "report")

    monkeypatch.setattr(stages, "run", stage)
    spoilt = (
        "bad = c.audits.ddpm.copy_and_resolve_references(); "
        "bad.data = dict(name='folder', path='/nowhere', size=8); "
        "c.audits = dict(bad=bad, smld=c.audits.smld); c.labels = {}; "
    )
    assert run(copy, config=variant(tmp_path, spoilt + LESS)) == 2
    err = capsys.readouterr().err
    assert err.count("audit 'bad' failed: ") == 1
    assert err.index("audit 'bad' failed") < err.index("audit 2 of 2, smld")
    (line,) = [x for x in err.splitlines() if x.startswith("score-mia: ")]
    assert "audit 'bad'" in line
    assert "/nowhere" in line
    assert "Traceback" not in err
    assert {r["audit"] for r in rows(copy, "roc")} == {"smld"}
    page = Page((copy / "index.html").read_text(encoding="utf-8"))
    assert "Failed" in page.text
    assert "/nowhere" in page.text
    assert "Not finished, and not shown: bad." in page.text


def test_a_bug_in_one_audit_leaves_its_trace(copy, tmp_path, monkeypatch, capsys):
    shutil.rmtree(copy / "ddpm" / "report")

    def broken(plan, folder):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(stages, "run", broken)
    assert run(copy, config=variant(tmp_path, LESS)) == 2
    err = capsys.readouterr().err
    assert "ZeroDivisionError: oh; see " in err
    assert "Traceback" not in err
    assert "in broken" in (copy / "ddpm" / "failed.txt").read_text()
    assert {r["audit"] for r in rows(copy, "roc")} == {"smld"}


def test_only_runs_what_it_names(copy, tmp_path, monkeypatch, capsys):
    shutil.rmtree(copy / "ddpm")
    shutil.rmtree(copy / "smld" / "report")
    ran = []
    monkeypatch.setattr(stages, "run", lambda plan, folder: ran.append(folder.name))
    assert run(copy, "--only=smld", config=variant(tmp_path, LESS)) == 0
    assert ran == ["smld"]
    assert "not finished, and not shown: smld, ddpm" in capsys.readouterr().out
    page = Page((copy / "index.html").read_text(encoding="utf-8"))
    assert "None of its audits is finished" in page.text
    assert run(copy, "--only=smdl") == 2
    assert "did you mean 'smld'" in capsys.readouterr().err


def test_signals_of_another_target_are_not_shown(copy, tmp_path, capsys):
    changed(copy / "smld", digest="0" * 16)
    assert run(copy, config=variant(tmp_path, LESS)) == 2
    err = capsys.readouterr().err
    assert "exhibit 'roc'" in err
    assert "another target" in err


MINE = """
import dataclasses

from score_mia.report.exhibits import Built, Cell, Exhibit, Row, Table


@dataclasses.dataclass(frozen=True)
class Seconds(Exhibit):
    heading = "How long it took"

    def check_audit(self, name, planned):
        pass

    def build(self, audits):
        spent = [(a.label, a.result.timings.training_seconds) for a in audits]
        rows = tuple(Row((Cell(n), Cell(f"{s:.0f}"))) for n, s in spent)
        csv = "".join(f"{n},{s}\\n" for n, s in spent)
        return Built("Seconds.", csv, "Seconds.", Table(("Target", "Seconds"), rows))
"""


def test_a_users_own_exhibit_runs_from_a_config_line(copy, tmp_path, monkeypatch):
    (tmp_path / "my_exhibits.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = variant(tmp_path, "c.exhibits = {'s': dict(name='my_exhibits:Seconds')}")
    assert run(copy, config=config) == 0
    assert (copy / "exhibits" / "s.csv").read_text().count("\n") == 2
    assert "How long it took" in (copy / "index.html").read_text()
