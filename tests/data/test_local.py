from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from score_mia.check import UserError
from score_mia.data import SOURCES
from score_mia.data.local import arrays, bundled, cached, folder
from score_mia.data.pixels import Decoder, adapt
from score_mia.data.source import COLUMNS
from score_mia.registry import make
from tests.data.makers import pictures, write_folder


def test_bundled_fashion_mnist_is_the_published_one():
    source = bundled()
    assert source.shape == (28, 28, 1)
    # The first labels of the official training file.
    labels = source.columns(source.ids, ("label",))["label"]
    assert labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert np.bincount(labels).min() > 350
    assert source.digest == "3bd97d8027d096de"


def test_bundled_digits_keep_their_seventeen_grey_values():
    x = bundled("digits").images(np.arange(1797))
    assert np.unique(x * 16).tolist() == list(range(17))


def test_bundled_resized_is_pillows_lanczos_and_three_channels_are_equal():
    small = bundled(size=16, channels=3)
    original = bundled().pixels[7, :, :, 0]
    want = Image.fromarray(original).resize((16, 16), Image.Resampling.LANCZOS)
    for c in range(3):
        np.testing.assert_array_equal(small.pixels[7, :, :, c], np.asarray(want))


def test_sources_are_made_from_a_config_entry():
    spec = {"name": "bundled", "dataset": "digits", "size": 4}
    assert make("data set", SOURCES, spec).shape == (4, 4, 1)
    with pytest.raises(UserError, match="did you mean 'bundled'"):
        make("data set", SOURCES, {"name": "bundle"})


def test_folder_order_is_that_of_relative_posix_paths(tmp_path):
    # Sorted as paths "a-b" follows "a/z"; as strings "-" comes before "/".
    names = ["b.png", "a/z.png", "a-b/0.png", "B.png"]
    images = pictures(4)
    write_folder(tmp_path, images, names)
    (tmp_path / "LICENSE.txt").write_text("no image")
    (tmp_path / "a" / ".hidden.png").write_text("no image")
    source = folder(tmp_path, size=None)
    assert source.files == ("B.png", "a-b/0.png", "a/z.png", "b.png")
    np.testing.assert_array_equal(source.pixels, images[[3, 2, 1, 0]])


TEXTS = {
    "captions.csv": 'file,caption\na/1.png,one\n0.png,"zero, the first"\n',
    "metadata.jsonl": '{"file_name": "0.png", "text": "zero, the first"}\n'
    '{"file_name": "a/1.png", "text": "one"}\n',
}


@pytest.mark.parametrize("name", TEXTS)
def test_folder_takes_captions_from_a_file_among_the_images(name, tmp_path):
    write_folder(tmp_path, pictures(2), ["0.png", "a/1.png"])
    before = folder(tmp_path, size=None)
    assert before.columns(before.ids, COLUMNS).keys() == {"image", "file"}
    (tmp_path / name).write_text(TEXTS[name])
    source = folder(tmp_path, size=None)
    columns = source.columns(np.asarray([1, 0]), ("caption", "file"))
    assert columns["caption"].tolist() == ["one", "zero, the first"]
    assert columns["file"].tolist() == ["a/1.png", "0.png"]
    (tmp_path / name).write_text(TEXTS[name].replace("one", "two"))
    digests = {s.digest for s in (before, source, folder(tmp_path, size=None))}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("captions.csv", "file,caption\n0.png,zero\n", r"no caption of \['a/1.png'\]"),
        ("captions.csv", "image,words\n0.png,zero\n", "entry 1: has no caption"),
        ("captions.csv", "file,caption\n0.png,a\n0.png,b\n", "entry 2: names '0.png'"),
        ("captions.csv", "file,caption\n0.png\n", "entry 1: has no caption"),
        ("metadata.jsonl", '{"file_name": "0.png"', "cannot be read"),
        ("metadata.jsonl", "[1]\n", "entry 1: has no caption"),
        (
            "metadata.jsonl",
            '{"file": "0.png", "caption": 3}',
            "entry 1: has no caption",
        ),
    ],
)
def test_captions_that_do_not_fit_are_told(name, text, said, tmp_path):
    write_folder(tmp_path, pictures(2), ["0.png", "a/1.png"])
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        folder(tmp_path, size=None)


def test_folder_crops_the_centre_then_resizes(tmp_path):
    wide = np.zeros((4, 10, 3), np.uint8)
    wide[:, 3:7] = 200  # the centred square
    Image.fromarray(wide).save(tmp_path / "0.png")
    assert np.all(folder(tmp_path, 2).pixels == 200)
    assert folder(tmp_path, 2, crop="none").pixels.min() < 100


