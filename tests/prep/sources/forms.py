"""What users have in place of the official archives: each form is built by its row in docs/prep.md.

A builder takes an empty folder, the folder of the official archives and the files of their root, and returns the
sources. ``READ`` gives the root's files; ``REFUSED`` gives an error that contains the text in the row of the table.
"""

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ..layouts import write_zip
from ..trees import TRAIN, VAL, Files, only, tar_of, write_tar, write_tree

Build = Callable[[Path, Path, Files], list[Path]]


def below(files: Files, split: str) -> Files:
    """The files of a split without its folder."""
    return {path.split("/", 1)[1]: data for path, data in only(files, f"{split}/").items()}


def class_tars(files: Files) -> Files:
    """{"n01440764.tar": bytes} of train."""
    images: dict[str, Files] = {}
    for path, data in below(files, "train").items():
        wnid, _, name = path.partition("/")
        images.setdefault(f"{wnid}.tar", {})[name] = data
    return {name: tar_of(found) for name, found in images.items()}


def loose(files: Files) -> Files:
    return {path.rpartition("/")[2]: data for path, data in only(files, "val/").items()}


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def two_tars_of_class_folders(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_tar(place / f"{split}.tar", below(files, split)) for split in ("train", "val")]


def two_zips_of_class_folders(place: Path, archives: Path, files: Files) -> list[Path]:
    for split in ("train", "val"):
        write_zip(place / f"{split}.zip", below(files, split))
    return [place]


def two_tars_with_split_folders(place: Path, archives: Path, files: Files) -> list[Path]:
    write_tar(place / "a.tar", only(files, "train/"))
    write_tar(place / "b.tar", only(files, "val/"))
    return [place]


def half_finished_script(place: Path, archives: Path, files: Files) -> list[Path]:
    """Two class tars are unpacked, and of one of them half, with its tar still there."""
    tars = class_tars(files)
    first, second, third = sorted(tars)
    unpacked = only(files, f"train/{first[:-4]}/")
    half = dict(list(only(files, f"train/{second[:-4]}/").items())[:1])
    write_tree(place, {**unpacked, **half, f"train/{second}": tars[second], f"train/{third}": tars[third]})
    write_tree(place, only(files, "val/"))
    return [place]


def train_with_dot(place: Path, archives: Path, files: Files) -> list[Path]:
    tars = {f"./{name}": data for name, data in class_tars(files).items()}
    return [put(place / TRAIN, tar_of(tars)), archives / VAL]


def train_below_a_folder(place: Path, archives: Path, files: Files) -> list[Path]:
    tars = {f"ILSVRC2012_img_train/{name}": data for name, data in class_tars(files).items()}
    return [put(place / TRAIN, tar_of(tars)), archives / VAL]


def inner_tars_with_dot(place: Path, archives: Path, files: Files) -> list[Path]:
    tars: Files = {}
    for name, data in class_tars(files).items():
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            images = {f"./{member.name}": (tar.extractfile(member) or io.BytesIO()).read() for member in tar}
        tars[name] = tar_of(images)
    return [put(place / TRAIN, tar_of(tars)), archives / VAL]


def val_with_dot(place: Path, archives: Path, files: Files) -> list[Path]:
    images = {f"./{name}": data for name, data in loose(files).items()}
    return [archives / TRAIN, put(place / VAL, tar_of(images))]


def val_below_a_folder(place: Path, archives: Path, files: Files) -> list[Path]:
    images = {f"ILSVRC2012_img_val/{name}": data for name, data in loose(files).items()}
    return [archives / TRAIN, put(place / VAL, tar_of(images))]


def packed_by(pack: Callable[[bytes], bytes], suffix: str) -> Build:
    def build(place: Path, archives: Path, files: Files) -> list[Path]:
        return [put(place / f"{name}.{suffix}", pack((archives / name).read_bytes())) for name in (TRAIN, VAL)]

    return build


