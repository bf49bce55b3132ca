"""Derives encoders_*.npz and metrics_image.npz from independent implementations.

Run in an environment with torch, torchvision, torch-fidelity, tqdm and numpy:

    python tests/golden/derive_encoders.py [PATH_TO_efficientnet-lite0-57934424.pth]

torch-fidelity has FID's Inception with TensorFlow's way of resizing, and KID and FID
from features; torchvision's Inception becomes FID's by the two changes below; the
EfficientNet-Lite0 is written here from its paper. A file holds no weights: names and
shapes of the state dict, from which `weights` makes them anew (NumPy's RandomState
never changes its numbers), and the outputs.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
EFFICIENTNET_SIZE = 64


def weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """A random state dict: every activation stays of order one."""
    out = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            continue
        random = np.random.RandomState(zlib.crc32(name.encode()))
        if name.endswith("running_var"):
            values = random.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            offset = 1.0 if name.endswith("weight") else 0.0
            values = offset + 0.1 * random.standard_normal(shape)
        else:
            values = random.standard_normal(shape)
            values *= math.sqrt(2 / math.prod(shape[1:]))
        out[name] = values.astype(np.float32)
    return out


def images() -> np.ndarray:
    """Two pictures uint8 [2, 20, 28, 3]: blotches, not white noise."""
    random = np.random.RandomState(0)
    coarse = random.uniform(0, 255, (2, 5, 7, 3))
    fine = np.kron(coarse, np.ones((1, 4, 4, 1)))
    return np.clip(fine + random.normal(0, 20, fine.shape), 0, 255).astype(np.uint8)


def feature_sets() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [60, 12], [60, 12] and [9, 12]: the last fewer than columns."""
    random = np.random.RandomState(1)
    mixing = random.standard_normal((12, 12)) / 3
    a = np.maximum(random.standard_normal((60, 12)) @ mixing, 0)
    b = np.maximum(random.standard_normal((60, 12)) @ mixing + 0.3, 0)
    return a, b, b[:9]


def save(name: str, shapes: dict[str, list[int]], **arrays: np.ndarray) -> None:
    about = np.array(json.dumps(shapes))
    np.savez_compressed(HERE / f"{name}.npz", shapes=about, **arrays)


def shapes_of(module) -> dict[str, list[int]]:
    return {k: list(v.shape) for k, v in module.state_dict().items()}


def load(module, state: dict[str, np.ndarray]):
    import torch

    state = {k: torch.from_numpy(v) for k, v in state.items()}
    missing, odd = module.load_state_dict(state, strict=False)
    assert not odd
    assert all(k.endswith("num_batches_tracked") for k in missing), missing
    return module.eval()


def inception() -> None:
    import torch
    import torch.nn.functional as F
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchvision.models import inception as theirs

    net = theirs.Inception3(1008, aux_logits=False, init_weights=False)
    shapes = shapes_of(net)
    state = weights(shapes)
    load(net, state)
    net.fc = torch.nn.Identity()
    x = torch.from_numpy(images()).permute(0, 3, 1, 2)

    # FID's first departure: averages leave the padding out.
    average = F.avg_pool2d
    F.avg_pool2d = lambda x, **how: average(x, count_include_pad=False, **how)
    # Its second: the last mixed layer pools by the maximum.
    last = net.Mixed_7c.forward

    def with_maximum(x):
        whole, F.avg_pool2d = F.avg_pool2d, F.max_pool2d
        try:
            return last(x)
        finally:
            F.avg_pool2d = whole

    net.Mixed_7c.forward = with_maximum
    resized = F.interpolate(
        x.float() / 255, (299, 299), mode="bilinear", align_corners=False
    )
    with torch.no_grad():
        pytorch = net(2 * resized - 1)
    F.avg_pool2d = average

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/weights.pth"
        torch.save({k: torch.from_numpy(v) for k, v in state.items()}, path)
        extractor = FeatureExtractorInceptionV3(
            "random", ["2048"], feature_extractor_weights_path=path
        )
    with torch.no_grad():
        (tensorflow,) = extractor(x)
    print("inception", pytorch.abs().mean(), (pytorch - tensorflow).abs().mean())
    save(
        "encoders_inception",
        shapes,
        pytorch=pytorch.numpy(),
        tensorflow=tensorflow.numpy(),
    )


