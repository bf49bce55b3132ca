"""Writes docs/config.md and docs/api.md from what the code says of itself.

    make docs        (python docs/reference.py)

Types and defaults are those of the dataclasses and functions that a config names, what
a field means is read off their docstrings. A test holds the committed pages to this.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import score_mia
from score_mia.attacks import SIGNALS
from score_mia.attacks.prompts import PROMPTS
from score_mia.auditing import plan, sections
from score_mia.auditing.sanitising import settings as sanitising
from score_mia.auditing.study import SECTIONS as STUDY
from score_mia.conditions import CONDITIONERS
from score_mia.data import SOURCES, SPLITS
from score_mia.data.filtering import CLASSIFIERS
from score_mia.data.pools import Condition, Pool
from score_mia.data.shadows import Shadows
from score_mia.encoders import ENCODERS, Encoder
from score_mia.engine import Engine
from score_mia.heads import HEADS
from score_mia.metrics.copies import Copying
from score_mia.models import MODELS
from score_mia.networks import NETWORKS, DDPMNet, UNet2D
from score_mia.networks.options import Options
from score_mia.papers import hu_pang
from score_mia.parameterisation import PARAMETERISATIONS
from score_mia.registry import parameters
from score_mia.report.exhibits import EXHIBITS
from score_mia.rules import RULES, SETS
from score_mia.rules.scheme import SCHEMES
from score_mia.sampling import SAMPLERS
from score_mia.sde import SDES
from score_mia.spec import CODECS
from score_mia.train.config import Privacy, TrainConfig
from score_mia.train.loss import Objective

HERE = Path(__file__).parent
MADE = "<!-- Made by `make docs` from the docstrings of the code: change these. -->"


def _paper(*names: str) -> dict[str, Any]:
    """Parts of a paper, which a config names as it names a user's own."""
    return {f"{hu_pang.__name__}:{name}": getattr(hu_pang, name) for name in names}


BORROWED = {DDPMNet: Options, UNet2D: Options, TrainConfig: Objective}
"""Whose docstring says what fields mean that a class shares with another."""

WORDS = {
    "AnEncoder": "mapping",
    "ASignal": "mapping",
    "Output": "str",
    "Where": "mapping",
}
"""How a reader of the page knows a type of the code."""

GIVEN = ("source",)
"""Arguments that the house gives, and no config."""

ATTACK = {
    "signal": (
        "mapping",
        "`None`",
        "what is read off the model, this attack's own: `dict(name=...)`; any takes "
        '`prompt=` beside it: `"own"` (default), `"null"`, or one of those below; or '
        "else",
    ),
    "signals": (
        "str or list",
        "`None`",
        "names from the section `signals`: the columns of them all, side by side.",
    ),
    "rule": (
        "mapping",
        '`dict(name="column")`',
        "what makes one membership score of them.",
    ),
    "knows": (
        "str",
        '`"none"`',
        'what the rule is fitted on: `"none"`, `"population"` (known non-members), '
        '`"split"` (known members as well) or `"shadows"` (other models).',
    ),
    "scheme": (
        "mapping",
        '`dict(name="held_out")`',
        "which images the rule is fitted on, and by which it is judged.",
    ),
    "shadows": (
        "str",
        '`""`',
        "which set of shadow models it knows, where there are several.",
    ),
}
"""Fields of an attack, which no dataclass declares."""

