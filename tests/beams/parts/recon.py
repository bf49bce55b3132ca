"""A reconstruction attack on a model behind HTTP (after Pang & Wang 2025, 2312.08207).

`Client` is the model: a `Generator` whose images come from a service, and whose
response log is what was read of it. `Recon` is the signal: whoever trained on an image
draws something like it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import io
import json
import os
import urllib.parse
from pathlib import Path
from time import sleep
from typing import ClassVar

import numpy as np
from PIL import Image

from score_mia.attacks import Columns, Reading
from score_mia.attacks.products import Drawn
from score_mia.check import UserError
from score_mia.files import json_digest, load_npz, save_npz


@dataclasses.dataclass(frozen=True)
class Recon:
    """Minus the distance between an image and what the model draws for its prompt.

    Attributes:
      draws: images drawn for each; the distances (RMSE) are averaged, and their least
        is a second column.
    """

    access: ClassVar[str] = "samples"
    draws: int = 3

    @property
    def needs(self):
        """The images: whoever compares them otherwise has them drawn only once."""
        return (Drawn(self.draws),)

    def columns(self, model):
        return Columns(
            ("mean", "nearest"), diagnostics=("drawn",), title="Reconstruction"
        )

    def batch(self, model, queries, products):
        drawn = products[0]["images"].astype(np.float64) / 255
        error = np.mean((drawn - queries.images[:, None]) ** 2, axis=(2, 3, 4)) ** 0.5
        values = np.stack([-error.mean(axis=1), -error.min(axis=1)], axis=1)
        return Reading(values, np.full((len(drawn), 1), self.draws))


@dataclasses.dataclass(frozen=True)
class Client:
    """GET /draw?prompt=...&seed=... -> a PNG, asked once in a lifetime.

    Every answer is kept under its prompt and seed as soon as it is there, whole or not
    at all, so that a run that was killed asks for nothing twice.

    Attributes:
      address: "host:port".
      log: folder of the answers.
      shape: (h, w, c) of its images.
      interval: seconds before each request: at most so many are made.
      retries: how often a request is repeated that failed for the moment, after twice
        the time each, or when the service says (Retry-After).
      timeout: seconds to wait for an answer.
    """

    address: str
    log: str
    shape: tuple[int, int, int]
    interval: float = 0.0
    retries: int = 4
    timeout: float = 10.0

    def draw(self, prompts, seeds):
        """One image in [0, 1] for each seed; see `score_mia.target.Generator`."""
        prompts = [None] * len(seeds) if prompts is None else prompts
        pairs = zip(prompts, seeds, strict=True)
        return np.stack([self._image(p, int(seed)) for p, seed in pairs])

    def _image(self, prompt, seed):
        asked = {"seed": seed} | ({} if prompt is None else {"prompt": str(prompt)})
        path = Path(self.log) / f"{json_digest(asked)}.npz"
        if not path.exists():
            pixels = self._pixels(self._ask(f"/draw?{urllib.parse.urlencode(asked)}"))
            save_npz(path, pixels=pixels, asked=np.asarray(json.dumps(asked)))
        return load_npz(path, ("pixels",))["pixels"].astype(np.float32) / 255

    def _ask(self, path):
        pause, reason = self.interval, "no answer"
        for _ in range(1 + self.retries):
            sleep(pause)
            pause = max(2 * pause, self.interval)
            try:
                status, after, body = self._once(path)
            except (OSError, http.client.HTTPException) as error:
                reason = type(error).__name__
                continue
            if status == 200:
                return body
            reason = f"HTTP {status}"
            if status != 429 and status < 500:
                break
            pause = max(pause, float(after or 0))
        raise UserError(
            f"service {self.address}: {reason}; run again when it answers: what it did "
            f"answer is kept in {self.log}"
        )

    def _once(self, path):
        connection = http.client.HTTPConnection(self.address, timeout=self.timeout)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Retry-After"), answer.read()

    def _pixels(self, body):
        try:
            with Image.open(io.BytesIO(body), formats=("PNG",)) as picture:
                pixels = np.asarray(picture)
        except (OSError, ValueError) as error:
            raise UserError(
                f"service {self.address}: answers what is no PNG ({error}); check the "
                "address"
            ) from error
        if pixels.dtype != np.uint8 or pixels.size != np.prod(self.shape):
            raise UserError(
                f"service {self.address}: draws {pixels.shape}, not {self.shape}; name "
                "the shape of its images"
            )
        return pixels.reshape(self.shape)


def client() -> Client:
    """The service of SERVICE_ADDRESS, digits, with its log in SERVICE_LOG."""
    address, log = (os.environ[f"SERVICE_{what}"] for what in ("ADDRESS", "LOG"))
    return Client(address, log, (8, 8, 1))
