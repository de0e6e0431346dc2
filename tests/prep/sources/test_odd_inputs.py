"""Odd inputs and wrong commands through the command line: one true sentence, and never a wrong result with exit 0."""

import gzip
import os
import socket
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import read_manifest

from ..layouts import write_zip
from ..trees import TRAIN, VAL, Files, only, tar_of, tree, write_tar, write_tree

Said = Callable[..., tuple[int, str]]

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files and names")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command and return its exit code and what it prints for the user."""

    def call(*arguments: object) -> tuple[int, str]:
        code = run([str(argument) for argument in arguments])
        return code, capsys.readouterr().err

    return call


@posix
@pytest.mark.parametrize("command", [("prep", "imagenet"), ("prep", "tiny-imagenet"), ("shard",)], ids=" ".join)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_a_pipe_as_source_is_refused_and_not_waited_for(
    command: tuple[str, ...], kind: str, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, the command waited for ever."""
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    source = Path("x.tar") if kind != "device" else Path(os.devnull)
    if kind == "pipe":
        os.mkfifo(source)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(source))

    code, text = said(*command, source, "--out", "out")

    assert code == 1 and f"{source} is a pipe, a socket or a device; write it to a file, and give that file" in text


@posix
def test_pipes_and_links_in_class_folders(files: Files, tmp_path: Path, said: Said) -> None:
    """A pipe is counted and left alone, a hard link is a file."""
    place = write_tree(tmp_path / "in", files)
    os.mkfifo(place / "train/n01440764/x.JPEG")
    first = next(iter(files))
    os.link(place / first, place / first.replace(".JPEG", "9.JPEG"))

    code, text = said("prep", "imagenet", place, "--out", tmp_path / "out")

    assert code == 0 and "left out: 1 file: 1 no regular file" in text
    assert tree(tmp_path / "out") == {**files, first.replace(".JPEG", "9.JPEG"): files[first]}


@posix
def test_a_line_feed_in_a_name_makes_no_two_names(files: Files, tmp_path: Path, said: Said) -> None:
    """Before, the second line was taken for a name of its own: here for a validation image."""
    name = "train/n01440764/a\nILSVRC2012_val_00000001.JPEG"
    source = write_tree(tmp_path / "in", {**files, name: next(iter(files.values()))})

    for out in (tmp_path / "out", source):
        code, text = said("prep", "imagenet", source, "--out", out)
        assert code == 1 and r"it holds the character '\n'" in text and "rename it" in text
        assert not (out / "manifest.json").exists()


STRANGERS = ["n01440764_1.JPEG:Zone.Identifier", "notes 12:30.txt", "a\nb.txt", "com1.txt", "what?", "x.\x1b[31mred"]


@pytest.mark.parametrize("form", ["tar", "tar.gz", "zip", "class tar", pytest.param("folder", marks=posix)])
def test_the_name_of_a_file_that_is_left_out_may_be_any(files: Files, tmp_path: Path, said: Said, form: str) -> None:
    """Windows adds "x.JPEG:Zone.Identifier" to what it downloads; before, the archive was refused for it."""
    train = only(files, "train/n01440764/")
    odd = {f"train/n01440764/{name}": b"x" for name in STRANGERS}
    source = tmp_path / f"x.{form}"
    if form == "folder":
        write_tree(source, {**train, **odd})
    elif form == "class tar":
        source = tmp_path / TRAIN
        inner = {path.rpartition("/")[2]: data for path, data in {**train, **odd}.items()}
        source.write_bytes(tar_of({"n01440764.tar": tar_of(inner), "a:b.txt": b"x"}))
    elif form == "zip":
        write_zip(source, {**train, **odd})
    else:
        write_tar(source, {**train, **odd}, "w:gz" if form == "tar.gz" else "w")

    code, text = said("prep", "imagenet", source, "--out", tmp_path / "out")

    count = len(STRANGERS) + (form == "class tar")
    assert code == 0 and f"left out: {count} files: " in text and "1 another suffix" in text
    assert "\x1b" not in text and tree(tmp_path / "out") == train


def test_the_siblings_of_a_class_folder_are_none_of_the_source(files: Files, tmp_path: Path, said: Said) -> None:
    """Before, the other classes next to it became classes without an image."""
    root = write_tree(tmp_path / "in", files)
    one = next(iter(sorted((root / "train").iterdir())))

    assert said("prep", "imagenet", one, "--out", tmp_path / "out")[0] == 0

    assert [entry.id for entry in read_manifest(tmp_path / "out").classes] == [one.name]


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_imagenet_is_no_tiny_imagenet(files: Files, tmp_path: Path, said: Said, form: str) -> None:
    """Before, train was taken and val was passed over, with exit 0. The command that is named works."""
    source = tmp_path / ("in" if form == "folder" else "x.zip")
    (write_tree if form == "folder" else write_zip)(source, files)

    code, text = said("prep", "tiny-imagenet", source, "--out", tmp_path / "out")

    assert code == 1 and "is no Tiny-ImageNet" in text and f"feedline prep imagenet {source} --out ROOT" in text
    assert not (tmp_path / "out").exists()
    assert said("prep", "imagenet", source, "--out", tmp_path / "out")[0] == 0


def test_a_split_of_a_root_is_no_source_of_shards(archives: Path, tmp_path: Path, said: Said) -> None:
    """Before, shards were written into the split, with class indexes of their own."""
    out = tmp_path / "data"
    assert said("prep", "imagenet", archives / TRAIN, archives / VAL, "--out", out)[0] == 0
    before = tree(out)

    code, text = said("shard", out / "val")
    assert code == 1 and f"shard the root: feedline shard {out} --split val" in text
    code, text = said("verify", out / "val")
    assert code == 1 and f"the folder that holds it has one; give that: {out}" in text
    code, text = said("shard", out, "--out", out)
    assert (
        code == 1 and f"{out} is a prepared root; give another directory with --out, such as {out / 'shards'}" in text
    )

    assert tree(out) == before


def test_the_splits_of_the_output_as_sources(files: Files, tmp_path: Path, said: Said) -> None:
    """Who wants to adopt a folder may give its splits: the message has the command, and that works."""
    place = write_tree(tmp_path / "in", files)

    code, text = said("prep", "imagenet", place / "train", place / "val", "--out", place)

    assert (
        code == 1
        and f"to use them in place, give it as the source: feedline prep imagenet {place} --out {place}" in text
    )
    assert tree(place) == files
    assert said("prep", "imagenet", place, "--out", place)[0] == 0


def test_the_output_inside_its_source_is_passed_over(files: Files, tmp_path: Path, said: Said) -> None:
    """Again too, and it is no file that was left out."""
    place = write_tree(tmp_path / "in", files)
    for _ in range(2):
        code, text = said("prep", "imagenet", place, "--out", place / "new")
        assert code == 0 and "left out" not in text
        assert tree(place / "new") == files


def test_a_source_inside_the_output_is_left_alone(files: Files, tmp_path: Path, said: Said) -> None:
    source = write_tree(tmp_path / "data/src", files)
    code, text = said("prep", "imagenet", source, "--out", tmp_path / "data")
    assert code == 1 and "holds something else (src); choose a new directory with --out" in text
    assert tree(tmp_path / "data") == {f"src/{path}": data for path, data in files.items()}


@posix
def test_an_output_that_is_a_broken_link_is_named(archives: Path, tmp_path: Path, said: Said) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    code, text = said("prep", "imagenet", archives / VAL, "--out", tmp_path / "out")
    assert code == 1 and "is a symbolic link to " in text and "make that folder, or choose another" in text


def test_sources_that_overlap_are_refused(archives: Path, files: Files, tmp_path: Path, said: Said) -> None:
    """A folder and what lies in it, the same folder twice, the same archive twice."""
    place = write_tree(tmp_path / "in", files)
    for sources in ((place, place / "train"), (place, place), (archives / VAL, archives / VAL)):
        code, text = said("prep", "imagenet", *sources, "--out", tmp_path / "out")
        assert code == 1 and "; give one" in text and not (tmp_path / "out").exists()


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def zip64(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    return path


BUILDERS: dict[str, tuple[Callable[[Path, Files], Path], str]] = {
    "zip64": (lambda place, files: zip64(place / "x.zip", files), ""),
    "empty tar": (lambda place, files: write_tar(place / "x.tar", {}), "x.tar holds no file; copy or"),
    "empty zip": (lambda place, files: write_zip(place / "x.zip", {}), "x.zip holds no file; copy or"),
    "text": (
        lambda place, files: put(place / "x.tar", b"404: Not Found\n"),
        "is a text ('404: Not Found\\n'), and no",
    ),
    "json": (lambda place, files: put(place / "x.zip", b"[1, 2]"), "is a text ('[1, 2]'), and no archive; download"),
    "twice": (
        lambda place, files: put(place / "x.tar.gz.gz", gzip.compress(gzip.compress(tar_of(files)))),
        "is compressed twice; unpack it once and give the result: gzip -dc ",
    ),
    "only folders": (lambda place, files: put(place / "x.tar", folders()), "x.tar holds folders only; copy or"),
    "other files": (
        lambda place, files: write_tar(place / "x.tar", {"a.md": b"x"}),
        "; for images of your own, run: feedline prep imagefolder",
    ),
    "in capitals": (
        lambda place, files: write_tree(place / "x", {**files, first(files).swapcase(): b"x"}),
        "its folder 'N01440764' is no class",
    ),
    "case alone": (
        lambda place, files: write_tar(place / "x.tar", {**files, first(files).replace(".JPEG", ".jpeg"): b"x"}),
        "comes twice (or differs only in case), so one of them would be lost; remove one, or rename it",
    ),
}


def first(files: Files) -> str:
    return next(iter(only(files, "train/n01440764/")))


def folders() -> bytes:
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("train/")
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("name", BUILDERS)
def test_each_odd_archive_has_its_sentence(files: Files, tmp_path: Path, said: Said, name: str) -> None:
    build, says = BUILDERS[name]

    code, text = said("prep", "imagenet", build(tmp_path, files), "--out", tmp_path / "out")

    assert code == bool(says) and says in text, text
    assert (tmp_path / "out/manifest.json").exists() == (not says)


def test_a_compressed_class_tar_inside_a_tar_is_refused_with_the_command(
    files: Files, tmp_path: Path, said: Said
) -> None:
    """It is not read in place; unpacked as the message says, it is."""
    inner = {path.rpartition("/")[2]: data for path, data in only(files, "train/n01440764/").items()}
    source = put(tmp_path / TRAIN, tar_of({"n01440764.tar.gz": gzip.compress(tar_of(inner))}))

    for command in (("prep", "imagenet"), ("shard",)):
        code, text = said(*command, source, "--out", tmp_path / "out")
        assert code == 1 and "a compressed tar inside a tar; unpack " in text and f"tar xf {source}" in text
        assert not (tmp_path / "out").exists()

    write_tree(tmp_path / "unpacked", {"n01440764.tar.gz": gzip.compress(tar_of(inner))})
    assert said("prep", "imagenet", tmp_path / "unpacked", "--out", tmp_path / "out")[0] == 0
    assert tree(tmp_path / "out") == only(files, "train/n01440764/")
