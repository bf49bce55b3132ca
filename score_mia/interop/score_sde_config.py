"""From a configuration of score_sde or MIDM to a specification of ours, as data.

Their configurations are Python modules, which are never imported here. Where their code
runs, `json.dumps(get_config().to_dict(), default=str)` writes one as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from score_mia.check import UserError, one_of, refusing, require

_COMMON = {
    **{"nf": "features", "ch_mult": "multipliers", "num_res_blocks": "blocks"},
    **{"resamp_with_conv": "resample_with_conv", "num_scales": "sigma_steps"},
    **{same: same for same in ("dropout", "conditional", "nonlinearity")},
    **{same: same for same in ("scale_by_sigma", "sigma_min", "sigma_max")},
}
_NCSNPP = {
    **{"resblock_type": "block", "embedding_type": "embedding"},
    **{same: same for same in ("progressive", "progressive_input", "fourier_scale")},
    **{same: same for same in ("progressive_combine", "skip_rescale", "init_scale")},
    **{same: same for same in ("fir", "fir_kernel")},
}
_LOWERED = (
    *("nonlinearity", "resblock_type", "progressive", "progressive_input"),
    *("progressive_combine", "embedding_type"),
)

_REMEDY = "give what get_config().to_dict() says"


def from_score_sde_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The specification (`spec.parts`) of a model of score_sde's configuration.

    Args:
      config: {"model": {...}, "data": {...}, "training": {...}} as theirs has them;
        other sections may be there.

    What becomes of it:

    | theirs | ours |
    |---|---|
    | training.sde "vpsde", training.continuous False | `ddpm`, told the step |
    | "vpsde", continuous True | `vp`, told 999 t |
    | "subvpsde" | `sub_vp`, told 999 t |
    | "vesde", continuous False | `smld`, told steps - 1 - t, predicts the score |
    | "vesde", continuous True | `ve`, told sigma, predicts the score |
    | data.centered | images in [-1, 1] if True, else in [0, 1] |
    | model.name "ddpm", "ncsnpp" | the network of the same name |

    Raises:
      UserError: a field is missing, unknown or of another type, or the model is of a
        kind that has no counterpart here (named).
    """
    problem = "score_sde configuration: a field has a value of another type"
    with refusing(problem, _REMEDY, TypeError, AttributeError, ValueError):
        return _mapped(config)


def _mapped(config: Mapping[str, Any]) -> dict[str, Any]:
    model, data, training = (
        _section(config, name) for name in ("model", "data", "training")
    )
    sizes = (_field(data, "data", n) for n in ("image_size", "num_channels"))
    side, channels = (int(n) for n in sizes)
    centred = bool(_field(data, "data", "centered"))
    sde, parameterisation = _process(model, training)
    network = _network(model, side)
    table = network["scale_by_sigma"] and network.get("embedding") != "fourier"
    ok = not (table and bool(training["continuous"]))
    problem = "looks a continuous label up in a table of noise levels"
    remedy = "such a model has no counterpart here"
    require(ok, "model.scale_by_sigma=True", problem, remedy)
    return {
        "network": {**network, "centered": centred},
        "sde": sde,
        "parameterisation": parameterisation,
        "codec": {"low": -1.0 if centred else 0.0, "high": 1.0},
        "shape": [side, side, channels],
    }


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    if not isinstance(section, Mapping):
        problem = f"score_sde configuration: it has no section {name!r}"
        raise UserError(f"{problem}; {_REMEDY}")
    return section


def _field(section: Mapping[str, Any], path: str, name: str) -> Any:
    if name not in section:
        problem = f"score_sde configuration: {path}.{name} is missing"
        raise UserError(f"{problem}; {_REMEDY}")
    value = section[name]
    return value.lower() if name in _LOWERED else value


def _process(
    model: Mapping[str, Any], training: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The noising process, and what the network says in it."""
    kind = str(_field(training, "training", "sde")).lower()
    one_of("training.sde", kind, ("vpsde", "subvpsde", "vesde"))
    continuous = bool(_field(training, "training", "continuous"))
    steps = int(_field(model, "model", "num_scales"))
    names = ("sigma_min", "sigma_max") if kind == "vesde" else ("beta_min", "beta_max")
    ends = {name: float(_field(model, "model", name)) for name in names}
    if kind == "vesde" and continuous:
        return {"name": "ve", **ends}, {"name": "score", "label": "std"}
    if kind == "vesde":
        reversed_time = {"scale": -1.0, "offset": steps - 1.0}
        return (
            {"name": "smld", **ends, "steps": steps},
            {"name": "score", **reversed_time},
        )
    if kind == "vpsde" and not continuous:
        return {"name": "ddpm", **ends, "steps": steps}, {"name": "noise"}
    name = "vp" if kind == "vpsde" else "sub_vp"
    return {"name": name, **ends}, {"name": "noise", "scale": 999.0}


def _network(model: Mapping[str, Any], side: int) -> dict[str, Any]:
    name = _field(model, "model", "name")
    one_of("model.name", name, ("ddpm", "ncsnpp"))
    known = _COMMON if name == "ddpm" else {**_COMMON, **_NCSNPP}
    normalisation = model.get("normalization", "GroupNorm")
    ok = normalisation == "GroupNorm"
    problem = "has no counterpart here"
    require(ok, f"model.normalization={normalisation!r}", problem, "only GroupNorm has")
    fields = {ours: _field(model, "model", theirs) for theirs, ours in known.items()}
    # A resolution that no level has is passed over there, and a mistake here.
    levels = {side >> i for i in range(len(fields["multipliers"]))}
    wanted = _field(model, "model", "attn_resolutions")
    attention = [int(r) for r in wanted if int(r) in levels]
    for tuple_field in ("multipliers", "fir_kernel"):
        if tuple_field in fields:
            fields[tuple_field] = list(fields[tuple_field])
    return {"name": name, **fields, "attention": attention}
