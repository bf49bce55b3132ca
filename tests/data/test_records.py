from __future__ import annotations

import pickle
import sys
import warnings

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from score_mia.check import UserError
from score_mia.data.records import array_record, tfds
from score_mia.papers.hu_pang import ffhq
from tests.data.makers import (
    pictures,
    prepared_ffhq,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """130 images of 16x16 (more than two blocks of records), prepared at 8x8."""
    root = tmp_path_factory.mktemp("ffhq")
    images = pictures(130, 16)
    names = [f"{i // 100:05d}/{i:05d}.png" for i in range(130)]
    prepared_ffhq(root, images, 8, names)
    return root, images


def test_nothing_imports_tensorflow(prepared):
    ffhq(prepared[0] / "data", 8)
    assert "tensorflow" not in sys.modules


def test_a_slice_of_records_keeps_their_index_as_id(prepared):
    root, _ = prepared
    whole, part = (
        ffhq(root / "data", 8),
        tfds("ffhq/8px", root / "data", "train[20:30]"),
    )
    assert part.ids.tolist() == list(range(20, 30))
    np.testing.assert_array_equal(part.images(part.ids), whole.images(part.ids))


def test_records_are_recoloured_resized_and_cached(prepared, tmp_path):
    root, _ = prepared
    grey = tfds("ffhq/8px", root / "data", size=4, channels=1, cache=tmp_path)
    want = tfds("ffhq/8px", root / "data", size=4, channels=1)
    again = tfds("ffhq/8px", root / "data", size=4, channels=1, cache=tmp_path)
    assert grey.shape == (4, 4, 1)
    assert grey.digest == want.digest == again.digest
    np.testing.assert_array_equal(again.labels, np.zeros(130))


def test_a_real_tfds_name_is_read(tmp_path):
    with tensorflow_datasets.testing.mock_data(num_examples=5):
        source = tfds("cifar10", tmp_path)
    assert source.shape == (32, 32, 3)
    assert source.ids.tolist() == list(range(5))
    labels = source.labels
    assert labels.min() >= 0
    assert labels.max() < 10


@pytest.mark.parametrize("several", [False, True])
def test_texts_are_captions(several, tmp_path):
    """A prepared set with a text of each image, or some in a sequence: the first."""
    x = pictures(5, 8)
    path = "captions/text" if several else "caption"
    captioned(tmp_path / "data", x, several)
    features = {"caption": path} if several else {}
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        data = tmp_path / "data"
        source = tfds("captioned", data, features=features, cache=cache)
        told = source.columns(np.asarray([3, 1]), ("caption",))["caption"]
        assert told.tolist() == ["3 ü", "1 ü"]
        np.testing.assert_array_equal(source.pixels, x)
    other = "captions" if several else "captions/text"
    with pytest.raises(UserError, match=f"has no text feature '{other}'"):
        tfds("captioned", tmp_path / "data", features={"caption": other})


def test_a_record_without_a_text_is_named(tmp_path):
    captioned(tmp_path, pictures(2, 8), True, count=0)
    features = {"caption": "captions/text"}
    with pytest.raises(UserError, match="record 0: has no 'captions/text'"):
        tfds("captioned", tmp_path, features=features)


class Captioned(tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True):
    """Images with `count` texts each, in a sequence or, if there is one, without."""

    name = "captioned"
    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def __init__(self, images, several, count, **options):
        self.images, self.several, self.texts = (
            images,
            several,
            ("{} ü", "more")[:count],
        )
        super().__init__(file_format="array_record", **options)

    def _info(self):
        kinds = tensorflow_datasets.features
        text = {"caption": kinds.Text()}
        if self.several:
            text = {"captions": kinds.Sequence({"text": kinds.Text()})}
        features = kinds.FeaturesDict({"image": kinds.Image(shape=(8, 8, 3)), **text})
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=features, disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i, image in enumerate(self.images):
            texts = [text.format(i) for text in self.texts]
            told = {"captions": [{"text": text} for text in texts]}
            told = told if self.several else {"caption": texts[0]}
            yield i, {"image": Image.fromarray(image), **told}


def captioned(root, images, several, count=2):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        Captioned(images, several, count, data_dir=str(root)).download_and_prepare(
            download_dir=str(root / "unused")
        )


def test_records_in_another_order_than_their_index_are_sorted():
    from score_mia.data.pixels import Decoder
    from score_mia.data.records import _collect

    x = pictures(5, 4)
    order = [3, 0, 4, 1, 2]

    records = [{"image": x[i], "index": i, "label": 10 * i} for i in order]
    parts = _collect("x", records, "image", ["index", "label"], Decoder(None, 3))
    assert parts["index"].tolist() == list(range(5))
    assert parts["label"].tolist() == [0, 10, 20, 30, 40]
    np.testing.assert_array_equal(parts["pixels"], x)


@pytest.mark.parametrize("several", [False, True])
def test_files_of_records_are_read_as_they_are_asked_for(several, tmp_path):
    x = pictures(5, 8)
    captioned(tmp_path, x, several)
    (folder,) = {path.parent for path in tmp_path.rglob("features.json")}
    features = {"caption": "captions/text"} if several else {}
    whole = tfds("captioned", tmp_path, features=features)
    for files in (folder, folder / "captioned-train.array_record*"):
        source = array_record(files, features=features)
        assert source.digest == whole.digest
        ids = np.asarray([3, 1, 3])
        for name, told in whole.columns(ids, ("image", "caption")).items():
            np.testing.assert_array_equal(source.columns(ids, (name,))[name], told)
    again = pickle.loads(pickle.dumps(source.stored))  # as a worker gets it
    np.testing.assert_array_equal(again.image(4), x[4])
    assert "tensorflow" not in sys.modules


def test_files_of_records_have_labels_and_are_recoloured(prepared):
    root, _ = prepared
    whole = tfds("ffhq/8px", root / "data", size=4, channels=1)
    (folder,) = {path.parent for path in (root / "data").rglob("features.json")}
    source = array_record(folder, size=4, channels=1)
    assert source.digest == whole.digest
    labels = source.columns(source.ids, ("label",))
    np.testing.assert_array_equal(labels["label"], whole.labels)


# --- bad input ---


def test_what_is_no_file_of_records_is_told(tmp_path):
    with pytest.raises(UserError, match=r"is no file; give a folder"):
        array_record(tmp_path)
    (tmp_path / "x.array_record").write_bytes(b"none")
    with pytest.raises(UserError, match=r"features.json cannot be read"):
        array_record(tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda d: tfds("cifar10", d),
            r"tfds build cifar10 --file_format=array_record",
        ),
        (lambda d: tfds("fashion_mnits", d), r"did you mean 'fashion_mnist'"),
    ],
)
def test_what_is_not_prepared_says_how(tmp_path, call, message):
    with pytest.raises(UserError, match=message) as told:
        call(tmp_path)
    assert "\n" not in str(told.value)


def test_a_wrong_split_or_feature_names_the_right_ones(prepared):
    data = prepared[0] / "data"
    with pytest.raises(UserError, match=r"'tran'.*it has the splits: train"):
        tfds("ffhq/8px", data, "tran")
    with pytest.raises(UserError, match=r"features=dict.*one of: .*image"):
        tfds("ffhq/8px", data, features={"image": "picture"})


def test_damaged_records_are_named(tmp_path):
    folder = prepared_ffhq(tmp_path, pictures(3))
    (file,) = folder.glob("*array_record*")
    content = bytearray(file.read_bytes())
    middle = content.find(b"IDAT") + 20
    assert middle > 20
    content[middle : middle + 40] = b"\0" * 40
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"record [012] cannot be read.*prepare"):
        ffhq(tmp_path / "data", 8)