def zstd(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd as library  # pyright: ignore

        return library.compress(data)
    return pytest.importorskip("zstandard", reason="zstd needs zstandard (extra zstd)").compress(data)


def packed_tree_of_val(place: Path, archives: Path, files: Files) -> list[Path]:
    """What a compressed tar of a tree holds is known after it was read."""
    images = {f"ILSVRC2012_img_val/{name}": data for name, data in loose(files).items()}
    return [archives / TRAIN, write_tar(place / "x.tar.gz", images, "w:gz")]


def packed_class_tars(place: Path, archives: Path, files: Files) -> list[Path]:
    for name, data in class_tars(files).items():
        put(place / f"{name}.gz", gzip.compress(data))
    return [place, archives / VAL]


def val_of_class_tars(place: Path, archives: Path, files: Files) -> list[Path]:
    """A tar for each class of val, in a folder of val."""
    (place / "val").mkdir()
    for wnid in sorted({path.split("/")[0] for path in below(files, "val")}):
        images = {path.rpartition("/")[2]: data for path, data in only(files, f"val/{wnid}/").items()}
        put(place / f"val/{wnid}.tar", tar_of(images))
    return [archives / TRAIN, place]


def one_class_tar(place: Path, archives: Path, files: Files) -> list[Path]:
    return [put(place / name, data) for name, data in class_tars(files).items()] + [archives / VAL]


def doubled_folders(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_tree(place, {f"train/{path}" if path.startswith("train") else path: d for path, d in files.items()})]


def numbered_zips(place: Path, archives: Path, files: Files) -> list[Path]:
    """Cloud drives cut a folder into several zips, classes and all."""
    every = list(files.items())
    for number in range(3):
        write_zip(place / f"imagenet-20261101T0101Z-00{number + 1}.zip", dict(every[number::3]))
    return [place]


def mac_zip(place: Path, archives: Path, files: Files) -> list[Path]:
    junk = {"imagenet/.DS_Store": b"d", "__MACOSX/imagenet/._.DS_Store": b"d", "imagenet/train/Icon\r": b""}
    junk |= {f"__MACOSX/imagenet/{path.rpartition('/')[0]}/._{path.rpartition('/')[2]}": b"x" for path in files}
    return [write_zip(place / "imagenet.zip", junk | {f"imagenet/{path}": data for path, data in files.items()})]


def powershell_zip(place: Path, archives: Path, files: Files) -> list[Path]:
    with zipfile.ZipFile(place / "imagenet.zip", "w") as archive:
        for path, data in files.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = "imagenet\\" + path.replace("/", "\\"), 0
            archive.writestr(info, data)
    return [place / "imagenet.zip"]


def everything_in_one_tar(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_tar(place / "imagenet.tar", {**only(files, "val/"), **only(files, "train/")})]


def images_below_classes(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_tree(place, {"/images/".join(path.rsplit("/", 1)): data for path, data in files.items()})]


READ: dict[str, tuple[Build, ...]] = {
    "`train.tar` and `val.tar` of class folders": (
        two_tars_of_class_folders,
        two_tars_with_split_folders,
        two_zips_of_class_folders,
    ),
    "`train` and `val` in one tar": (everything_in_one_tar,),
    "a script that was stopped: class folders and class tars": (half_finished_script,),
    "tars that were packed again, with `./` or a folder before the names": (
        train_with_dot,
        train_below_a_folder,
        inner_tars_with_dot,
        val_with_dot,
        val_below_a_folder,
    ),
    "tars compressed by gzip, bzip2 or xz": (
        packed_by(gzip.compress, "gz"),
        packed_by(bz2.compress, "bz2"),
        packed_by(lzma.compress, "xz"),
        packed_tree_of_val,
    ),
    "tars compressed by zstd": (packed_by(zstd, "zst"),),
    "class tars of train or val, also compressed": (packed_class_tars, val_of_class_tars, one_class_tar),
    "a doubled folder, such as `train/train`": (doubled_folders,),
    "class folders with `images/` in each": (images_below_classes,),
    "several zips of one folder (`…-001.zip`, `…-002.zip`)": (numbered_zips,),
    "a zip made on a Mac": (mac_zip,),
    "a zip with backslashes, as Windows PowerShell writes it": (powershell_zip,),
}


def archive_beside_folder(place: Path, archives: Path, files: Files) -> list[Path]:
    put(place / VAL, (archives / VAL).read_bytes())
    return [write_tree(place, only(files, "val/"))]


def train_beside_class_tars(place: Path, archives: Path, files: Files) -> list[Path]:
    put(place / TRAIN, (archives / TRAIN).read_bytes())
    return [write_tree(place, class_tars(files))]


def starts_with(start: bytes, name: str = TRAIN) -> Build:
    def build(place: Path, archives: Path, files: Files) -> list[Path]:
        return [put(place / name, start + b"\n" * 600)]

    return build


def in_folder(build: Build) -> Build:
    """The same file, in a folder that is given."""

    def built(place: Path, archives: Path, files: Files) -> list[Path]:
        return [build(place, archives, files)[0].parent]

    return built


def pieces(place: Path, archives: Path, files: Files) -> list[Path]:
    data = (archives / TRAIN).read_bytes()
    return [put(place / f"{TRAIN}.a{letter}", data[i * 5000 : i * 5000 + 5000]) for i, letter in enumerate("ab")][:1]


def numbered_pieces(place: Path, archives: Path, files: Files) -> list[Path]:
    return [put(place / "imagenet.zip.001", b"PK\3\4" + bytes(100))]


def shards(place: Path, archives: Path, files: Files) -> list[Path]:
    members: Files = {}
    for path, data in only(files, "train/").items():
        key = path.rpartition("/")[2].removesuffix(".JPEG")
        members |= {f"{key}.jpg": data, f"{key}.cls": b"0"}
    return [write_tar(place / "imagenet-train-000000.tar", members)]


def shards_of_img2dataset(place: Path, archives: Path, files: Files) -> list[Path]:
    members = {f"{i:09d}.{kind}": data for i, data in enumerate(files.values()) for kind in ("json", "jpg")}
    return [write_tar(place / "00000.tar", members)]


def tar_of_archives(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_tar(place / "downloads.tar", {VAL: (archives / VAL).read_bytes()})]


def zip_of_archives(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_zip(place / "downloads.zip", {VAL: (archives / VAL).read_bytes()})]


def named(path: str) -> Build:
    def build(place: Path, archives: Path, files: Files) -> list[Path]:
        return [write_tar(place / "x.tar", {path: next(iter(files.values()))})]

    return build


def test_classes(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_tree(place, {path.replace("train/", "test/"): d for path, d in only(files, "train/").items()})]


def unknown_names(place: Path, archives: Path, files: Files) -> list[Path]:
    val = {path.replace("val/", "b/").replace("ILSVRC2012_val_", "x"): d for path, d in only(files, "val/").items()}
    return [write_tree(place, val | {path.replace("train/", "a/"): d for path, d in only(files, "train/").items()})]


def packed_page(place: Path, archives: Path, files: Files) -> list[Path]:
    return [put(place / "x.tar.gz", gzip.compress(b"<!DOCTYPE html>" * 100))]


SEVEN, RAR = starts_with(b"7z\xbc\xaf\x27\x1c", "imagenet.7z"), starts_with(b"Rar!\x1a\x07\x01\x00", "imagenet.rar")
POINTER = starts_with(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 147897477120")
PAGE = starts_with(b"<!DOCTYPE html>\n<html><head><title>ImageNet</title>", VAL)

UNFINISHED = starts_with(b"n01440764.tar", f"{TRAIN}.crdownload")


def aria(place: Path, archives: Path, files: Files) -> list[Path]:
    """The file has its name and size already, and holes."""
    put(place / VAL, (archives / VAL).read_bytes())
    put(place / f"{VAL}.aria2", b"\0\1")
    return [place]


REFUSED: dict[str, tuple[Build, ...]] = {
    "an archive and what was unpacked from it": (archive_beside_folder, train_beside_class_tars),
    "pieces of a cut archive (`.tar.aa`, `.zip.001`)": (pieces, in_folder(pieces), numbered_pieces),
    "a 7z archive": (SEVEN, in_folder(SEVEN)),
    "a RAR archive": (RAR, in_folder(RAR)),
    "a pointer of git-lfs": (POINTER, in_folder(POINTER)),
    "an HTML page with the name of an archive": (
        PAGE,
        in_folder(PAGE),
        packed_page,
    ),
    "an unfinished download (`.crdownload`, `.aria2`)": (UNFINISHED, in_folder(UNFINISHED), aria),
    "a text that is compressed": (starts_with(gzip.compress(b"ILSVRC " * 200), "val.txt.gz"),),
    "WebDataset shards": (shards, in_folder(shards), shards_of_img2dataset),
    "a tar of archives": (tar_of_archives,),
    "a zip of archives": (zip_of_archives,),
    "class folders that are not named by wnid": (named("train/goldfish/a.jpg"),),
    "images without a class folder or an official name": (named("train/a.jpg"), named("b.png")),
    "class folders of `test`": (test_classes,),
    "sibling folders with the same classes and unknown names": (unknown_names,),
}
