"""Names of files: what file systems hold is taken, what they cannot hold is refused with its own reason."""

import os
import sys
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import SourceError, prepare_imagenet, read_manifest, verify

from ..layouts import write_zip
from ..trees import VAL, Files, tar_of, tree, write_tar, write_tree

GOOD = [
    "a cat.jpg",
    "v1.2.final.JPEG",
    "été à la mer.png",
    "猫.jpg",
    "x" * 200 + ".jpg",
    "(1) a+b=c, 100%.jpg",
    "-x.jpg",
]


@pytest.mark.parametrize("form", ["folder", "tar", "zip"])
def test_names_that_file_systems_hold_are_taken(files: Files, tmp_path: Path, form: str) -> None:
    """Spaces, dots, accents and more than 96 characters, in file names and in folders above."""
    data = next(iter(files.values()))
    images = {f"my data été v1.0/train/n01440764/{name}": data for name in GOOD}
    if form == "folder":
        source = write_tree(tmp_path / "in", images)
    else:
        source = tmp_path / f"x.{form}"
        (write_tar if form == "tar" else write_zip)(source, images)

    prepare_imagenet([source], tmp_path / "out")

    assert sorted(tree(tmp_path / "out")) == sorted(f"train/n01440764/{name}" for name in GOOD)
    assert verify(tmp_path / "out").ok


REASONS = {
    "/etc/x.JPEG": "absolute, or a part of it is empty",
    "train/../x.JPEG": "leads out of its folder",
    "train/n01440764/a\\b.JPEG": r"holds the character '\\'",
    "C:x.JPEG": "holds the character ':'",
    "train/n01440764/a\x1b.JPEG": r"holds the character '\x1b'",
    "train/n01440764/com1.JPEG": "is a device on Windows",
    "train /n01440764/a.JPEG": "ends with a dot or a space",
    "a/" * 600 + "x.JPEG": "more than 1024 characters",
    "train/n01440764/" + "é" * 126 + ".jpg": "has 256 bytes, and file systems hold at most 255",
    "train/n01440764/.JPEG": "no name before its suffix",
    "val/n01440764_1.JPEG": "has a name of train and lies in a folder of val",
    "train/ILSVRC2012_val_00000001.jpg": "has a name of val and lies in a folder of train",
    "val/ILSVRC2012_test_00000001.JPEG": "has a name of test and lies in a folder of val",
    "ILSVRC2012_val_00050001.jpg": "no validation image of this number",
    "test/a.jpg": "images of test have official names",
    "train/cat/a.jpg": "its folder 'cat' is no class",
    "train/a.jpg": "lies in no class folder and has no official name",
    "train/images/a.jpg": "lies in no class folder and has no official name",
    "train/n01440764/n01443537_1.png": "its labels are wrong",
}


@pytest.mark.parametrize("name", REASONS)
def test_each_reason_has_its_sentence(files: Files, tmp_path: Path, name: str) -> None:
    """The rule that failed, the file, and what to do."""
    source = tmp_path / "x.tar"
    source.write_bytes(tar_of({name: next(iter(files.values()))}, 1))  # 1: GNU's dialect

    with pytest.raises(SourceError) as caught:
        prepare_imagenet([source], tmp_path / "out")

    message = str(caught.value)
    assert REASONS[name] in message and str(source) in message and ("; " in message or ": get" in message)
    assert sum(reason in message for reason in set(REASONS.values())) == 1


def test_no_two_reasons_share_a_sentence() -> None:
    """Each name above has a reason of its own, but for the two that lack a class in the same way."""
    assert len(set(REASONS.values())) == len(REASONS) - 1


def test_a_name_in_another_encoding_is_refused(files: Files, tmp_path: Path) -> None:
    """Latin-1 in a tar: "replace" would make one name of two; a stranger with such a name does not matter."""
    data = next(iter(files.values()))
    archive = tar_of({"train/n01440764/a.jpg": data, "README-\udce9": b"r", "train/n01440764/\udce9.jpg": data}, 1)
    source = tmp_path / "x.tar"
    source.write_bytes(archive)

    with pytest.raises(SourceError, match="its name is not UTF-8; rename it, for example with convmv"):
        prepare_imagenet([source], tmp_path / "out")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are Unicode")
@pytest.mark.parametrize("split", ["val", "train"])
def test_a_source_path_that_is_not_utf8_is_no_bug(
    archives: Path, files: Files, tmp_path: Path, split: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The path of an archive and of a folder; before: "feedline has a bug"."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/donn\xe9es"))
    if split == "val":
        folder.mkdir()
        source = folder / VAL
        source.write_bytes((archives / VAL).read_bytes())
    else:
        source = write_tree(folder, {path: data for path, data in files.items() if path.startswith("train/")})

    assert run(["prep", "imagenet", str(source), "--out", str(tmp_path / "out"), "--json"]) == 0, capfd.readouterr().err

    assert set(read_manifest(tmp_path / "out").splits) == {split}
    assert run(["prep", "imagenet", str(folder / "missing.tar"), "--out", str(tmp_path / "no")]) == 1
    err = capfd.readouterr().err
    assert "does not exist" in err and "has a bug" not in err
