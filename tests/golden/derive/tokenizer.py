"""Writes tests/golden/models/tokens.json: prompts and their tokens, by transformers.

    python tests/golden/derive/tokenizer.py

Run with transformers 5.24.0, on the tokenizer that stable_diffusion.py wrote.
"""

import json
from pathlib import Path

from transformers import CLIPTokenizer

OUT = Path(__file__).parents[1] / "models"
PROMPTS = [
    "",
    "a",
    "A PHOTO OF A CAT",
    "  spaces   at both ends \t\n",
    "don't can't we're I've I'm he'll she'd it's",
    "o'clock 'quoted' ''twice''",
    "3 cats, 10 dogs & 1,000.50 birds",
    "2nd 3rd 1080p x2",
    "hyphen-ated under_scored e-mail@example.com",
    "dots... and!!! marks?!",
    "(masterpiece:1.2), [detailed], {best}",
    "caf\u00e9 na\u00efve \u00fcber stra\u00dfe",
    "cafe\u0301",
    "\u4e00\u53ea\u732b",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u03b5\u03bb\u03bb\u03b7\u03bd",
    "\U0001f600 smile \u2764\ufe0f",
    "\u2018curly\u2019 \u201cquotes\u201d \u2014 dash",
    "\u00bd cup \u00b2 squared \u2167",
    "antidisestablishmentarianism",
    "<|endoftext|> in the middle",
]


def main():
    tokenizer = CLIPTokenizer.from_pretrained(str(OUT / "sd1" / "tokenizer"))
    rows = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    told = [{"prompt": p, "tokens": r} for p, r in zip(PROMPTS, rows, strict=True)]
    lines = ",\n".join(json.dumps(row) for row in told)
    (OUT / "tokens.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
