"""metrics.json: typed values there and back, version 1, and the shipped schema."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path

import pytest

import score_mia
from score_mia import results
from score_mia.check import UserError
from score_mia.files import load_json, save_sealed
from score_mia.results import (
    UNKNOWN,
    AttackResult,
    AuditResult,
    Distance,
    Estimate,
    GridError,
    Timings,
)
from score_mia.typed import from_json, to_json
from tests.report.example import CONTROLS, attack, controls, metrics_of
from tests.report.test_privacy import content

ROOT = Path(__file__).parents[1]
SCHEMA = Path(score_mia.__file__).parent / "results.schema.json"
FIRST = sorted((ROOT / "tests" / "golden" / "audits").glob("*/metrics.json"))
KEPT = [
    path
    for path in sorted((ROOT / "docs" / "results").glob("*/*/metrics.json"))
    if json.loads(path.read_text())["schema"] == 1
]


def examples():
    """Results that have every field there is."""
    one = metrics_of([attack()], controls=controls(**CONTROLS))
    failed = AttackResult("samples", failed="oh")
    test = AttackResult(kind="set", p_value=0.01, share=Estimate(0.2, 0.1, 0.3))
    yield dataclasses.replace(one, attacks={"z": test, "a": failed, **one.attacks})
    yield content().result
    yield from (AuditResult.load(p.parent) for p in FIRST)


@pytest.mark.parametrize("result", [*examples()])
def test_what_is_saved_is_what_is_loaded(tmp_path, result):
    result.save(tmp_path)
    back = AuditResult.load(tmp_path)
    assert back == result
    assert back.timings == result.timings
    assert list(back.attacks) == list(result.attacks)
    first = (tmp_path / "metrics.json").read_bytes()
    slower = Timings({"loss": 9.0}, 3.0, ("1 x abacus",))
    dataclasses.replace(result, timings=slower).save(tmp_path)
    assert (tmp_path / "metrics.json").read_bytes() == first


@pytest.mark.parametrize("path", KEPT, ids=lambda p: p.parent.name)
def test_every_kept_result_of_version_1_has_its_numbers(path):
    old = json.loads(path.read_text())
    result = AuditResult.load(path.parent, sealed="seal" in old)
    for name, entry in old["attacks"].items():
        now = result.attacks[name]
        assert now.auc == Estimate(**entry["auc"])
        assert now.tpr_at_zero_fp == Estimate(**entry["tpr_at_zero_fp"])
        assert {f"{r:g}": e.value for r, e in now.tpr_at_fpr.items()} == {
            r: e["value"] for r, e in entry["tpr_at_fpr"].items()
        }
        assert (now.members, now.nonmembers) == (
            *(entry["n_members"], entry["n_nonmembers"]),
        )
        assert result.timings.seconds[name] == entry["cost"]["seconds"]
    assert result.target.digest == old["target"]["digest"]


def test_nothing_that_is_not_finite_is_written(tmp_path):
    one = attack()
    error = GridError(float("nan"), 1.0, 3)
    bad = dataclasses.replace(one.result, accuracy=error)
    result = dataclasses.replace(metrics_of([one]), attacks={"loss": bad})
    with pytest.raises(UserError, match=r"attacks\.loss\.accuracy\.mean=nan"):
        result.save(tmp_path)
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("attacks", "loss", "auc", "value"), "0.5", "attacks.loss.auc.value is '0.5'"),
        (("attacks", "loss", "members"), 1.5, "attacks.loss.members is 1.5"),
        (("attacks", "loss", "kind"), "row", "attacks.loss.kind is 'row'"),
        (("split", "members"), True, "split.members is True"),
        (("attacks",), [1], "attacks is [1]"),
        (("schema",), 3, "is of version 3"),
    ],
)
def test_a_wrong_value_is_told_by_its_place(tmp_path, place, value, said):
    metrics_of([attack()]).save(tmp_path)
    path = tmp_path / "metrics.json"
    record = load_json(path)
    *inner, last = place
    part = record
    for key in inner:
        part = part[key]
    part[last] = value
    save_sealed(path, record)
    with pytest.raises(UserError) as caught:
        AuditResult.load(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tuples_have_their_length_and_missing_fields_are_named():
    with pytest.raises(UserError, match=r"d is damaged: n is \[1\]"):
        from_json(Distance, {"value": 1, "low": None, "high": None, "n": [1]}, "d")
    with pytest.raises(UserError, match="it has no low"):
        from_json(Estimate, {"value": 1, "high": None}, "e")
    assert to_json(UNKNOWN)["value"] is None
    assert not UNKNOWN.known


# --- the schema ----------------------------------------------------------------------


def schema_of(hint) -> dict:
    """The JSON Schema of a type, from its annotations."""
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    plain = {float: "number", int: "integer", str: "string", type(None): "null"}
    if hint in plain:
        return {"type": plain[hint]}
    if hint is bool:
        return {"type": "boolean"}
    if hint is typing.Any:
        return {}
    if origin is typing.Literal:
        return {"enum": list(of)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [schema_of(one) for one in of]}
    if dataclasses.is_dataclass(hint):
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if origin is tuple and of[-1] is not Ellipsis:
        items = [schema_of(one) for one in of]
        return {"type": "array", "prefixItems": items, "minItems": len(items)}
    if origin is tuple:
        return {"type": "array", "items": schema_of(of[0])}
    return {"type": "object", "additionalProperties": schema_of(of[1])}


def whole_schema() -> dict:
    """What results.schema.json has to be; run this file as a module to write it."""
    kinds = [
        kind
        for kind in vars(results).values()
        if isinstance(kind, type)
        and dataclasses.is_dataclass(kind)
        and kind.__module__.startswith("score_mia.")
    ]
    parts = {}
    for kind in kinds:
        hints = typing.get_type_hints(kind)
        fields = [f for f in dataclasses.fields(kind) if f.name != "timings"]
        missing = dataclasses.MISSING
        parts[kind.__name__] = {
            "type": "object",
            "properties": {f.name: schema_of(hints[f.name]) for f in fields},
            "required": [
                f.name
                for f in fields
                if f.default is missing and f.default_factory is missing
            ],
        }
    top = parts["AuditResult"]
    top["properties"] |= {
        "schema": {"const": results.SCHEMA},
        "seal": {"type": "string"},
        "order": {"type": "array", "items": {"type": "string"}},
    }
    top["required"] = ["schema", "seal", "attacks"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "metrics.json of score_mia, version 2",
        "$ref": "#/$defs/AuditResult",
        "$defs": parts,
    }


def fits(value, schema, whole) -> bool:
    """An independent walk: whether a JSON value is as a schema of this kind says."""
    if "$ref" in schema:
        return fits(value, whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return any(fits(value, one, whole) for one in schema["anyOf"])
    if "const" in schema:
        return value == schema["const"]
    if "enum" in schema:
        return value in schema["enum"]
    kind = schema.get("type")
    if kind == "object":
        named = schema.get("properties", {})
        other = schema.get("additionalProperties", {})
        return (
            isinstance(value, dict)
            and set(schema.get("required", ())) <= set(value)
            and all(fits(v, named.get(k, other), whole) for k, v in value.items())
        )
    if kind == "array":
        parts = schema.get("prefixItems") or [schema.get("items", {})] * len(value)
        return (
            isinstance(value, list)
            and len(parts) == len(value)
            and all(fits(v, p, whole) for v, p in zip(value, parts, strict=True))
        )
    kinds = {"number": (int, float), "integer": int, "string": str, "boolean": bool}
    if kind == "null":
        return value is None
    if kind is None:
        return True
    return isinstance(value, kinds[kind]) and (
        kind == "boolean" or not isinstance(value, bool)
    )


def test_the_schema_is_that_of_the_types():
    assert json.loads(SCHEMA.read_text()) == whole_schema()


@pytest.mark.parametrize("result", [*examples()])
def test_what_is_saved_fits_the_schema(tmp_path, result):
    result.save(tmp_path)
    record, whole = load_json(tmp_path / "metrics.json"), whole_schema()
    assert fits(record, whole, whole)
    for name, entry in record["attacks"].items():
        for spoilt in ({**entry, "members": "12"}, {**entry, "auc": {"value": 1}}):
            spoilt = {**record, "attacks": {name: spoilt}}
            assert not fits(spoilt, whole, whole)


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(whole_schema(), indent=1) + "\n")