SECTIONS: dict[str, tuple[str, Any]] = {
    "title": ("the report's heading, a text.", None),
    "seed": ("of everything random but training, 0 ... 2**32 - 1. Default: 0.", None),
    "data": ("the images.", {**SOURCES, **_paper("ffhq", "drd")}),
    "split": ("who is a member, who is not, who is reference data.", SPLITS),
    "sde": ("the noising process.", SDES),
    "parameterisation": (
        "what the network's output means. Default: what the process's paper has.",
        PARAMETERISATIONS,
    ),
    "codec": (
        "the way from images to the network's input. Default: `affine`, with the "
        "process's published range; `name` may be left out.",
        CODECS,
    ),
    "network": ("the network.", NETWORKS),
    "conditioner": (
        "what the network is told of an image. Default: its class, where the network "
        "has `classes`.",
        CONDITIONERS,
    ),
    "train": ("how the target is trained.", TrainConfig),
    "target": (
        'where the target comes from. Default: `dict(name="trained")`. The sections '
        "`sde`, `network`, `parameterisation`, `codec`, `conditioner` and `train` may "
        "stand in it or beside it.",
        MODELS,
    ),
    "attacks": ("the attacks, by names that you choose.", ATTACK),
    "signals": (
        "signals by names that you choose, for attacks that share them: "
        "`dict(NAME=dict(name=..., ...))`.",
        None,
    ),
    "controls": (
        "what stands beside the attacks, a list of "
        + ", ".join(f'`"{name}"`' for name in sections.CONTROLS)
        + ". Default: the first two.",
        None,
    ),
    "sampler": (
        'how samples are drawn. Default: `dict(name="ancestral")`. Whichever it is, '
        "`guidance=7.5` guides it away from the model's answer to no condition "
        "(classifier-free); scores are never guided by it.",
        SAMPLERS,
    ),
    "quality": (
        "how the quality of samples is measured; without it, it is not.",
        plan.QualityConfig,
    ),
    "copies": ("what counts as a copy among the samples.", Copying),
    "shadows": (
        "models trained beside the target, for attacks that know them; without it, "
        "there are none. Several sets stand in it by name, each a mapping of these "
        "fields; an attack says which it knows.",
        Shadows,
    ),
    "engine": ("how to compute, never what.", Engine),
    "report": ("what the report shows.", plan.ReportConfig),
}
"""Section of an audit's config -> what it is, and its part or its family of parts."""

PARTS = {
    "attacks": (
        (
            "Signals: `attacks.NAME.signal`",
            "signal",
            {**SIGNALS, **_paper("PublishedLoss", "PublishedLikelihood")},
        ),
        ("Prompts: `attacks.NAME.signal.prompt`", "prompt", PROMPTS),
        ("Rules: `attacks.NAME.rule`", "rule", {**RULES, **HEADS}),
        ("Tests of whole sets: `attacks.NAME.rule`", "rule", SETS),
        ("Schemes: `attacks.NAME.scheme`", "scheme", SCHEMES),
    ),
    "train": (("`train.dp`: private training", "dp", Privacy),),
    "quality": (("`quality.encoder`", "encoder", ENCODERS),),
}
"""Section -> the parts within its fields."""


def config_page() -> str:
    """docs/config.md."""
    lines = [
        MADE,
        "# Config reference",
        "",
        'A config is a Python file whose `get_config(arg="")` returns a `ConfigDict` '
        "or a `dict` of the sections below; `configs/quickstart.py` is one. Where a "
        "section has a `name`, it says which part is built, and the other fields are "
        'that part\'s; `"my_package.mine:MyPart"` names one of your own '
        "([extend.md](extend.md)).",
        "",
        "Every field is a flag as well, written in the file or not: "
        "`--config.train.steps=4000`, `--config.report.samples=8`.",
        "",
        "| section | |",
        "|---|---|",
    ]
    for name in (*sections.REQUIRED, *sections.OPTIONAL):
        needed = " **Required.**" if name in sections.REQUIRED else ""
        lines.append(f"| [`{name}`](#{name}) | {SECTIONS[name][0]}{needed} |")
    for name in (*sections.REQUIRED, *sections.OPTIONAL):
        about, part = SECTIONS[name]
        lines += ["", f"## {name}", "", _capital(about)]
        lines += _part(part, f"{name}")
        for heading, field, inner in PARTS.get(name, ()):
            lines += ["", f"### {heading}", *_part(inner, field)]
    lines += [
        "",
        "## A study",
        "",
        f"The sections of a study's config are {_listed(STUDY)}: a heading, configs of "
        "audits by name, how exhibits call them, and the exhibits "
        "([studies.md](studies.md)).",
        *_part(EXHIBITS, "exhibit"),
        *_sanitisation(),
    ]
    return "\n".join(lines) + "\n"


