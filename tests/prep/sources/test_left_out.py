"""Every file of a source is taken or counted: strangers, hidden folders, links whose target is gone."""

import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from feedline.prep import SourceError, find_samples, prepare_imagenet, prepare_tiny_imagenet, read_manifest
from feedline.prep.sources.recognise import recognise

from ..layouts import kaggle, write_zip
from ..trees import TRAIN, Files, flat, only, tar_of, tree, write_tar, write_tree

STRANGERS = {
    "train/n01440764/a.avif": b"w",
    "train/n01440764/b.AVIF": b"w",
    "train/n01440764/Thumbs.db": b"t",
    "val/n01440764/x.bpg": b"b",
    "Annotations/x.xml": b"<a/>",
    "README": b"r",
    "train/n01440764/.DS_Store": b"d",
    "train/n01440764/._x.JPEG": b"d",
}
KINDS = {".avif": 2, ".db": 1, ".bpg": 1, ".xml": 1, "no suffix": 1, ".DS_Store": 1, "._*": 1}
SAID = "left out: 8 files: 2 .avif, 1 .DS_Store, 1 ._*, 1 .bpg, 1 .db, 1 .xml, 1 no suffix"


def packed(place: Path, files: Files, form: str) -> Path:
    place.mkdir(exist_ok=True)
    if form == "folder":
        return write_tree(place, files)
    if form == "zip":
        return write_zip(place / "data.zip", files)
    return write_tar(place / f"data.{form}", files, {"tar.gz": "w:gz"}.get(form, "w"))


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz"])
def test_what_is_not_taken_is_counted_and_said(files: Files, tmp_path: Path, form: str) -> None:
    """The same counts in every form, for prep and for shard; complete before a byte is written if asked for."""
    source = packed(tmp_path / "in", {**files, **STRANGERS}, form)
    told, sharded = list[str](), list[str]()

    prepare_imagenet([source], tmp_path / "out", notice=told.append)
    find_samples(source, notice=sharded.append)

    assert tree(tmp_path / "out") == files
    assert f"{source}: {SAID}" in told and f"{source}: {SAID}" in sharded
    assert dict(recognise([source], count=True).left_out) == {source: Counter(KINDS)}


def test_nothing_is_said_if_all_is_taken(archives: Path, tmp_path: Path) -> None:
    """The official archives hold nothing else."""
    told: list[str] = []
    prepare_imagenet([archives / TRAIN], tmp_path / "out", notice=told.append)
    assert not any("left out" in line for line in told)
    assert not recognise([archives / TRAIN], count=True).left_out


def test_class_tars_may_hold_strangers(files: Files, tmp_path: Path) -> None:
    """Inside the inner tars and beside them; counted before the images are read if asked for."""
    inner = {path.rpartition("/")[2]: data for path, data in only(files, "train/n01440764/").items()}
    source = tmp_path / TRAIN
    source.write_bytes(tar_of({"n01440764.tar": tar_of({**inner, "notes.txt": b"n"}), "README.md": b"r"}))
    told: list[str] = []

    assert recognise([source], count=True).left_out[source] == {".md": 1, ".txt": 1}
    prepare_imagenet([source], tmp_path / "out", notice=told.append)

    assert f"{source}: left out: 2 files: 1 .md, 1 .txt" in told
    assert tree(tmp_path / "out") == only(files, "train/n01440764/")


def test_kaggles_lists_are_compared_and_annotations_counted(files: Files, tmp_path: Path) -> None:
    """A list that is compared is not left out."""
    source = write_zip(tmp_path / "kaggle.zip", kaggle(files))
    told: list[str] = []
    prepare_imagenet([source], tmp_path / "out", notice=told.append)
    assert f"{source}: left out: 3 files: 2 .txt, 1 .xml" in told


