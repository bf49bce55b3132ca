"""Large pages: when the command line starts itself again, and with what."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from score_mia import pages

SAYS = """
import os, sys
from score_mia import pages
sys.argv = ["x", *sys.argv[1:]]
pages.restart(sys.argv)
print(os.environ.get(pages.VARIABLE, "none"), *sys.argv[1:])
"""


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine where large pages can be asked for, and ways to change it."""

    def made(library="glibc 2.36", switch="always [madvise] never", told=None):
        (tmp_path / "enabled").write_text(switch)
        monkeypatch.setattr(pages, "_SWITCH", tmp_path / "enabled")
        monkeypatch.setattr(os, "confstr", lambda name: library)
        monkeypatch.delenv(pages.VARIABLE, raising=False)
        if told is not None:
            monkeypatch.setenv(pages.VARIABLE, told)

    return made


@pytest.mark.parametrize(
    ("about", "helps"),
    [
        ({}, True),
        ({"library": "glibc 2.100"}, True),
        ({"library": "glibc 2.34"}, False),
        ({"library": "musl 1.2"}, False),
        ({"library": None}, False),
        ({"switch": "[always] madvise never"}, False),
        ({"switch": "always madvise [never]"}, False),
        ({"told": ""}, False),
        ({"told": "glibc.malloc.hugetlb=0"}, False),
    ],
)
def test_only_where_they_can_be_asked_for(machine, about, helps):
    machine(**about)
    assert pages.helps() is helps


def test_not_where_nothing_says_so(machine, tmp_path, monkeypatch):
    machine()
    monkeypatch.setattr(pages, "_SWITCH", tmp_path / "none")
    assert not pages.helps()
    machine()
    monkeypatch.delattr(os, "confstr")
    assert not pages.helps()


def says(*words, **environment):
    found = {k: v for k, v in os.environ.items() if k != pages.VARIABLE}
    command = [sys.executable, "-c", SAYS, *words]
    return subprocess.check_output(command, env=found | environment, text=True).split()


def test_the_same_command_starts_once_more():
    expected = pages.setting() if pages.helps() else "none"
    if pages.VARIABLE in os.environ:  # whoever runs the tests has set it
        expected = says("audit", "a b")[0]
    assert says("audit", "a b") == [expected, "audit", "a", "b"]
    assert says("verify", "--x") == ["none", "verify", "--x"]
    assert says() == ["none"]
    told = {pages.VARIABLE: "glibc.malloc.hugetlb=0"}
    assert says("train", **told) == [told[pages.VARIABLE], "train"]


def test_the_tunables_are_glibc_s():
    """An unknown one would be passed over in silence."""
    if not pages.helps() and pages.VARIABLE not in os.environ:
        pytest.skip("no glibc that knows them")
    listed = subprocess.run(
        ["/lib64/ld-linux-x86-64.so.2", "--list-tunables"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("no loader that lists them")
    for name in pages.TUNABLES:
        assert f"glibc.malloc.{name}:" in listed.stdout
