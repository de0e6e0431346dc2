"""``--delete-source`` deletes what was taken in full, and never a file that was passed over."""

import shutil
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import OutputError, SourceError, prepare_imagenet, verify
from feedline.prep.folders.prepare import prepare
from feedline.prep.sources.recognise import recognise
from feedline.prep.sources.request import Request

from ..trees import VAL, only, tree, write_tar


@pytest.mark.parametrize("when", ["listed", "read"])
def test_an_archive_with_files_that_were_left_out_is_kept(archives: Path, tmp_path: Path, when: str) -> None:
    """Known from its listing, nothing is written; counted while a tar is read, it is kept in the end."""
    archive = Path(shutil.copy(archives / VAL, tmp_path))
    counted = Counter({".avif": 2, ".xml": 1, ".svg": 0}) if when == "listed" else Counter[str]()
    found = replace(recognise([archive]), left_out={archive: counted})
    told: list[str] = []

    def progress(step: str, done: int, total: int) -> None:
        counted.update(Counter({".avif": 2, ".xml": 1}) - counted)

    with pytest.raises(SourceError, match=r"also holds 3 files that are not prepared \(2 \.avif, 1 \.xml\), which --d"):
        prepare(
            found,
            tmp_path / "out",
            Request(command="prep imagenet", delete_source=True),
            workers=1,
            progress=progress,
            notice=told.append,
        )

    assert archive.exists() and (tmp_path / "out").exists() == (when == "read")
    assert not any(line.startswith("deleted") for line in told)


def test_another_archive_of_the_same_size_is_kept(archives: Path, tmp_path: Path) -> None:
    """A finished root does not read its sources again; before one is deleted, it does."""
    archive = Path(shutil.copy(archives / VAL, tmp_path))
    prepare_imagenet([archive], tmp_path / "out")
    data = bytearray(archive.read_bytes())
    data[512 + 300] ^= 1  # inside the first image
    archive.write_bytes(data)

    with pytest.raises(OutputError, match=r"the sources were kept: .*ILSVRC2012_val_.* differs from"):
        prepare_imagenet([archive], tmp_path / "out", delete_source=True)

    assert archive.exists()
    shutil.copy(archives / VAL, tmp_path)
    prepare_imagenet([archive], tmp_path / "out", delete_source=True)
    assert not archive.exists() and verify(tmp_path / "out").ok


def test_of_a_link_the_target_goes_too(archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A download cache keeps the file, and a link alone would free nothing; both are said."""
    cache, middle, link = tmp_path / "cache/blob", tmp_path / "cache/name", tmp_path / VAL
    cache.parent.mkdir()
    shutil.copy(archives / VAL, cache)
    try:
        middle.symlink_to("blob")
        link.symlink_to(middle)
    except OSError:
        pytest.skip("this account cannot make links")

    assert run(["prep", "imagenet", str(link), "--out", str(tmp_path / "out"), "--delete-source"]) == 0

    said = capsys.readouterr().err
    assert f"deleted {cache}: " in said and f"deleted {link}, a link" in said and f"deleted {middle}, a link" in said
    assert not cache.exists() and not middle.is_symlink() and not link.is_symlink()


@pytest.mark.parametrize("container", ["zip", "tar"])
def test_an_archive_that_was_taken_in_full_goes(root: Path, tmp_path: Path, container: str) -> None:
    files = only(tree(root), "train/", "val/")
    packed = tmp_path / f"all.{container}"
    if container == "tar":
        write_tar(packed, files | {"test/ILSVRC2012_test_00000001.JPEG": next(iter(files.values()))})
    else:
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)

    assert run(["prep", "imagenet", str(packed), "--out", str(tmp_path / "out"), "--delete-source"]) == 0
    assert not packed.exists() and verify(tmp_path / "out").ok


@pytest.mark.parametrize("container", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize(
    "name", ["train/n01440764/a.avif", "train/n01440764/b.BPG", "c.svg", "d.eps", "Annotations/n01440764_1.xml"]
)
def test_an_archive_with_a_file_of_another_kind_is_kept(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], container: str, name: str
) -> None:
    """By the command line, from real archives: the kind is named, and nothing was written."""
    files = {**only(tree(root), "train/", "val/"), name: b"the only copy of something"}
    packed = tmp_path / f"all.{container}"
    if container == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for path, data in files.items():
                archive.writestr(path, data)
    else:
        write_tar(packed, files, "w:gz" if container == "tar.gz" else "w")

    assert run(["prep", "imagenet", str(packed), "--out", str(tmp_path / "out"), "--delete-source"]) == 1

    said = capsys.readouterr().err
    assert f"also holds 1 file that is not prepared (1 {Path(name).suffix.lower()})" in said
    assert packed.exists() and not (tmp_path / "out").exists()
