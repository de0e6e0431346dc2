"""Own images in class folders become a root: any names, folder or archive, with splits or without."""

import os
import re
import shutil
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import FeedlineError, SourceError, list_samples, prepare_imagefolder, read_manifest, verify

from ..trees import Files, tree, write_tree
from .photos import CLASSES, below, classes, image, tarred, zipped

Captured = pytest.CaptureFixture[str]


def prepare(out: Path, *arguments: object) -> int:
    return run(["prep", "imagefolder", *map(str, arguments), "--out", str(out)])


def names(files: Files, split: str) -> set[str]:
    return {path.partition("/")[2] for path in files if path.startswith(f"{split}/")}


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz", "tar.xz", "mac zip", "one folder around"])
def test_every_form_gives_the_same_root(form: str, tmp_path: Path, capsys: Captured) -> None:
    """Three scripts, spaces and dots; the source stays as it is, and the second run writes nothing."""
    files = classes()
    if form == "folder":
        source = write_tree(tmp_path / "photos", files)
    elif form == "one folder around":
        source = write_tree(tmp_path / "photos", below("a/b", files))
    elif form == "mac zip":
        source = zipped(tmp_path / "photos.zip", below("photos", files) | below("__MACOSX/photos", {"._x.jpg": b"x"}))
    elif form == "zip":
        source = zipped(tmp_path / "photos.zip", files)
    else:
        mode = {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz"}[form]
        source = tarred(tmp_path / f"photos.{form}", below(".", files), mode)
    before = tree(source) if source.is_dir() else source.read_bytes()
    out = tmp_path / "data"

    assert prepare(out, source, "--val-fraction", "0.34") == 0
    manifest, written = read_manifest(out), tree(out)
    assert prepare(out, source, "--val-fraction", "0.34") == 0

    assert "holds this already; nothing was written" in capsys.readouterr().err
    assert [entry.id for entry in manifest.classes] == sorted(CLASSES) and manifest.dataset == "photos"
    assert manifest.splits["train"].per_class == (4, 4, 4) and manifest.splits["val"].per_class == (2, 2, 2)
    assert {path.partition("/")[2]: data for path, data in written.items()} == files
    assert (tree(source) if source.is_dir() else source.read_bytes()) == before
    assert read_manifest(out) == manifest and tree(out) == written and verify(out, decode=True).ok
    assert not (out / ".partial").exists()


def test_val_depends_on_the_names_of_the_class_alone(tmp_path: Path) -> None:
    """Not on other classes, the order or the form of the source; another seed gives another val."""
    few, more = classes(CLASSES[:1], 20), classes(["Ä", *CLASSES], 20)
    prepare_imagefolder([write_tree(tmp_path / "few", few)], tmp_path / "a", val_fraction=0.2)
    reverse = zipped(tmp_path / "more.zip", dict(reversed(more.items())))
    prepare_imagefolder([reverse], tmp_path / "b", val_fraction=0.2)
    prepare_imagefolder([reverse], tmp_path / "c", val_fraction=0.2, seed=1)

    one, two, other = (names(tree(tmp_path / out), "val") for out in "abc")
    assert one == {name for name in two if name.startswith(f"{CLASSES[0]}/")} and len(one) == 4
    assert len(two) == len(other) == 16 and two != other


def test_at_least_one_image_of_a_class_is_for_training(tmp_path: Path) -> None:
    """However large the fraction; one that takes no image is refused."""
    source = write_tree(tmp_path / "photos", classes(["a"], 1) | classes(["b"], 3))
    manifest = prepare_imagefolder([source], tmp_path / "data", val_fraction=0.99)
    assert manifest.splits["train"].per_class == (1, 1) and manifest.splits["val"].per_class == (0, 2)
    with pytest.raises(SourceError, match="takes no image: the largest class has 3; give a larger fraction"):
        prepare_imagefolder([source], tmp_path / "none", val_fraction=0.01)


def test_without_a_val_a_line_says_how_to_get_one(tmp_path: Path, capsys: Captured) -> None:
    assert prepare(tmp_path / "data", write_tree(tmp_path / "photos", classes())) == 0
    assert "no split is val" in (said := capsys.readouterr().err) and "--val-fraction 0.1" in said
    assert list(read_manifest(tmp_path / "data").splits) == ["train"]


def test_splits_are_taken_as_they_are(tmp_path: Path, capsys: Captured) -> None:
    """From folders, and from sources that are called so; test may have labels or none."""
    files = below("Training", classes()) | below("valid", classes(images=2)) | below("test", {"1.jpg": image(1)})
    source = write_tree(tmp_path / "photos", files)
    assert prepare(tmp_path / "a", source) == 0
    parts = [
        zipped(tmp_path / "my-train.zip", classes()),
        tarred(tmp_path / "val.tar.gz", classes(images=2), "w:gz"),
        write_tree(tmp_path / "testing", {"1.jpg": image(1)}),
    ]
    assert prepare(tmp_path / "b", *parts) == 0

    found = read_manifest(tmp_path / "a")
    assert found.splits == read_manifest(tmp_path / "b").splits and tree(tmp_path / "a") == tree(tmp_path / "b")
    assert {name: split.per_class for name, split in found.splits.items()} == {
        "train": (6, 6, 6),
        "val": (2, 2, 2),
        "test": (),
    }
    assert prepare(tmp_path / "c", source, "--val-fraction", "0.1") == 1
    assert "have a val split already; leave --val-fraction out" in capsys.readouterr().err
    assert prepare(tmp_path / "d", source, "--split-from", "valid=test", "--split-from", "test=val") == 1
    assert prepare(tmp_path / "e", source, "--split-from", "nothing=test") == 1
    assert "named 'nothing'; correct --split-from" in capsys.readouterr().err


def test_a_split_can_come_later_and_another_source_cannot(tmp_path: Path, capsys: Captured) -> None:
    """A new class is taken in; the shards are said to be old."""
    train, val = (write_tree(tmp_path / name, classes()) for name in ("train", "val"))
    write_tree(val, classes(["Zebra"], 1))
    out = tmp_path / "data"
    assert prepare(out, train) == 0 and run(["shard", str(out)]) == 0
    before = tree(out / "train")

    assert prepare(out, val) == 0

    said = capsys.readouterr().err
    assert "1 class is in val and not in train: Zebra" in said and "the shards are now old" in said
    assert tree(out / "train") == before and read_manifest(out).splits["train"].per_class == (6, 0, 6, 6)
    assert prepare(out, train, val) == 0
    assert prepare(out, write_tree(tmp_path / "other" / "train", classes(images=2))) == 1
    assert "data holds train of train, val, not of these sources and options" in capsys.readouterr().err
    assert prepare(out, train, "--val-fraction", "0.2") == 1


def test_sources_are_merged_and_an_image_is_given_once(tmp_path: Path, capsys: Captured) -> None:
    """Pieces of one folder, as download services cut them."""
    files = classes()
    one = {path: data for path, data in files.items() if "img 0" not in path}
    rest = {path: data for path, data in files.items() if path not in one}
    pieces = [zipped(tmp_path / "photos-001.zip", one), tarred(tmp_path / "photos-002.tar.gz", rest, "w:gz")]
    assert prepare(tmp_path / "data", *pieces) == 0
    assert {path.partition("/")[2]: data for path, data in tree(tmp_path / "data").items()} == files

    assert prepare(tmp_path / "again", *pieces, write_tree(tmp_path / "photos", files)) == 1
    said = capsys.readouterr().err
    assert "are one image of train; give each image once" in said and "photos-00" in said
    assert not (tmp_path / "again").exists()


def test_nested_folders_belong_to_their_class_or_are_classes(tmp_path: Path, capsys: Captured) -> None:
    """The names of the folders stay in the names of the files; a class of two folders is one folder on the disk."""
    files = {"animals/cat/a.jpg": image(1), "animals/dog/a.jpg": image(2), "animals/b.jpg": image(3)}
    source = write_tree(tmp_path / "photos", files | {"plants/rose/a.jpg": image(4)})
    assert prepare(tmp_path / "first", source) == 0
    said = capsys.readouterr().err
    assert "3 folders lie deeper than the classes" in said and "animals also holds images itself" in said
    assert "--class-depth path" in said
    assert sorted(tree(tmp_path / "first")) == [
        *(f"train/animals/{name}.jpg" for name in ("b", "cat_a", "dog_a")),
        "train/plants/rose_a.jpg",
    ]
    assert prepare(tmp_path / "all", source, "--class-depth", "path") == 0
    manifest = read_manifest(tmp_path / "all")
    assert [entry.id for entry in manifest.classes] == ["animals", "animals/cat", "animals/dog", "plants/rose"]
    assert (tmp_path / "all/train/animals%2Fcat/a.jpg").read_bytes() == image(1)
    assert [sample.label for sample in list_samples(tmp_path / "all", manifest, "train")] == [0, 1, 2, 3]
    assert prepare(tmp_path / "x", source, "--class-depth", "0") == 2


def test_names_that_windows_cannot_hold_are_escaped(tmp_path: Path) -> None:
    files = {"what?/a:b.jpg": image(1), "con/a. .jpg": image(2), "100%/\u202ex\n.jpg": image(3)}
    manifest = prepare_imagefolder([tarred(tmp_path / "photos.tar", files)], tmp_path / "data")
    assert [entry.id for entry in manifest.classes] == ["100%", "con", "what?"]
    assert sorted(tree(tmp_path / "data")) == [
        "train/%63on/a. .jpg",
        "train/100%/\u202ex%0A.jpg",
        "train/what%3F/a%3Ab.jpg",
    ]
    assert [s.size for s in list_samples(tmp_path / "data", manifest, "train")] == [
        len(files[name]) for name in sorted(files)
    ]


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_are_not_utf8_are_kept_traceable(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "photos", classes(["a", "b"]))
    (source / "a" / "caf\udce9.jpg").write_bytes(image(9))
    prepare_imagefolder([source], tmp_path / "data")
    assert (tmp_path / "data/train/a/caf%E9.jpg").read_bytes() == image(9)


def test_what_is_passed_over_is_counted(tmp_path: Path, capsys: Captured) -> None:
    """Files of other kinds, hidden ones, images outside of class folders, folders without an image."""
    others = {
        "a/x.txt": b"x",
        "b.xml": b"x",
        "cover.jpg": image(0),
        ".git/x.jpg": b"x",
        "a/.x.jpg": b"x",
        "notes/x": b"x",
    }
    source = write_tree(tmp_path / "photos", classes(["a", "b"]) | others)
    assert prepare(tmp_path / "data", source) == 0
    said = capsys.readouterr().err
    assert "left out: 1 .git/, 1 .txt, 1 .xml, 1 hidden .jpg, 1 image in no class folder, 1 no suffix" in said
    assert "folders without an image, which are no classes: notes" in said
    zipped(tmp_path / "photos.zip", classes(["a", "b"]) | others)
    assert prepare(tmp_path / "other", tmp_path / "photos.zip") == 0
    assert "left out: 1 .txt, " in capsys.readouterr().err
    assert tree(tmp_path / "other") == tree(tmp_path / "data")


BAD: dict[str, tuple[Files, str]] = {
    "two classes that differ in case": (
        classes(["Cat", "cat"]),
        "the classes 'Cat' and 'cat' differ only in case, so that they are one folder on Windows and macOS; rename",
    ),
    "two classes that differ in accents": (
        classes(["Ka\u0308fer", "K\u00e4fer"]),
        "differ only in the form of their accents (NFC and NFD)",
    ),
    "two images that differ in case": (
        {"a/x.jpg": image(1), "a/X.jpg": image(2)},
        "differ only in case, so that one of them would be lost",
    ),
    "a class without a name": (classes(["a", "b\x07"]), "cannot be the name of a class"),
    "flat": ({"1.jpg": image(1)}, "holds 1 images that are in no class folder; name their classes in a list"),
    "no image": ({"a/x.txt": b"x"}, "holds no image, but 1 file: 1 .txt"),
    "an empty image": ({"a/x.jpg": b"", "b/x.jpg": image(1)}, "has 0 bytes, which no image has"),
    "a text called .jpg": ({"a/x.jpg": b"<html>" * 9, "b/x.jpg": image(1)}, "an HTML page; "),
    "a way out": ({"../a/x.jpg": image(1)}, "holds the path '../a/x.jpg', which is refused"),
    "an absolute path": ({"/a/x.jpg": image(1)}, "holds the path '/a/x.jpg', which is refused"),
    "shards": ({"1.jpg": image(1), "1.cls": b"1"}, "is a WebDataset shard, .*feedline prep webdataset"),
    "unknown splits": (below("a", classes()) | below("b", classes()), "--class-depth 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case: str, tmp_path: Path, capsys: Captured) -> None:
    """With the thing, its value and what to do; nothing looks finished, and the output is not there."""
    files, message = BAD[case]
    source = tarred(tmp_path / "photos.tar", files)
    assert prepare(tmp_path / "data", source) == 1
    said = capsys.readouterr().err.strip().splitlines()
    pattern = message if ".*" in message else re.escape(message)
    assert said[-1].startswith("feedline: ") and re.search(pattern, said[-1])
    assert not (tmp_path / "data" / "manifest.json").exists()


def test_other_sources_are_named_with_their_command(root: Path, tmp_path: Path, capsys: Captured) -> None:
    """A root, shards, parquet, lists, archives of archives, a missing folder."""
    shards = write_tree(tmp_path / "shards", {"manifest.json": b'{"format": "feedline-shards"}'})
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    tarred(foreign / "0.tar", {"1.jpg": image(1), "1.cls": b"1"})
    parquet = write_tree(tmp_path / "hf", {"data/train-0.parquet": b"PAR1"})
    archives = tmp_path / "archives"
    archives.mkdir()
    zipped(archives / "a.zip", classes())
    expected = {
        root: f"is a data set root already; next: feedline shard {root}",
        shards: "feedline prep webdataset",
        foreign: "feedline prep webdataset",
        parquet: f"feedline prep parquet {parquet} --out ROOT",
        parquet / "data/train-0.parquet": "feedline prep parquet",
        write_tree(tmp_path, {"l/labels.csv": b"file,label\n"}) / "l/labels.csv": "--labels",
        archives: f"give them themselves, such as: {archives / 'a.zip'}",
        tmp_path / "missing": "does not exist; give a folder, zip or tar",
    }
    for source, message in expected.items():
        assert prepare(tmp_path / "data", source) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_one_class_is_prepared_with_a_warning(tmp_path: Path, capsys: Captured) -> None:
    assert prepare(tmp_path / "data", write_tree(tmp_path / "photos", classes(["cat"]))) == 0
    assert "there is 1 class only; training needs two or more" in capsys.readouterr().err


def test_links_are_followed_and_broken_ones_stop_the_command(tmp_path: Path, capsys: Captured) -> None:
    source = write_tree(tmp_path / "photos", classes(["a"]))
    try:
        (source / "b").symlink_to(write_tree(tmp_path / "elsewhere", {"x.jpg": image(1)}), target_is_directory=True)
        (source / "a" / "again").symlink_to(source, target_is_directory=True)
    except OSError:
        pytest.skip("this account cannot make links")
    assert prepare_imagefolder([source], tmp_path / "data").splits["train"].per_class == (6, 1)
    (source / "a" / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    assert prepare(tmp_path / "other", source) == 1
    assert "1 symbolic link to files that are not there" in capsys.readouterr().err


def test_imagenet_folders_are_class_folders_too(root: Path, tmp_path: Path) -> None:
    """The wnids are the class ids; nothing is compared with the official release."""
    source = Path(shutil.copytree(root, tmp_path / "imagenet", ignore=shutil.ignore_patterns("manifest.json", "test")))
    manifest = prepare_imagefolder([source], tmp_path / "data")
    before = read_manifest(root)
    assert [entry.id for entry in manifest.classes] == [entry.id for entry in before.classes]
    assert tree(tmp_path / "data") == tree(source)


def test_unprepared_images_are_sent_to_this_command(tmp_path: Path, capsys: Captured) -> None:
    """By every command that takes a root, and by prep imagenet; the command that is named works."""
    source = write_tree(tmp_path / "photos", classes())
    for arguments in (
        ["bench", source, "--out", tmp_path / "b"],
        ["prep", "imagenet", source, "--out", tmp_path / "x"],
    ):
        assert run(list(map(str, arguments))) == 1
        assert "feedline prep imagefolder" in capsys.readouterr().err
    assert run(["verify", str(source)]) == 1
    assert f"feedline prep imagefolder {source} --out {source}" in capsys.readouterr().err
    assert prepare(source, source) == 0 and run(["prep", "imagenet", str(tmp_path / "no"), "--out", "x"]) == 1


def test_the_public_function_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FeedlineError, match="does not exist"):
        prepare_imagefolder([tmp_path / "none"], tmp_path / "data")
