"""A text-to-image service that memorised its training set, and its bad days."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import threading
import urllib.parse
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jax
import numpy as np
from PIL import Image

from score_mia.checkpoint import save_target
from score_mia.data.local import bundled
from score_mia.data.source import ArraySource
from score_mia.sampling import as_picture
from score_mia.spec import parts


@dataclasses.dataclass(frozen=True, eq=False)
class Memory:
    """A seeded `Generator`: near the image it learned with a prompt, else anything.

    Attributes:
      learned: prompt -> image [h, w, c].
      shape: of the images.
      noise: standard deviation around what was learned.
    """

    learned: dict
    shape: tuple[int, int, int]
    noise: float = 0.1

    def draw(self, prompts, seeds):
        return np.stack([self.one(p, s) for p, s in zip(prompts, seeds, strict=True)])

    def one(self, prompt, seed):
        rng = np.random.default_rng([zlib.crc32(str(prompt).encode()), int(seed)])
        other, noise = rng.random(self.shape), rng.normal(size=self.shape)
        image = self.learned.get(str(prompt), other) + self.noise * noise
        return np.clip(image, 0, 1).astype(np.float32)


@dataclasses.dataclass(eq=False)
class Reworker:
    """A seeded `Observed` that draws as `Memory` does, and reworks what it is given.

    What is noised and denoised comes back the nearer to the image that it learned and
    is most like it: what was learned stays, all else moves. So does what it draws from
    noise that it is given, which it takes for an image in [-1, 1]: see `save_still`.

    Attributes:
      learned, shape: see `Memory`.
      requests: images that it was asked for, runs on an image among them.
    """

    learned: dict
    shape: tuple[int, int, int]
    requests: int = 0

    @property
    def noise_shape(self):
        return self.shape

    def draw(self, prompts, seeds, noise=None):
        if noise is not None:
            how = {"strength": 0.5, "steps": 4}
            return self.vary((noise + 1) / 2, prompts, seeds, **how)
        self.requests += len(seeds)
        return Memory(self.learned, self.shape).draw(prompts, seeds)

    def vary(self, images, prompts, seeds, *, strength, steps):
        how = {"strength": strength, "steps": steps}
        return self.trace(images, prompts, seeds, **how)[:, -1]

    def trace(self, images, prompts, seeds, *, strength, steps, denoised=False):
        self.requests += len(seeds)
        known = np.stack(list(self.learned.values()))
        each = zip(images, seeds, strict=True)
        runs = [self._run(x, int(s), known, strength, steps) for x, s in each]
        return np.clip(np.stack(runs), 0, 1).astype(np.float32)

    def _run(self, image, seed, known, strength, steps):
        nearest = known[np.argmin(np.mean((known - image) ** 2, axis=(1, 2, 3)))]
        noise = np.random.default_rng(seed).normal(size=image.shape)
        share = np.linspace(strength / steps, strength, steps)[:, None, None, None]
        return image + share * (nearest - image) + 0.02 * noise


def save_still(folder, shape):
    """Keep a base model that sees no noise: its noise of an image is the image."""
    spec = {
        "network": {"name": "mlp", "features": 4, "blocks": 1},
        "sde": {"name": "ve", "sigma_max": 1.0},
        "parameterisation": {"name": "noise"},
        "codec": {"low": -1.0, "high": 1.0},
        "shape": list(shape),
    }
    drawn = parts(spec).network.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), drawn)
    save_target(folder, spec, params, params, {"step": 0})


@dataclasses.dataclass
class Day:
    """What happens at a service.

    Attributes:
      faults: number of the request -> an HTTP status, or "drop" for no answer.
      closes_after: answers after which it answers 503 to all; None for never.
      retry_after: seconds that it then asks for.
      answered: path -> how often it was answered.
      requests: how many there were.
    """

    faults: dict = dataclasses.field(default_factory=dict)
    closes_after: int | None = None
    retry_after: str | None = None
    answered: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    requests: int = 0

    def fault(self):
        """What goes wrong with the next request; None for nothing."""
        self.requests += 1
        closed = self.closes_after is not None
        if closed and self.answered.total() >= self.closes_after:
            return 503
        return self.faults.get(self.requests)


@contextlib.contextmanager
def served(model, day):
    """The address of a model that is served on loopback meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            fault = day.fault()
            if fault == "drop":
                self.close_connection = True
                return
            status, body = fault or 200, b""
            if fault is None:
                asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                image = model.one(asked["prompt"][0], asked["seed"][0])
                body = png(as_picture(image))
                day.answered[self.path] += 1
            self.send_response(status)
            if fault is not None and day.retry_after is not None:
                self.send_header("Retry-After", day.retry_after)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def png(pixels):
    """uint8 [h, w, c] as the bytes of a PNG."""
    kept = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(
        kept, "png"
    )
    return kept.getvalue()


def captioned() -> ArraySource:
    """A hundred digits, each with a caption of its own."""
    digits = bundled("digits")
    ids = digits.ids[:100]
    pixels = as_picture(digits.images(ids))
    captions = tuple(f"a digit, written by hand, no. {i} & last" for i in ids)
    return ArraySource("captioned digits", pixels, ids, captions=captions)