SANITISATION: dict[str, tuple[str, Any]] = {
    "title": ("a heading, a text.", None),
    "seed": ("of parts, classifiers and drawn pairs. Default: 0.", None),
    "data": ("the images of both pools, as in an audit ([data](#data)).", None),
    "members": ("the pool of members.", Pool),
    "nonmembers": ("the pool of candidates for non-members; the same fields.", None),
    "encoder": (
        "by whose features images are compared, one of [those of `quality`](#quality). "
        'Default: `dict(name="efficientnet_lite0")`.',
        None,
    ),
    "duplicates": (
        "which candidates are near-duplicates.",
        sanitising.DuplicatesConfig,
    ),
    "rounds": ("how the pools are made alike.", sanitising.RoundsConfig),
    "report": ("what is written beside the lists.", sanitising.SanitisedReport),
}
"""Section of a sanitisation's config -> what it is, and its part."""


def _sanitisation() -> list[str]:
    lines = [
        "",
        "## A sanitisation",
        "",
        "`score-mia sanitise` takes a config of its own ([sanitise.md](sanitise.md)).",
    ]
    for name in (*sanitising.REQUIRED, *sanitising.OPTIONAL):
        about, part = SANITISATION[name]
        needed = " **Required.**" if name in sanitising.REQUIRED else ""
        lines += ["", f"### Sanitisation: `{name}`", "", f"{_capital(about)}{needed}"]
        lines += _part(part, name)
        if part is Pool:
            lines += ["", "A condition, `where=dict(COLUMN=dict(...))`:"]
            lines += _part(Condition, "where")
        if name == "rounds":
            lines += ["", "Classifiers, `classifiers=[NAME, dict(name=...), ...]`:"]
            lines += _part(CLASSIFIERS, "classifier")
    return lines


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def api_page() -> str:
    """docs/api.md."""
    lines = [
        MADE,
        "# Python interface",
        "",
        "What `import score_mia` gives. Nothing heavy is imported before it is used.",
    ]
    for name in sorted(score_mia.__all__, key=str.lower):
        part = getattr(score_mia, name)
        lines += ["", f"## `{name}`", "", *_described(name, part)]
        if isinstance(part, type):
            for method, function in _methods(part):
                lines += [
                    "",
                    f"### `{name}.{method}`",
                    "",
                    *_described(method, function),
                ]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {"config.md": config_page, "api.md": api_page}


def meanings(part: Any) -> dict[str, str]:
    """Field -> what it means, by the docstrings of a part and of its bases."""
    found: dict[str, str] = {}
    sources = (
        [
            *map(BORROWED.get, inspect.getmro(part)),
            *reversed(inspect.getmro(part)),
        ]
        if isinstance(part, type)
        else [part]
    )
    for source in sources:
        if source is not None:
            for names, text in _entries(source.__doc__ or ""):
                for name in names:
                    if name not in found or not text.startswith("see `"):
                        found[name] = text
    return found