def test_folder_turns_upright_flattens_alpha_and_greys(tmp_path):
    ramp = np.repeat(np.arange(0, 160, 10, dtype=np.uint8).reshape(4, 4, 1), 3, 2)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees
    Image.fromarray(ramp).save(tmp_path / "0.png", exif=exif)
    rgba = np.full((4, 4, 4), 0, np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    Image.fromarray(rgba).save(tmp_path / "1.png")
    Image.fromarray(np.full((4, 4), 257 * 77, np.uint16)).save(tmp_path / "2.png")
    x = folder(tmp_path, None).pixels
    np.testing.assert_array_equal(x[0], np.rot90(ramp, -1))
    assert x[1, 0, 0].tolist() == [10, 20, 30]
    assert np.all(x[1, 1:] == 255)  # transparent is white paper
    assert np.all(x[2] == 77)
    grey = folder(tmp_path, None, channels=1).pixels
    assert grey[1, 0, 0, 0] == round(0.299 * 10 + 0.587 * 20 + 0.114 * 30)


@pytest.mark.parametrize("channels", [1, 3])
def test_adapting_an_array_equals_decoding_its_pictures(channels):
    x = pictures(3, 12, 3)
    decoder = Decoder(5, channels)
    want = np.stack([decoder.picture(Image.fromarray(y)) for y in x])
    got = adapt(x, 5, channels)
    # Order of recolouring and rounding is the same, so this is exact.
    np.testing.assert_array_equal(got, want)
    floats = adapt(x.astype(np.float32) / 255, 5, channels)
    assert np.max(np.abs(floats - want / 255.0)) < 2 / 255


@pytest.mark.parametrize("place", [-1, 130, 6])
def test_changed_pixels_in_the_cache_are_noticed(tmp_path, place):
    def make() -> dict[str, np.ndarray]:
        return {"pixels": np.zeros((2, 2, 2, 1), np.uint8), "ids": np.arange(2)}

    cached(tmp_path, "key", make)
    file = tmp_path / "key.npy"
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"key.npy is damaged.*; (delete|write)"):
        cached(tmp_path, "key", make)
    (tmp_path / "key.npz").unlink()
    assert not cached(tmp_path, "key", make)["pixels"].any()


def test_the_cache_gives_the_same_source_and_notices_a_change(tmp_path):
    images = pictures()
    names = write_folder(tmp_path / "x", images)
    plain = folder(tmp_path / "x", 8)
    first = folder(tmp_path / "x", 8, cache=tmp_path / "cache")
    again = folder(tmp_path / "x", 8, cache=tmp_path / "cache")
    assert plain.digest == first.digest == again.digest
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    Image.fromarray(images[0][::-1]).resize((9, 9)).save(tmp_path / "x" / names[0])
    changed = folder(tmp_path / "x", 8, cache=tmp_path / "cache")
    assert changed.digest == folder(tmp_path / "x", 8).digest != plain.digest


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_arrays_of_bytes_and_of_floats_are_the_same_images(tmp_path, kind):
    x = pictures(channels=1)
    values = {"u": x[..., 0], "f": (x / 255).astype(np.float64)}
    got = {}
    for key, value in values.items():
        path = tmp_path / f"{key}.{kind}"
        np.save(path, value) if kind == "npy" else np.savez(path, images=value)
        got[key] = arrays(path).images(np.arange(len(x)))
    assert got["u"].shape == x.shape
    np.testing.assert_allclose(got["u"], got["f"], atol=1e-7)


def test_a_large_npy_is_mapped_not_read(tmp_path):
    np.save(tmp_path / "x.npy", pictures())
    pixels = arrays(tmp_path / "x.npy").pixels
    while not isinstance(pixels, np.memmap):
        pixels = pixels.base
        assert pixels is not None
    assert pixels.mode == "r"


def test_arrays_choose_the_key_and_carry_labels(tmp_path):
    x, labels = pictures(), np.arange(6, dtype=np.uint8)[::-1]
    np.savez(tmp_path / "a.npz", train=x, test=x[:2], labels=labels)
    source = arrays(tmp_path / "a.npz", key="train")
    np.testing.assert_array_equal(source.labels[[0, 5]], [5, 0])
    with pytest.raises(UserError, match=r"no array 'images'.*give key"):
        arrays(tmp_path / "a.npz")


# --- bad input: one line that names the thing and the remedy ---


def save(path, **values):
    np.savez(path, **values)
    return path


def nan_image():
    x = np.zeros((5, 4, 4, 1), np.float32)
    x[3, 1, 1, 0] = np.nan
    return x


