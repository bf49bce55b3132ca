"""Derive models/pytorch_ddpm.npz: outputs of pytorch-ddpm's U-Net, restated for torch.

Run with torch 2.13.0 (CPU), from the repository's root:

    python tests/golden/derive/pytorch_ddpm.py

The file holds names and shapes of the state dict, from which `weights` makes it anew
(NumPy's RandomState never changes its numbers), x, the steps and the outputs.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

T, CH, MULT, ATTEND, BLOCKS = 100, 32, (1, 2), (1,), 1
STEPS = (0, 3, 50, 99)


def weights(shapes: dict[str, list[int]], seed: int = 5) -> dict[str, np.ndarray]:
    """The state dict of these names and shapes; the table of the steps included."""
    draws = np.random.RandomState(seed)
    state = {}
    for name, shape in shapes.items():
        fan = max(1, math.prod(shape[1:]))
        value = draws.standard_normal(shape) * (fan**-0.5 if len(shape) > 1 else 0.3)
        if name.endswith("weight") and len(shape) == 1:
            value = 1.0 + value  # of a normalisation
        if name.endswith("timembedding.0.weight"):
            rates = np.exp(-math.log(10_000) * np.arange(0, shape[1], 2) / shape[1])
            angle = np.arange(shape[0])[:, None] * rates
            value = np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(shape)
        state[name] = value.astype(np.float32)
    return state


def main() -> None:
    """Write the file."""
    import torch
    import torch.nn.functional as f
    from torch import nn

    torch.set_num_threads(1)

    class Attend(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.group_norm = nn.GroupNorm(32, width)
            for name in ("proj_q", "proj_k", "proj_v", "proj"):
                setattr(self, name, nn.Conv2d(width, width, 1))

        def forward(self, x):
            h = self.group_norm(x)
            q, k, v = (m(h).flatten(2) for m in (self.proj_q, self.proj_k, self.proj_v))
            mix = torch.softmax(q.mT @ k / math.sqrt(q.shape[1]), dim=-1)
            return x + self.proj((v @ mix.mT).reshape(x.shape))

    class Res(nn.Module):
        def __init__(self, a, b, attend):
            super().__init__()
            conv = nn.Conv2d(a, b, 3, padding=1)
            self.block1 = nn.Sequential(nn.GroupNorm(32, a), nn.SiLU(), conv)
            self.temb_proj = nn.Sequential(nn.SiLU(), nn.Linear(4 * CH, b))
            conv = nn.Conv2d(b, b, 3, padding=1)
            layers = (nn.GroupNorm(32, b), nn.SiLU(), nn.Dropout(0.1), conv)
            self.block2 = nn.Sequential(*layers)
            self.shortcut = nn.Conv2d(a, b, 1) if a != b else nn.Identity()
            self.attn = Attend(b) if attend else nn.Identity()

        def forward(self, x, told):
            h = self.block1(x) + self.temb_proj(told)[:, :, None, None]
            return self.attn(self.block2(h) + self.shortcut(x))

    class Change(nn.Module):
        def __init__(self, width, stride):
            super().__init__()
            self.main = nn.Conv2d(width, width, 3, stride, padding=1)
            self.up = stride == 1

        def forward(self, x, _):
            return self.main(f.interpolate(x, scale_factor=2) if self.up else x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            table = nn.Embedding(T, CH)
            layers = (
                table,
                nn.Linear(CH, 4 * CH),
                nn.SiLU(),
                nn.Linear(4 * CH, 4 * CH),
            )
            self.time_embedding = nn.Module()
            self.time_embedding.timembedding = nn.Sequential(*layers)
            self.head = nn.Conv2d(3, CH, 3, padding=1)
            downs, ups, width, widths = [], [], CH, [CH]
            for level, mult in enumerate(MULT):
                for _ in range(BLOCKS):
                    downs.append(Res(width, CH * mult, level in ATTEND))
                    width = CH * mult
                    widths.append(width)
                if level < len(MULT) - 1:
                    downs.append(Change(width, 2))
                    widths.append(width)
            self.downblocks = nn.ModuleList(downs)
            middle = [Res(width, width, True), Res(width, width, False)]
            self.middleblocks = nn.ModuleList(middle)
            for level in reversed(range(len(MULT))):
                for _ in range(BLOCKS + 1):
                    out = CH * MULT[level]
                    ups.append(Res(widths.pop() + width, out, level in ATTEND))
                    width = out
                if level > 0:
                    ups.append(Change(width, 1))
            self.upblocks = nn.ModuleList(ups)
            conv = nn.Conv2d(width, 3, 3, padding=1)
            self.tail = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), conv)

        def forward(self, x, t):
            told = self.time_embedding.timembedding(t)
            h = self.head(x)
            skips = [h]
            for layer in self.downblocks:
                h = layer(h, told)
                skips.append(h)
            for layer in self.middleblocks:
                h = layer(h, told)
            for layer in self.upblocks:
                if isinstance(layer, Res):
                    h = torch.cat([h, skips.pop()], dim=1)
                h = layer(h, told)
            return self.tail(h)

    net = Net().eval()
    shapes = {k: list(v.shape) for k, v in net.state_dict().items()}
    state = {k: torch.from_numpy(v) for k, v in weights(shapes).items()}
    net.load_state_dict(state)
    x = np.random.RandomState(6).standard_normal((len(STEPS), 3, 8, 8))
    x = x.astype(np.float32)
    with torch.no_grad():
        y = net(torch.from_numpy(x), torch.tensor(STEPS)).numpy()
    np.savez_compressed(
        Path(__file__).parents[1] / "models" / "pytorch_ddpm.npz",
        **{"shapes": json.dumps(shapes), "x": x, "steps": np.asarray(STEPS), "y": y},
    )


if __name__ == "__main__":
    main()
