"""Images for a file of prompts: `score-mia generate --prompts=FILE`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from score_mia.auditing.plan import Plan
from score_mia.auditing.work import Work, open_work
from score_mia.check import UserError, existing, refusing, require
from score_mia.data.captions import caption_of, rows
from score_mia.files import DAMAGED, digest, write_atomic
from score_mia.progress import Progress
from score_mia.sampling import as_picture
from score_mia.target import Generator


def generate(plan: Plan, workdir: str | Path, file: str | Path, count: int) -> str:
    """Draw `count` images for each prompt of a file; those that are there stay.

    They lie in the workdir's `prompted/`, under a digest of what decides them, as PNG
    beside manifest.jsonl, which says prompt, seed and file of each. The seed of image k
    of prompt i is i count + k plus the audit's; the same prompt and seed are the same
    image.

    Args:
      plan: of the model (or the service) that draws.
      workdir: where it is.
      file: one prompt a line; or .jsonl or .csv with a "caption" (or "text").
      count: images of each prompt.

    Returns:
      What to print.

    Raises:
      UserError: the file cannot be read or holds no prompt, the model is told none, or
        a prompt is refused.
    """
    prompts = read(file)
    work = open_work(plan, workdir)
    generator = _generator(work)
    told = [repr(plan.sampler), repr(plan.guidance), work.digest, str(count)]
    name = digest(*told, str(plan.seed), *prompts)
    folder = work.folder / "prompted" / name
    wanted = [
        (f"{i:05d}-{k:03d}.png", prompt, plan.seed + i * count + k)
        for i, prompt in enumerate(prompts)
        for k in range(count)
    ]
    missing = [row for row in wanted if not (folder / row[0]).exists()]
    done = len(wanted) - len(missing)
    with Progress("generate", len(wanted), "images", done) as progress:
        for start in range(0, len(missing), plan.engine.rows):
            block = missing[start : start + plan.engine.rows]
            texts, seeds = [row[1] for row in block], [row[2] for row in block]
            images = as_picture(generator.draw(texts, np.asarray(seeds, np.int64)))
            for (path, _, _), image in zip(block, images, strict=True):
                _save(folder / path, image)
            progress.advance(len(block))
    lines = [json.dumps({"file": f, "prompt": p, "seed": s}) for f, p, s in wanted]
    text = "\n".join(lines) + "\n"
    write_atomic(folder / "manifest.jsonl", lambda out: out.write(text.encode()))
    return f"images: {folder}"


def _generator(work: Work) -> Generator:
    """Whatever draws: the service, or the target's own."""
    if work.plan.client is not None:
        return work.plan.client.generator
    service = work.plan.service(work.source.shape)
    assert service is not None
    return service.of(work.target.denoiser)


def _save(path: Path, pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    write_atomic(path, lambda out: image.save(out, format="PNG"))


def read(file: str | Path) -> list[str]:
    """The prompts of a file; `UserError` naming the line that has none."""
    path = existing(file, "prompts")
    remedy = "give one prompt a line, or a .jsonl or .csv with a caption in each row"
    with refusing(f"prompts {path} cannot be read", remedy, csv.Error, *DAMAGED):
        if path.suffix in (".csv", ".jsonl"):
            given = [caption_of(row) for row in rows(path)]
        else:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            given = [line for line in lines if line.strip()]
    prompts = []
    for number, told in enumerate(given, 1):
        if not isinstance(told, str):
            raise UserError(f"prompts {path}: row {number} has no caption; {remedy}")
        prompts.append(told)
    require(bool(prompts), f"prompts {path}", "holds none", remedy)
    return prompts
