"""The Python blocks of the documentation run, in order, in one folder per page.

A block whose first line is `# file: NAME` is written to that file; the others run.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    names: dict = {"__name__": "docs"}
    try:
        for block in blocks(page):
            match = re.match(r"# file: (\S+)\n", block)
            if match:
                path = tmp_path / match[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block)
            else:
                exec(compile(block, f"{page.name}", "exec"), names)
    finally:
        for name in set(sys.modules) - before:
            if name.startswith("my_package"):
                del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    for config in re.findall(r"--config=(configs/[\w/]+\.py)", text):
        assert (ROOT / config).exists(), f"{page.name} names {config}"
