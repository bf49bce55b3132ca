"""Three hosts' layouts in miniature, read and drawn from, whole and damaged."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys

import pytest

from score_mia.check import UserError
from score_mia.data.local import folder
from score_mia.papers.captioned import Sizes
from score_mia.papers.pang_wang.builders import BUILDERS, Files, prepare
from tests.data.makers import pictures, write_folder

COUNT = 8
FACES = [f"{i + 1:06d}.jpg" for i in range(COUNT)]
PHOTOS = [f"{9 + i:012d}.jpg" for i in range(COUNT)]
VIEWS = ["Half_Dome.png", "Zürich.jpg", *(f"View_{i}.png" for i in range(COUNT - 2))]
HEADER = (
    *("language", "page_url", "image_url", "page_title", "section_title"),
    *("hierarchical_section_title", "caption_reference_description"),
    *("caption_attribution_description", "caption_alt_text_description"),
    *("mime_type", "original_height", "original_width", "is_main_image"),
    *("attribution_passes_lang_id", "page_changed_recently"),
    *("context_page_description", "context_section_description"),
)


def celeba_dialog(root):
    write_folder(root / "img_align_celeba", pictures(COUNT), FACES)
    entries = {
        name: {
            "attribute_wise_captions": {"Bangs": "None.", "Smiling": None},
            "overall_caption": f"Face {i} smiles.",
        }
        for i, name in enumerate(FACES)
    }
    (root / "captions.json").write_text(json.dumps(entries))
    return Files(root / "img_align_celeba", [root / "captions.json"])


def coco_annotations(names, first=0):
    images = [
        {"id": 9 + i, "file_name": name, "height": 8, "width": 8}
        for i, name in enumerate(names, first)
    ]
    annotations = [
        {"id": 10 * k - image["id"], "image_id": image["id"], "caption": text}
        for image in images
        for k, text in ((20, "Not this."), (9, f" Photo {image['id'] - 9}\n of it. "))
    ]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations}


def coco(root):
    write_folder(root / "train2017", pictures(COUNT), PHOTOS)
    file = root / "annotations" / "captions_train2017.json"
    file.parent.mkdir()
    file.write_text(json.dumps(coco_annotations(PHOTOS)))
    return Files(root / "train2017", [file])


def wit_row(name, language="en", reference="", alternative=""):
    address = "https://upload.example/wikipedia/commons/a/ab/"
    row = dict.fromkeys(HEADER, "")
    row |= {"language": language, "image_url": address + name}
    row["caption_reference_description"] = reference
    row["caption_alt_text_description"] = alternative
    row["context_page_description"] = 'A "long"\ttext\nof lines.'
    return row


def write_wit(path, rows):
    with gzip.open(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


def wit(root):
    write_folder(root / "fetched", pictures(COUNT), VIEWS)
    (root / "fetched" / "Map.svg").write_text("<svg/>")
    rows = [wit_row("Half_Dome.png", "de", "Ein Berg.")]
    rows += [wit_row("Half_Dome.png", alternative="View 0.")]
    rows += [wit_row("Half_Dome.png", reference="A later row.")]
    rows += [wit_row("Z%C3%BCrich.jpg", reference="View 1.", alternative="Not this.")]
    rows += [wit_row(n, reference=f"View {i}.") for i, n in enumerate(VIEWS[2:], 2)]
    rows += [wit_row("Never_fetched.jpg", reference="A view.")]
    write_wit(root / "wit.tsv.gz", rows)
    return Files(root / "fetched", [root / "wit.tsv.gz"])


HOSTS = {"celeba_dialog": celeba_dialog, "coco": coco, "wit": wit}
SAID = {
    "celeba_dialog": [f"Face {i} smiles." for i in range(COUNT)],
    "coco": [f"Photo {i} of it." for i in range(COUNT)],
    "wit": [f"View {i}." for i in range(COUNT)],
}
NAMES = {"celeba_dialog": FACES, "coco": PHOTOS, "wit": VIEWS}


@pytest.mark.parametrize("name", HOSTS)
def test_every_image_has_its_caption(tmp_path, name):
    found = BUILDERS[name](HOSTS[name](tmp_path))
    told = {x.name: x.caption for x in found.pictures}
    assert told == dict(zip(NAMES[name], SAID[name], strict=True))
    assert found.uncaptioned == 0


@pytest.mark.parametrize("name", HOSTS)
def test_a_prepared_folder_is_read_and_reproduced(tmp_path, name):
    files = HOSTS[name](tmp_path)
    first = prepare(name, files, tmp_path / "a", Sizes(2, 2), seed=3)
    again = prepare(name, files, tmp_path / "b", Sizes(2, 2), seed=3, link=False)
    assert first.drawn == again.drawn
    for file in ("members.txt", "nonmembers.txt", "auxiliary.txt", "captions.csv"):
        assert (first.folder / file).read_text() == (again.folder / file).read_text()
    source = folder(first.folder, 8)
    assert sorted(source.captions) == sorted(SAID[name])
    assert "8 images; 2 members, 2 nonmembers, 4 auxiliary" in first.about


def test_coco_of_two_years_is_one_set(tmp_path):
    for year, part in (("train", PHOTOS[:5]), ("val", PHOTOS[5:])):
        images = pictures(COUNT)[:5] if year == "train" else pictures(COUNT)[5:]
        write_folder(tmp_path / "images" / f"{year}2017", images, part)
        first = 0 if year == "train" else 5
        text = json.dumps(coco_annotations(part, first))
        (tmp_path / f"captions_{year}2017.json").write_text(text)
    both = [tmp_path / f"captions_{year}2017.json" for year in ("train", "val")]
    found = BUILDERS["coco"](Files(tmp_path / "images", both))
    assert {x.caption for x in found.pictures} == set(SAID["coco"])
    assert found.pictures[0].name.startswith("train2017/")


def test_faces_of_the_png_edition_have_the_same_captions(tmp_path):
    files = celeba_dialog(tmp_path)
    names = [name.replace("jpg", "png") for name in FACES]
    write_folder(tmp_path / "png", pictures(COUNT), names)
    found = BUILDERS["celeba_dialog"](Files(tmp_path / "png", files.captions))
    assert [x.name for x in found.pictures] == names


def test_wit_of_any_language_takes_the_first_row(tmp_path):
    files = wit(tmp_path)
    found = BUILDERS["wit"](Files(files.images, files.captions, language=""))
    assert {x.name: x.caption for x in found.pictures}["Half_Dome.png"] == "Ein Berg."


def test_wit_knows_files_that_are_called_as_in_their_address(tmp_path):
    files = wit(tmp_path)
    (files.images / "Zürich.jpg").rename(files.images / "Z%C3%BCrich.jpg")
    found = BUILDERS["wit"](files)
    assert {x.name: x.caption for x in found.pictures}["Z%C3%BCrich.jpg"] == "View 1."


def test_wit_takes_a_table_of_files_and_captions(tmp_path):
    files = wit(tmp_path)
    rows = [f"{name},View {i}." for i, name in enumerate(VIEWS)]
    (tmp_path / "own.csv").write_text("\n".join(["file,caption", *rows]))
    found = BUILDERS["wit"](Files(files.images, [tmp_path / "own.csv"]))
    assert {x.caption for x in found.pictures} == set(SAID["wit"])


def uncaption(root, name):
    """Take the last image's caption away; its name."""
    last = NAMES[name][-1]
    if name == "wit":
        kept = [wit_row(n, reference=n) for n in VIEWS[:-1]]
        write_wit(root / "wit.tsv.gz", [*kept, wit_row(last)])
    elif name == "coco":
        file = root / "annotations" / "captions_train2017.json"
        entries = coco_annotations(PHOTOS)
        entries["annotations"] = entries["annotations"][:-2]
        file.write_text(json.dumps(entries))
    else:
        file = root / "captions.json"
        entries = json.loads(file.read_text())
        entries[last]["overall_caption"] = None
        file.write_text(json.dumps(entries))
    return last