def efficientnet(path: str | None) -> None:
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Same(nn.Conv2d):
        """TensorFlow's SAME padding."""

        def forward(self, x):
            (k, _), (s, _) = self.kernel_size, self.stride
            h, w = (max((math.ceil(n / s) - 1) * s + k - n, 0) for n in x.shape[-2:])
            x = F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2))
            return super().forward(x)

    def norm(n):
        return nn.BatchNorm2d(n, eps=1e-3)

    class Block(nn.Module):
        def __init__(self, before, after, factor, kernel, stride):
            super().__init__()
            wide = before * factor
            if factor > 1:
                self._expand_conv = Same(before, wide, 1, bias=False)
                self._bn0 = norm(wide)
            self._depthwise_conv = Same(
                wide, wide, kernel, stride, groups=wide, bias=False
            )
            self._bn1 = norm(wide)
            self._project_conv = Same(wide, after, 1, bias=False)
            self._bn2 = norm(after)
            self.widens, self.skips = factor > 1, stride == 1 and before == after

        def forward(self, x):
            y = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
            y = F.relu6(self._bn1(self._depthwise_conv(y)))
            y = self._bn2(self._project_conv(y))
            return x + y if self.skips else y

    class Lite0(nn.Module):
        def __init__(self):
            super().__init__()
            self._conv_stem, self._bn0 = Same(3, 32, 3, 2, bias=False), norm(32)
            blocks, width = [], 32
            # Tan & Le 2019, Table 1: factor, channels, layers, stride, kernel.
            for factor, after, count, stride, kernel in (
                *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5)),
                *((6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5)),
                (6, 320, 1, 1, 3),
            ):
                for i in range(count):
                    first = i == 0
                    blocks.append(
                        Block(width, after, factor, kernel, stride if first else 1)
                    )
                    width = after
            self._blocks = nn.ModuleList(blocks)
            self._conv_head, self._bn1 = Same(320, 1280, 1, bias=False), norm(1280)

        def forward(self, x):
            x = F.relu6(self._bn0(self._conv_stem(x)))
            for block in self._blocks:
                x = block(x)
            return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    net = Lite0()
    shapes = shapes_of(net)
    x = torch.from_numpy(images()).permute(0, 3, 1, 2).float()
    size = (EFFICIENTNET_SIZE, EFFICIENTNET_SIZE)
    x = F.interpolate((x - 127) / 128, size, mode="bilinear", align_corners=False)
    with torch.no_grad():
        random = load(net, weights(shapes))(x).numpy()
        found = {"random": random}
        if path is not None:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = {k: v.numpy() for k, v in state.items() if not k.startswith("_fc")}
            found["trained"] = load(net, state)(x).numpy()
    print("efficientnet", {k: float(np.abs(v).mean()) for k, v in found.items()})
    save("encoders_efficientnet_lite0", shapes, **found)


def distances() -> None:
    import torch
    from torch_fidelity.metric_fid import (
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b, few = map(torch.from_numpy, feature_sets())
    kid = kid_features_to_metric(
        a, b, kid_subsets=1, kid_subset_size=len(a), verbose=False
    )

    def fid(one, two):
        laws = (fid_features_to_statistics(x) for x in (one, two))
        return fid_statistics_to_metric(*laws, verbose=False)[
            "frechet_inception_distance"
        ]

    found = {
        "kid": kid["kernel_inception_distance_mean"],
        "fid": fid(a, b),
        "fid_few": fid(a, few),
    }
    print(found)
    np.savez(HERE / "metrics_image.npz", **found)


def main() -> None:
    import torch

    # The compiled operators of torchvision's wheel need the CUDA build of torch; the
    # rest of it needs only their names.
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float limit) -> Tensor")
    inception()
    efficientnet(sys.argv[1] if len(sys.argv) > 1 else None)
    distances()


if __name__ == "__main__":
    main()