def test_images_elsewhere_in_a_folder_are_counted(files: Files, tmp_path: Path) -> None:
    """A photograph that lies in no class and no split is none of the data set, and said."""
    source = write_tree(tmp_path / "in", {**files, "holiday/beach.jpg": b"x", ".git/config": b"g"})
    told: list[str] = []
    prepare_imagenet([source], tmp_path / "out", notice=told.append)
    assert tree(tmp_path / "out") == files
    assert f"{source}: left out: 2 files: 1 .git/, 1 .jpg" in told


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_tiny_imagenet_counts_too(archives: Path, tmp_path: Path, form: str) -> None:
    """A Mac's zip, a stranger among the images: left out and said; before, the whole archive was refused."""
    with zipfile.ZipFile(archives / "tiny-imagenet-200.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    extra = {"tiny-imagenet-200/train/x.avif": b"x", "tiny-imagenet-200/.DS_Store": b"d"}
    source = packed(tmp_path / "in", files | extra, form)
    told: list[str] = []

    prepare_tiny_imagenet(source, tmp_path / "out", notice=told.append)

    assert f"{source}: left out: 2 files: 1 .DS_Store, 1 .avif" in told


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPG"])
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_tiny_imagenet_encoded_again_keeps_its_splits(archives: Path, tmp_path: Path, suffix: str, form: str) -> None:
    """Its lists name .JPEG; the name before the suffix counts. Before, there was no train split, with exit 0."""
    with zipfile.ZipFile(archives / "tiny-imagenet-200.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    prepare_tiny_imagenet(archives / "tiny-imagenet-200.zip", tmp_path / "expected")
    source = packed(tmp_path / "in", {n.replace(".JPEG", f".{suffix}"): data for n, data in files.items()}, form)

    manifest = prepare_tiny_imagenet(source, tmp_path / "out")

    assert manifest.splits.keys() == {"train", "val", "test"}
    assert {n: s.per_class for n, s in manifest.splits.items()} == {
        n: s.per_class for n, s in read_manifest(tmp_path / "expected").splits.items()
    }
    assert {path for path in tree(tmp_path / "out") if "annotations" not in path} == {
        path.replace(".JPEG", f".{suffix}") for path in tree(tmp_path / "expected") if "annotations" not in path
    }


def test_a_tiny_imagenet_without_train_is_refused(archives: Path, tmp_path: Path) -> None:
    """Box lists alone make no class."""
    with zipfile.ZipFile(archives / "tiny-imagenet-200.zip") as archive:
        files = {n: archive.read(n) for n in archive.namelist() if not n.endswith("/") and "train/" not in n}
    with pytest.raises(SourceError, match="holds no training image of Tiny-ImageNet"):
        prepare_tiny_imagenet(write_tree(tmp_path / "in", files), tmp_path / "out")


needs_links = pytest.mark.skipif(os.name == "nt", reason="Windows lets only administrators make symbolic links")


@needs_links
@pytest.mark.parametrize("tool", ["annex", "none"])
@pytest.mark.parametrize("kind", ["image", "class", "archive", "source"])
def test_broken_links_are_refused_by_name_and_count(files: Files, tmp_path: Path, tool: str, kind: str) -> None:
    """git-annex and datalad leave links without their files: 15 of 18 images and exit 0, before."""
    place = write_tree(tmp_path / "in", files)
    target = "../../.git/annex/objects/aa/bb/SHA256E-s1.JPEG" if tool == "annex" else "/gone/n01.JPEG"
    links = {
        "image": [place / path for path in list(files)[:3]],
        "class": [place / "train/n02084071"],
        "archive": [place / "ILSVRC2012_img_train.tar"],
        "source": [tmp_path / "ILSVRC2012_img_train.tar"],
    }[kind]
    for link in links:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    source = links[0] if kind == "source" else place

    says = "git annex get .*datalad get" if tool == "annex" else "bring their targets back"
    with pytest.raises(SourceError, match=f"{len(links)} symbolic link.*that are not there.*{says}") as caught:
        prepare_imagenet([source], tmp_path / "out")
    assert str(sorted(links)[0]) in str(caught.value) and not (tmp_path / "out").exists()


@needs_links
def test_whole_links_are_read_and_loops_end(files: Files, tmp_path: Path) -> None:
    """A class that is a link to another disk is data; a link that leads back up, or to itself, is followed once."""
    elsewhere = write_tree(tmp_path / "elsewhere", only(files, "train/n01440764/"))
    place = write_tree(tmp_path / "in", {p: d for p, d in files.items() if not p.startswith("train/n01440764/")})
    (place / "train/n01440764").symlink_to(elsewhere / "train/n01440764")
    (place / "train/up").symlink_to(place)

    prepare_imagenet([place], tmp_path / "out")

    assert tree(tmp_path / "out") == files


@pytest.mark.parametrize("name", ["lost+found", "$RECYCLE.BIN", "System Volume Information"])
def test_folders_of_the_system_are_no_reason_to_stop(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """They cannot be read and hold nothing of ours; any other folder that cannot be read is an error."""
    place = write_tree(tmp_path / "in", files)
    (place / name).mkdir()
    (place / "train/private").mkdir()
    scandir, closed = os.scandir, {str(place / name)}

    def guarded(path: "os.PathLike[str] | str") -> "os.scandir[str]":  # pyright: ignore
        if str(path) in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    told: list[str] = []
    prepare_imagenet([place], tmp_path / "out", notice=told.append)
    assert tree(tmp_path / "out") == files and any(f"1 {name}/" in line for line in told)
    closed.add(str(place / "train/private"))
    with pytest.raises(SourceError, match=r"cannot read the folder .*private: Permission denied"):
        prepare_imagenet([place], tmp_path / "no")


def test_folders_too_deep_are_no_silent_loss(files: Files, tmp_path: Path) -> None:
    """Twelve folders are read; before, images below the eighth were passed over."""
    deep = "/".join("abcdefghijkl")
    source = write_tree(tmp_path / "in", {f"{deep}/{path}": data for path, data in flat(files).items()})
    prepare_imagenet([source], tmp_path / "out")
    assert tree(tmp_path / "out") == files


@pytest.mark.parametrize("change", [b".JPEX", b".JPE/"])
@pytest.mark.parametrize("data_set", ["imagenet", "tiny"])
def test_a_damaged_name_is_not_left_out(
    archives: Path, files: Files, tmp_path: Path, change: bytes, data_set: str
) -> None:
    """No CRC covers the names in a zip's directory: an image must not become a stranger by one changed byte."""
    source = tmp_path / "x.zip"
    if data_set == "tiny":
        source.write_bytes((archives / "tiny-imagenet-200.zip").read_bytes())
    else:
        write_zip(source, files)
    data = bytearray(source.read_bytes())
    place = data.rindex(b".JPEG", 0, data.rindex(b"train/n01440764"[:5]) + 200)
    data[place : place + 5] = change
    source.write_bytes(data)

    with pytest.raises(SourceError, match=r"x\.zip: .* is (not at offset|a folder of) .*download it again"):
        if data_set == "tiny":
            prepare_tiny_imagenet(source, tmp_path / "out")
        else:
            prepare_imagenet([source], tmp_path / "out")