def fields(part: Any) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and meaning of what a config can say of a part."""
    about = meanings(part)
    if dataclasses.is_dataclass(part):
        declared = {f.name: (f.type, _default(f)) for f in dataclasses.fields(part)}
    else:
        declared = {
            p.name: (p.annotation, p.default)
            for p in inspect.signature(part).parameters.values()
        }
    for name in parameters(part):
        if name not in GIVEN:
            kind, default = declared[name]
            missing = default is inspect.Parameter.empty
            shown = "**required**" if missing else f"`{_literal(default)}`"
            kind = kind if isinstance(kind, str) else getattr(kind, "__name__", kind)
            yield name, f"`{WORDS.get(kind, kind)}`", shown, about.get(name, "")


def _part(part: Any, field: str) -> list[str]:
    """One part's table, or those of a family, each under its name."""
    if part is None:
        return []
    if part is ATTACK:
        return _table(
            (n, f"`{k}`", d or "**required**", t) for n, (k, d, t) in part.items()
        )
    if not isinstance(part, Mapping):
        return _table(fields(part))
    lines = []
    for name, one in part.items():
        rows = list(fields(one))
        summary = _summary(one)
        lines += ["", f'**`{field}=dict(name="{name}")`**: {summary}']
        lines += _table(rows) if rows else []
    return lines


def _table(rows: Any) -> list[str]:
    head = ["", "| field | type | default | |", "|---|---|---|---|"]
    cells = (
        [f"`{n}`", k.replace("|", "\\|"), d.replace("|", "\\|"), t]
        for n, k, d, t in rows
    )
    return [*head, *(f"| {' | '.join(c)} |" for c in cells)]


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty


def _literal(value: Any) -> str:
    """A default as a config would say it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Encoder):
        return f'dict(name="{value.name}")'
    if dataclasses.is_dataclass(value):
        return "dict()"
    return repr(value).replace("'", '"')


def _summary(part: Any) -> str:
    """The first paragraph of a docstring."""
    text = inspect.cleandoc(part.__doc__ or "").split("\n\n")[0]
    return _safe(" ".join(text.split()))


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _entries(doc: str) -> Iterator[tuple[list[str], str]]:
    """Names and text of every entry of the `Attributes:` or `Args:` of a docstring."""
    block = re.search(
        r"^(?:Attributes|Args):\n((?:[ ]+.*\n|\n)*)", inspect.cleandoc(doc) + "\n", re.M
    )
    if block is None:
        return
    for entry in re.split(r"\n(?=  \S)", block[1].rstrip()):
        names, colon, text = entry.strip().partition(":")
        if colon:
            yield [n.strip() for n in names.split(",")], _safe(" ".join(text.split()))


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _described(name: str, part: Any) -> list[str]:
    """Signature and docstring."""
    doc = inspect.cleandoc(part.__doc__ or "")
    doc = re.sub(r"^(\w+):$", r"**\1**\n", doc, flags=re.M)  # Args:, Returns:, Raises:
    doc = re.sub(r"^  (\S[^:\n]*): ", r"- `\1`: ", doc, flags=re.M)
    return ["```", f"{name}{_signature(part)}", "```", "", doc]


def _signature(part: Any) -> str:
    """As written, one argument a line where it is long."""
    if isinstance(part, property) or not callable(part):
        return ""
    try:
        signature = inspect.signature(part)
    except (TypeError, ValueError):
        return "(...)"
    arguments = []
    for parameter in signature.parameters.values():
        text = str(parameter.replace(annotation=parameter.empty))
        if parameter.annotation is not parameter.empty:
            name, equals, default = text.partition("=")
            text = f"{name}: {parameter.annotation}" + (equals and f" = {default}")
        arguments.append(text)
    keywords = [p.kind is p.KEYWORD_ONLY for p in signature.parameters.values()]
    if True in keywords:
        arguments.insert(keywords.index(True), "*")
    result = "" if isinstance(part, type) else f" -> {signature.return_annotation}"
    text = f"({', '.join(arguments)}){result}"
    if len(text) <= 70:
        return text
    inner = "".join(f"    {argument},\n" for argument in arguments)
    return f"(\n{inner}){result}"


def _methods(part: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class itself documents."""
    for name, member in vars(part).items():
        function = getattr(member, "__func__", member)
        told = inspect.isfunction(function) or isinstance(member, property)
        if told and not name.startswith("_") and member.__doc__:
            yield name, function


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
        print(HERE / name)


if __name__ == "__main__":
    main()