@pytest.mark.parametrize("name", HOSTS)
def test_an_image_without_a_caption_is_refused_or_passed_over(tmp_path, name):
    files = HOSTS[name](tmp_path)
    last = uncaption(tmp_path, name)
    message = rf"image {last}: has no caption, and 1 have none; .*--skip_uncaptioned"
    with pytest.raises(UserError, match=message):
        prepare(name, files, tmp_path / "out", Sizes(2, 2))
    assert not (tmp_path / "out").exists()
    files = Files(files.images, files.captions, skip_uncaptioned=True)
    done = prepare(name, files, tmp_path / "out", Sizes(2, 2))
    assert len(done.drawn.images) == COUNT - 1
    assert "1 images without a caption" in done.about


def damage(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def missing(name):
    def act(root, files):
        (files.images / NAMES[name][3]).unlink()

    return act


def twin(name):
    def act(root, files):
        write_folder(files.images, pictures(1, seed=4), [f"b/{NAMES[name][0]}"])

    return act


def captions_of(text):
    def act(root, files):
        files.captions[0].write_text(text)

    return act


def _packed(text):
    def act(root, files):
        files.captions[0].write_bytes(gzip.compress(text.encode()))

    return act


FAULTS = [
    ("celeba_dialog", missing("celeba_dialog"), r"'000004': is missing in .* 1 are"),
    ("coco", missing("coco"), r"image '000000000012.jpg': is missing in"),
    ("celeba_dialog", twin("celeba_dialog"), r"is called as .* is; captions are known"),
    ("coco", twin("coco"), r"is called as .* is; captions are known"),
    ("wit", twin("wit"), r"is called as .* is; captions are known"),
    ("celeba_dialog", lambda r, f: damage(f.captions[0]), r"captions.json is damaged"),
    ("coco", lambda r, f: damage(f.captions[0]), r"train2017.json is damaged"),
    ("wit", lambda r, f: damage(f.captions[0]), r"wit.tsv.gz cannot be read"),
    ("celeba_dialog", captions_of("[]"), r"it is \[\], not an object; fetch it again"),
    ("celeba_dialog", captions_of('{"a.jpg": "x"}'), r"a.jpg is 'x', not an object"),
    ("coco", captions_of("{}"), r"it has no 'images'"),
    (
        "coco",
        captions_of('{"images": [], "annotations": [{"id": 1, "image_id": 2}]}'),
        r"annotations\[0\] has no 'caption'",
    ),
    ("wit", _packed("a\tb\n1\t2\n"), r"has no column of .*caption.*give WIT's"),
    ("wit", captions_of("no gzip"), r"wit.tsv.gz cannot be read \(Not a gzipped file"),
    ("wit", lambda r, f: f.captions[0].unlink(), r"captions file .* does not exist"),
    ("coco", lambda r, f: f.captions.clear(), r"captions: are missing; give the host"),
]


@pytest.mark.parametrize(("name", "fault", "message"), FAULTS)
def test_what_is_missing_or_damaged_is_one_line(tmp_path, name, fault, message):
    files = HOSTS[name](tmp_path)
    fault(tmp_path, files)
    with pytest.raises(UserError, match=message) as told:
        prepare(name, files, tmp_path / "out", Sizes(2, 2))
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_too_few_images_an_unknown_set_and_a_folder_inside_the_images(tmp_path):
    files = coco(tmp_path)
    with pytest.raises(UserError, match="8 of them differ, and 50000 are asked for"):
        prepare("coco", files, tmp_path / "out", Sizes(2, 2, None, 50_000))
    with pytest.raises(UserError, match="dataset='cocoa': is unknown; did you mean"):
        prepare("cocoa", files, tmp_path / "out", Sizes(2, 2))
    with pytest.raises(UserError, match=r"lies in .*train2017; choose one outside"):
        prepare("coco", files, files.images / "out", Sizes(2, 2))
    with pytest.raises(UserError, match=r"folder .*none: does not exist"):
        prepare("coco", Files(tmp_path / "none", files.captions), tmp_path, Sizes(1, 1))


def test_the_command_prepares_and_its_errors_are_one_line(tmp_path):
    files = coco(tmp_path)
    command = [sys.executable, "-m", "score_mia.papers.pang_wang.prepare"]
    command += ["--dataset=coco", f"--images={files.images}"]
    command += [f"--captions={files.captions[0]}", f"--out={tmp_path / 'out'}"]
    sizes = ["--members=2", "--nonmembers=2", "--auxiliary=1", "--pool=6"]
    run = subprocess.run(
        [*command, *sizes], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "6 images; 2 members, 2 nonmembers, 1 auxiliary" in run.stdout
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    want = "error: 8 captioned images: 8 of them differ, and 50000 are asked for;"
    assert run.stderr.splitlines()[-1].startswith(want)
    assert "Traceback" not in run.stderr
