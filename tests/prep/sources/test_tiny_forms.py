"""Tiny-ImageNet as users have it: doubled, sorted, zipped on a Mac, incomplete; no two commands refer to each other."""

import zipfile
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import SourceError, prepare_imagenet, prepare_tiny_imagenet

from ..layouts import write_zip
from ..trees import Files, tree, write_tar, write_tree


@pytest.fixture(scope="session")
def tiny(archives: Path) -> Files:
    """{path: bytes} of the zip, without its top folder."""
    with zipfile.ZipFile(archives / "tiny-imagenet-200.zip") as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        return {name.removeprefix("tiny-imagenet-200/"): archive.read(name) for name in names}


@pytest.fixture(scope="session")
def expected(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The images of the root."""
    out = tmp_path_factory.mktemp("tiny") / "out"
    prepare_tiny_imagenet(archives / "tiny-imagenet-200.zip", out)
    return images(out)


def images(out: Path) -> Files:
    return {path: data for path, data in tree(out).items() if not path.startswith("annotations/")}


def sorted_val(tiny: Files, below: str = "") -> Files:
    """As scripts leave it: val images in class folders."""
    rows = [line.split("\t") for line in tiny["val/val_annotations.txt"].decode().splitlines()]
    labels = {row[0]: row[1] for row in rows}
    moved = {
        f"val/{labels[path.rpartition('/')[2]]}/{below}{path.rpartition('/')[2]}": data
        for path, data in tiny.items()
        if path.startswith("val/images/")
    }
    return {path: data for path, data in tiny.items() if not path.startswith("val/")} | moved


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("top", ["", "tiny-imagenet-200/", "tiny-imagenet-200/tiny-imagenet-200/", "a/b/c/"])
def test_folders_before_it_do_not_matter(tiny: Files, expected: Files, tmp_path: Path, form: str, top: str) -> None:
    """Unpacked into a folder of its own name, or not below any folder."""
    placed = {top + path: data for path, data in tiny.items()}
    source = write_tree(tmp_path / "in", placed) if form == "folder" else write_zip(tmp_path / "x.zip", placed)
    prepare_tiny_imagenet(source, tmp_path / "out")
    assert images(tmp_path / "out") == expected


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("below", ["", "images/"])
@pytest.mark.parametrize("lost", [(), ("words.txt",), ("words.txt", "wnids.txt")])
def test_a_sorted_val_needs_no_list(
    tiny: Files, expected: Files, tmp_path: Path, form: str, below: str, lost: tuple[str, ...]
) -> None:
    """A script sorts val and removes val_annotations.txt: the class folders say the same."""
    kept = {f"tiny-imagenet-200/{p}": data for p, data in sorted_val(tiny, below).items() if p not in lost}
    source = write_tree(tmp_path / "in", kept) if form == "folder" else write_zip(tmp_path / "x.zip", kept)

    prepare_tiny_imagenet(source, tmp_path / "out")

    assert images(tmp_path / "out") == expected


def test_the_command_that_a_message_names_works(
    tiny: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`prep imagenet` sends the user to `prep tiny-imagenet`, which takes the folder."""
    source = write_tree(tmp_path / "in", sorted_val(tiny))
    assert run(["prep", "imagenet", str(source), "--out", str(tmp_path / "out")]) == 1
    command = capsys.readouterr().err.partition("feedline prep ")[2].split()
    assert command[0] == "tiny-imagenet"
    assert run(["prep", *command[:2], "--out", str(tmp_path / "out")]) == 0


def test_a_flat_val_without_its_list_is_refused(tiny: Files, tmp_path: Path) -> None:
    """Then nothing says the classes."""
    kept = {path: data for path, data in tiny.items() if path != "val/val_annotations.txt"}
    with pytest.raises(
        SourceError, match=r"has no val_annotations\.txt, so the class of .*val_0\.JPEG is not known; give"
    ):
        prepare_tiny_imagenet(write_tree(tmp_path / "in", kept), tmp_path / "out")


def test_a_zip_made_on_a_mac(tiny: Files, expected: Files, tmp_path: Path) -> None:
    """Its own files lie beside each image, with an image's suffix."""
    junk = {f"__MACOSX/{path.rpartition('/')[0]}/._{path.rpartition('/')[2]}": b"x" for path in tiny}
    source = write_zip(tmp_path / "x.zip", junk | {f"tiny-imagenet-200/{path}": data for path, data in tiny.items()})
    prepare_tiny_imagenet(source, tmp_path / "out")
    assert images(tmp_path / "out") == expected


def test_a_tar_of_it_is_named(tiny: Files, tmp_path: Path) -> None:
    """Both commands say what helps."""
    source = write_tar(tmp_path / "tiny.tar", {"wnids.txt": tiny["wnids.txt"], **tiny})
    with pytest.raises(SourceError, match=r"is Tiny-ImageNet; .*feedline prep tiny-imagenet"):
        prepare_imagenet([source], tmp_path / "out")
    with pytest.raises(SourceError, match="unpack it and give the folder"):
        prepare_tiny_imagenet(source, tmp_path / "out")
