"""Tokenizers in files, by the library `tokenizers` (the extra "text")."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from score_mia.check import UserError, existing, extra, refusing, require
from score_mia.files import load_json

_REMEDY = "copy the tokenizer's folder again from where it came"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP takes for one word: letters, one digit, or other signs in a row."""


class Tokenizer(NamedTuple):
    """A tokenizer in memory.

    Attributes:
      library: the library's own object.
      size: how many tokens it has.
      start, end, pad: numbers of the tokens around a text.
      fingerprint: digest of its files.
    """

    library: Any
    size: int
    start: int
    end: int
    pad: int
    fingerprint: str

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Numbers of each text's own tokens."""
        rows = self.library.encode_batch(list(texts), add_special_tokens=False)
        return [row.ids for row in rows]


def read(folder: str) -> Tokenizer:
    """The tokenizer of a folder.

    Raises:
      UserError: the folder or its files are missing or damaged, or the library is.
    """
    path = existing(folder, "tokenizer")
    whole = [path / "tokenizer.json"]
    apart = [path / "vocab.json", path / "merges.txt"]
    files = whole if whole[0].is_file() else apart
    for file in files:
        problem = "is missing"
        require(file.is_file(), f"tokenizer's {file}", problem, _REMEDY)
    settings = [path / "tokenizer_config.json", path / "special_tokens_map.json"]
    settings = [file for file in settings if file.is_file()]
    stats = tuple((str(f), f.stat().st_mtime_ns) for f in (*files, *settings))
    return _read(stats, len(files))


@functools.lru_cache(maxsize=8)
def _read(stats: tuple[tuple[str, int], ...], count: int) -> Tokenizer:
    paths = [Path(name) for name, _ in stats]
    told = hashlib.sha256()
    for path in paths:
        told.update(path.name.encode() + b"\0" + path.read_bytes())
    library = _library()
    problem = f"tokenizer {paths[0].parent}: is damaged"
    with refusing(problem, _REMEDY, Exception):  # the library raises plain ones
        made = (
            library.Tokenizer.from_file(str(paths[0]))
            if count == 1
            else _of_clip(library, *map(str, paths[:2]))
        )
    made.no_padding()
    made.no_truncation()
    config: dict[str, Any] = {}
    for path in paths[count:]:
        config = {**load_json(path, dict, remedy=_REMEDY), **config}

    def number(name: str, usual: str) -> int:
        token = config.get(name) or usual
        token = token["content"] if isinstance(token, dict) else token
        found = made.token_to_id(token)
        if found is None:
            raise UserError(
                f"tokenizer {paths[0].parent}: has no token {token!r}; {_REMEDY}"
            )
        return found

    start, end = number("bos_token", _START), number("eos_token", _END)
    pad, size = number("pad_token", _END), made.get_vocab_size()
    return Tokenizer(made, size, start, end, pad, told.hexdigest()[:16])


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UserError(
            f"tokenizer: needs the package tokenizers; {extra('text')}"
        ) from error
    return tokenizers


def _of_clip(library: Any, vocabulary: str, merges: str) -> Any:
    """CLIP's byte-pair encoding (Radford et al. 2021) from its two files."""
    suffix, regex = "</w>", library.Regex
    model = library.models.BPE.from_file(
        vocabulary, merges, end_of_word_suffix=suffix, unk_token=_END
    )
    made = library.Tokenizer(model)
    normal = library.normalizers
    made.normalizer = normal.Sequence(
        [normal.NFC(), normal.Replace(regex(r"\s+"), " "), normal.Lowercase()]
    )
    pieces = library.pre_tokenizers
    made.pre_tokenizer = pieces.Sequence(
        [
            pieces.Split(regex(_PIECES), behavior="removed", invert=True),
            pieces.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.add_special_tokens([_START, _END])
    return made
