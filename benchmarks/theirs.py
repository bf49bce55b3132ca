"""The authors' side of beside.py: their modules, imported from their checkout."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.utils.cpp_extension
from worker import Call, serve

PEER = sys.argv[1]
sys.path.insert(0, PEER)
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "golden"))
torch.utils.cpp_extension.load = lambda *args, **kwargs: None  # no CUDA here


def network(case: dict[str, Any]) -> torch.nn.Module:
    from derive_networks import DDPM, configuration, network_class

    fields = case["network"]
    model = network_class("ddpm")(
        configuration(
            {
                **DDPM,
                "dropout": 0.0,
                "nf": fields["features"],
                "ch_mult": tuple(fields["multipliers"]),
                "num_res_blocks": fields["blocks"],
                "attn_resolutions": tuple(fields["attention"]),
                "image_size": case["shape"][0],
                "channels": case["shape"][2],
                "num_scales": 1000,
            }
        )
    )
    return model.eval()


def forward(case: dict[str, Any]) -> dict[str, Call]:
    model = network(case)
    height, width, channels = case["shape"]
    x = torch.randn(case["batch"], channels, height, width)
    label = torch.full((case["batch"],), 3)

    def timed(layout: torch.memory_format) -> Call:
        def call() -> tuple[int, dict[str, Any]]:
            with torch.inference_mode():
                model.to(memory_format=layout)(x.to(memory_format=layout), label)
            return case["batch"], {}

        return call

    return {
        "": timed(torch.contiguous_format),
        " channels_last": timed(torch.channels_last),
    }


def sweep(case: dict[str, Any]) -> dict[str, Call]:
    import loss_attack

    model = network(case)
    height, width, channels = case["shape"]
    image = 2 * torch.rand(1, channels, height, width) - 1

    def call() -> tuple[int, dict[str, Any]]:
        loss_attack.get_loss_ddpm({"model": model}, image)
        return 1, {}

    return {"": call}


def likelihood(case: dict[str, Any]) -> dict[str, Call]:
    # Their module imports scipy, their models, and nothing else that is used here.
    from likelihood import get_likelihood_fn
    from sde_lib import VPSDE

    model = network(case)
    state = model.state_dict()
    with np.load(f"{case['scratch']}/weights.npz") as weights:
        loaded = {k: torch.from_numpy(weights[k].copy()) for k in weights}
    model.load_state_dict({**state, **loaded})
    images = np.load(f"{case['scratch']}/images.npz")["images"]
    sde = VPSDE(beta_min=0.1, beta_max=20.0, N=1000)
    likelihood_fn = get_likelihood_fn(
        sde, lambda x: (x + 1.0) / 2.0, continuous=case["sde"] == "vp"
    )

    def call() -> tuple[int, dict[str, Any]]:
        facts: dict[str, Any] = {"evaluations": 0.0, "bits_per_dim": []}
        image = torch.from_numpy(images[:1].transpose(0, 3, 1, 2).copy())
        bits, _, evaluations = likelihood_fn(model, image * 2.0 - 1.0)
        facts["evaluations"] = float(evaluations)
        facts["bits_per_dim"] = [round(float(bits[0]), 4)]
        return 1, facts

    return {"": call}


def train_step(case: dict[str, Any]) -> dict[str, Call]:
    """Loss, gradient, clipping, Adam and moving average, in torch's own fast forms."""
    height, width, channels = case["shape"]
    data = 2 * torch.rand(256, channels, height, width) - 1
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)

    def timed(layout: torch.memory_format) -> Call:
        model = network(case).train().to(memory_format=layout)
        weights = [p for p in model.parameters() if p.requires_grad]
        average = [p.detach().clone() for p in weights]
        adam = torch.optim.Adam(weights, lr=2e-4)

        def call() -> tuple[int, dict[str, Any]]:
            x = data[torch.randint(len(data), (case["batch"],))]
            t, noise = torch.randint(1000, (len(x),)), torch.randn_like(x)
            share = kept[t][:, None, None, None]
            noisy = share.sqrt() * x + (1 - share).sqrt() * noise
            found = model(noisy.to(memory_format=layout), t)
            adam.zero_grad()
            (found - noise).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            adam.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, weights, 1e-4)
            return len(x), {}

        return call

    return {
        "": timed(torch.contiguous_format),
        " channels_last": timed(torch.channels_last),
    }


KINDS = {f.__name__: f for f in (forward, sweep, likelihood, train_step)}
"""Of cases -> what makes the calls of one, compiled."""


if __name__ == "__main__":
    sys.modules.setdefault("datasets", types.ModuleType("datasets"))
    serve(KINDS)