BAD_ARRAYS = {
    "nan": (nan_image(), r"image 3 has values from nan to nan"),
    "range": (np.full((2, 4, 4), 1.5), r"image 0 has values from 1.5 .* scale"),
    "negative": (np.full((2, 4, 4), -0.5), r"image 0 has values from -0.5"),
    "integers": (np.zeros((2, 4, 4), np.int64), r"holds int64.*save uint8"),
    "flat": (np.zeros((9, 16), np.uint8), r"shape \(9, 16\), not \[N, H, W, C\]"),
    "planar": (np.zeros((9, 3, 8, 8), np.uint8), r"np.transpose\(x, \(0, 2, 3, 1\)\)"),
    "empty": (np.zeros((0, 4, 4), np.uint8), r"holds no images"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(tmp_path, case):
    values, message = BAD_ARRAYS[case]
    with pytest.raises(UserError, match=message) as told:
        arrays(save(tmp_path / "x.npz", images=values))
    assert "x.npz" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r"none.npz: does not exist"):
        arrays(tmp_path / "none.npz")
    with pytest.raises(UserError, match="none: does not exist"):
        folder(tmp_path / "none", 8)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_damaged_and_pickled_arrays(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    for content in (b"", b"PK\x03\x04 nothing", b"\x93NUMPY\x01\x00v\x00{'descr'"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged or no np"):
            arrays(path)
    evil = np.asarray([{"code": "runs"}], object)
    write = np.save if suffix == "npy" else np.savez
    write(path, evil, allow_pickle=True)
    with pytest.raises(UserError, match="damaged or no np"):
        arrays(path)


def test_an_npz_with_a_flipped_byte(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=pictures())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x.npz is damaged"):
        arrays(path)


def test_wrong_labels(tmp_path):
    path = save(tmp_path / "x.npz", images=pictures(), labels=np.arange(4))
    with pytest.raises(UserError, match=r"labels.*do not fit 6 images"):
        arrays(path)


def test_an_empty_folder_and_a_file_for_a_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=r"holds no images; give files of .png"):
        folder(tmp_path, 8)
    with pytest.raises(UserError, match="is a file"):
        folder(tmp_path / "notes.txt", 8)


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_a_damaged_image_is_named(tmp_path, damage):
    names = write_folder(tmp_path, pictures(size=32))
    path = tmp_path / names[3]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"hello")
    with pytest.raises(
        UserError, match=rf"{names[3]} cannot be read.*repair or remove"
    ):
        folder(tmp_path, 8)


def test_unequal_images_need_a_size(tmp_path):
    write_folder(tmp_path, [*pictures(2), *pictures(1, 9)])
    with pytest.raises(UserError, match=r"shape \(9, 9, 3\).*give size"):
        folder(tmp_path, None)
    assert folder(tmp_path, 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": "fashion"}, "did you mean 'fashion_mnist'"),
        ({"size": 0}, "size=0"),
        ({"channels": 2}, "channels=2"),
        ({"sice": 8}, "no field 'sice'; did you mean 'size'"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(UserError, match=message):
        make("data set", SOURCES, {"name": "bundled", **fields})


def _beside(path: Path, **texts: str) -> None:
    for name in ("a", "b"):
        pixels = np.full((4, 4, 3), 9, np.uint8)
        Image.fromarray(pixels).save(path / f"{name}.png")
    for name, text in texts.items():
        (path / f"{name}.txt").write_text(text, encoding="utf-8")


def test_folder_takes_captions_from_text_files_beside_the_images(tmp_path):
    _beside(tmp_path, notes="of no image")
    bare = folder(tmp_path, size=None)
    _beside(tmp_path, a=" ein Käfer\n", b="two")
    told = folder(tmp_path, size=None)
    captions = told.columns(np.asarray([1, 0]), ("caption",))["caption"]
    assert captions.tolist() == ["two", "ein Käfer"]
    assert "caption" not in bare.columns(bare.ids, ("caption",))
    assert told.digest != bare.digest
    _beside(tmp_path, a="another")
    assert folder(tmp_path, size=None).digest != told.digest


def test_an_image_without_a_caption_file_is_named(tmp_path):
    _beside(tmp_path, a="one")
    with pytest.raises(UserError, match=r"'b.png'\].*no caption file; write it"):
        folder(tmp_path, size=None)


def test_images_that_share_a_caption_file_are_named(tmp_path):
    _beside(tmp_path, a="one", b="two")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.bmp")
    with pytest.raises(UserError, match=r"a.bmp.*a.png.*share one caption file"):
        folder(tmp_path, size=None)


def test_a_caption_file_that_is_no_text_is_named(tmp_path):
    _beside(tmp_path, a="one", b="two")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match=r"b.txt cannot be read.*UTF-8"):
        folder(tmp_path, size=None)


def test_an_npz_may_hold_captions(tmp_path):
    images, file = pictures(2), tmp_path / "images.npz"
    np.savez(file, pixels=images)
    bare = arrays(file)
    np.savez(file, pixels=images, captions=np.asarray(["ein Käfer", "two"]))
    told = arrays(file)
    assert told.columns(np.asarray([1, 0]), ("caption",))["caption"].tolist() == [
        *("two", "ein Käfer")
    ]
    assert told.digest != bare.digest


@pytest.mark.parametrize("captions", [["one"], [["a"], ["b"]], [1, 2]])
def test_captions_of_an_npz_that_do_not_fit_are_told(captions, tmp_path):
    np.savez(tmp_path / "a.npz", images=pictures(2), captions=np.asarray(captions))
    with pytest.raises(UserError, match=r"captions.* do not fit 2 images; give one"):
        arrays(tmp_path / "a.npz")
