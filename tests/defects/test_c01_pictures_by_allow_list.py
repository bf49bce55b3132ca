"""Pictures were opened as whatever their bytes said: an EPS file named .png was handed
to Ghostscript, which runs the program that such a file is, on the auditor's machine.
A picture that claimed 131 million pixels was decoded, the first frame of an animation
taken for the picture, and what could not be followed (a link to nothing) left out of
the list, so that every later image had another number."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib

import numpy as np
import pytest
import tensorflow_datasets as library
from PIL import EpsImagePlugin, Image

from score_mia.check import UserError
from score_mia.data.local import folder
from score_mia.data.pixels import FORMATS, MOST_PIXELS, Decoder
from score_mia.data.records import tfds
from tests.data.makers import pictures

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
(/tmp/anything) (w) file closefile
0 0 8 8 rectfill
showpage
%%EOF
"""


@pytest.fixture
def no_program(monkeypatch):
    """No other program may be started, though Ghostscript seems to be there."""

    def refuse(*args, **options):
        raise AssertionError(f"started {args}")

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    for name in ("Popen", "check_call", "run", "call", "check_output"):
        monkeypatch.setattr(subprocess, name, refuse)
    monkeypatch.setattr(os, "system", refuse)


def refusal(path):
    """The one line with which a folder that holds the file is refused."""
    with pytest.raises(UserError) as caught:
        folder(path.parent, 8)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    assert ";" in line
    return line


@pytest.mark.usefixtures("no_program")
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif"])
def test_an_eps_named_like_a_picture_starts_nothing(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(EPS)
    assert "it is none of PNG, JPEG" in refusal(path)


@pytest.mark.usefixtures("no_program")
def test_an_eps_within_prepared_records_starts_nothing(tmp_path):
    class Hidden(library.core.GeneratorBasedBuilder, skip_registration=True):
        name = "hidden"
        VERSION = library.core.Version("1.0.0")

        def _info(self):
            image = library.features.Image(shape=(8, 8, 3))
            return library.core.DatasetInfo(
                builder=self, features=library.features.FeaturesDict({"image": image})
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            path = tmp_path / "x.png"
            path.write_bytes(EPS)
            yield 0, {"image": str(path)}

    builder = Hidden(data_dir=str(tmp_path / "data"), file_format="array_record")
    builder.download_and_prepare(download_dir=str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"record 0 cannot be read \(it is none of"):
        tfds("hidden", tmp_path / "data")


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_several_frames_are_refused(tmp_path, kind):
    first, *rest = (Image.fromarray(x) for x in pictures(3))
    path = tmp_path / f"x.{kind.lower()}"
    first.save(path, format=kind, save_all=True, append_images=rest)
    assert "holds 3 frames or pages; save each" in refusal(path)


def test_the_first_picture_of_a_camera_s_jpeg_is_the_picture(tmp_path):
    first, preview = (Image.fromarray(x) for x in pictures(2))
    first.save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[preview])
    first.save(tmp_path / "y.jpg", format="JPEG")
    pixels = folder(tmp_path, None).pixels
    np.testing.assert_array_equal(pixels[0], pixels[1])


def png(width, height):
    """A PNG of a few bytes that claims so many pixels."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("height", [8_192 + 1, 16_000, 60_000])
def test_more_pixels_than_the_bound_are_not_decoded(tmp_path, height, monkeypatch):
    monkeypatch.setattr(Decoder, "picture", lambda *_: pytest.fail("was decoded"))
    path = tmp_path / "x.png"
    path.write_bytes(png(8_192, height))
    assert 8_192 * height > MOST_PIXELS
    assert f"give at most {MOST_PIXELS:,}" in refusal(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_of_the_list_is_read(tmp_path, kind):
    image = pictures(1)[0]
    path = tmp_path / "x.png"  # the name says nothing
    Image.fromarray(image).save(path, format=kind)
    read = folder(tmp_path, None).pixels[0]
    assert read.shape == (8, 8, 3)
    if kind not in ("JPEG", "WEBP", "GIF"):  # those lose something
        np.testing.assert_array_equal(read, image)


def damaged(kind):
    """An image file, cut at every eighth of its length, empty, or of another kind."""
    import io

    file = io.BytesIO()
    Image.fromarray(pictures(1, 32)[0]).save(file, format=kind)
    whole = file.getvalue()
    cuts = [whole[: len(whole) * i // 8] for i in range(1, 8)]
    flipped = bytearray(whole)
    flipped[len(whole) // 2 :] = b"\xff" * (len(whole) - len(whole) // 2)
    return [b"", *cuts, bytes(flipped), b"PK\x03\x04", b"%PDF-1.4", b"<svg/>"]


@pytest.mark.filterwarnings("ignore::UserWarning")  # libtiff's and EXIF's complaints
@pytest.mark.parametrize("kind", FORMATS)
def test_every_damaged_file_is_one_line_or_a_picture(tmp_path, kind):
    path = tmp_path / "x.png"
    lines = []
    for data in damaged(kind):
        path.write_bytes(data)
        try:
            # Some formats show what there is, the rest black or as it comes.
            assert folder(tmp_path, 8).shape == (8, 8, 3)
        except UserError as error:
            lines.append(str(error))
    assert len(lines) >= 6
    assert all(str(path) in line and "\n" not in line for line in lines)


def make_folder(path):
    path.mkdir()


def link_to_itself(path):
    path.symlink_to(path)


def link_to_nothing(path):
    path.symlink_to(path.parent / "nothing")


def queue(path):
    os.mkfifo(path)


@pytest.mark.parametrize("make", [make_folder, link_to_itself, link_to_nothing, queue])
def test_what_is_named_like_an_image_is_never_passed_over(tmp_path, make):
    Image.fromarray(pictures(1)[0]).save(tmp_path / "a.png")
    make(tmp_path / "b.png")
    refusal(tmp_path / "b.png")


def test_a_name_that_is_no_text_is_one_line(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    Image.fromarray(pictures(1)[0]).save(tmp_path / name)
    with pytest.raises(UserError, match=r"caf\\udce9.png: its name is not UTF-8"):
        folder(tmp_path, 8)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
@pytest.mark.parametrize("name", ["x/a.png", "x"])
def test_what_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "x").mkdir()
    Image.fromarray(pictures(1)[0]).save(tmp_path / "x" / "a.png")
    (tmp_path / name).chmod(0)
    with pytest.raises(UserError, match=name):
        folder(tmp_path, 8)
    (tmp_path / name).chmod(0o700)
