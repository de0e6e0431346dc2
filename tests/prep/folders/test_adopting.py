"""A source that is the output is the user's only copy: it is read, gets a manifest, and nothing else happens to it."""

import os
import shutil
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import list_samples, read_manifest

from ..trees import Files, flat, only, tree, write_tree

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def place(root: Path, tmp_path: Path) -> Path:
    """Class folders that only lack a manifest."""
    return write_tree(tmp_path / "imagenet", only(tree(root), "train/", "val/"))


def adopt(place: Path, capsys: Captured, *options: str) -> tuple[int, str]:
    """Adopt a folder by the command line; return the exit code and what was said. Nobody is told to delete."""
    capsys.readouterr()
    code = run(["prep", "imagenet", str(place), "--out", str(place), *options])
    said = capsys.readouterr().err
    assert "delete" not in said
    return code, said


def refused(place: Path, capsys: Captured) -> str:
    """Adopting fails and leaves everything as it was."""
    before = everything(place)
    code, said = adopt(place, capsys)
    assert code == 1 and everything(place) == before
    return said


def everything(place: Path) -> Files:
    return {
        path.relative_to(place).as_posix(): path.read_bytes() if path.is_file() else b"" for path in place.rglob("*")
    }


STRANGERS = {
    "Thumbs.db": ".db",
    ".DS_Store": ".DS_Store",
    "._n01440764_1.JPEG": "._*",
    ".ipynb_checkpoints/x.txt": ".ipynb_checkpoints/",
    "@eaDir/n01440764_1.JPEG/SYNOPHOTO_THUMB_M.jpg": "@eaDir/",
    "scan.eps": ".eps",
    "README": "no suffix",
    "photo.avif": ".avif",
    "desktop.ini": ".ini",
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_listed_and_left_alone(place: Path, capsys: Captured, name: str) -> None:
    folder = next(path for path in sorted((place / "train").iterdir()))
    write_tree(folder, {name: b"something of the user's"})
    before = everything(place)

    code, said = adopt(place, capsys)

    assert code == 0, said
    assert f"{place}: left out: 1 file: 1 {STRANGERS[name]}\n" in said
    assert read_manifest(place).splits["train"].images == 12
    (place / "manifest.json").unlink()
    assert everything(place) == before


def test_strangers_are_counted_by_kind(place: Path, capsys: Captured) -> None:
    """Next to class folders too."""
    folder = min((place / "val").iterdir())
    write_tree(folder, {"a.eps": b"x", "b.eps": b"x"})
    write_tree(place / "train", {".DS_Store": b"x", "notes/one.txt": b"x"})

    code, said = adopt(place, capsys)

    assert code == 0 and "left out: 4 files: 2 .eps, " in said


def test_an_empty_class_folder_of_train_is_a_class(place: Path, tmp_path: Path, capsys: Captured) -> None:
    """Adopted or copied, it is in the manifest; in val alone it is no class."""
    (place / "train/n09999999").mkdir()
    (place / "val/n09999998").mkdir()

    assert run(["prep", "imagenet", str(place), "--out", str(tmp_path / "copy")]) == 0
    assert "1 class without an image in train is kept: n09999999" in capsys.readouterr().err
    code, said = adopt(place, capsys)

    assert code == 0 and "1 class without an image in train is kept: n09999999" in said
    adopted, copied = read_manifest(place), read_manifest(tmp_path / "copy")
    assert adopted.classes == copied.classes and adopted.splits == copied.splits
    assert [entry.id for entry in adopted.classes][-1] == "n09999999"
    assert adopted.splits["train"].per_class == (4, 4, 4, 0)
    assert (tmp_path / "copy/train/n09999999").is_dir() and not (tmp_path / "copy/val/n09999998").exists()


def test_a_class_that_only_one_split_has_is_said(place: Path, capsys: Captured) -> None:
    shutil.rmtree(lost := min((place / "train").iterdir()))

    code, said = adopt(place, capsys)

    assert code == 0 and f"1 class is in val and not in train: {lost.name}" in said
    assert len(read_manifest(place).classes) == 3 and read_manifest(place).splits["train"].per_class == (0, 4, 4)


@pytest.mark.parametrize("damage", ["cut", "html", "empty"])
def test_a_broken_image_is_refused_as_in_copying(place: Path, tmp_path: Path, capsys: Captured, damage: str) -> None:
    victim = min(place.rglob("train/*/*.JPEG"))
    data = victim.read_bytes()
    victim.write_bytes({"cut": data[: len(data) // 2], "html": b"<!DOCTYPE html>", "empty": b""}[damage])

    assert run(["prep", "imagenet", str(place), "--out", str(tmp_path / "copy")]) == 1
    copying = capsys.readouterr().err.strip().splitlines()[-1]
    adopting = refused(place, capsys).strip().splitlines()[-1]

    assert adopting == copying and victim.name in adopting


@pytest.mark.parametrize(
    "moved",
    [
        {"val": "validation"},
        {"train": "Train"},
        {"train": "train/train", "val": "val"},
        {"train": "data/train", "val": "data/val"},
        {"train": ".", "val": None},
    ],
    ids=["validation", "case", "doubled", "deeper", "no split"],
)
def test_the_manifest_says_where_a_split_lies(
    root: Path, tmp_path: Path, capsys: Captured, moved: dict[str, str | None]
) -> None:
    """Folders of other names are used in place too; nothing moves, and the samples are those of a copy."""
    place = tmp_path / "imagenet"
    for split in ("train", "val"):
        name = moved.get(split, split)
        if name is not None:
            files = {path.removeprefix(f"{split}/"): data for path, data in only(tree(root), f"{split}/").items()}
            write_tree(place / name, files)
    before = everything(place)

    code, said = adopt(place, capsys)

    assert code == 0, said
    manifest = read_manifest(place)
    assert {name: data for name, data in everything(place).items() if name != "manifest.json"} == before
    assert {name: split.folder or name for name, split in manifest.splits.items()} == {
        split: moved.get(split, split) for split in ("train", "val") if moved.get(split, split)
    }
    for split in manifest.splits:
        copied = [(s.name, s.label, s.path.read_bytes()) for s in list_samples(root, read_manifest(root), split)]
        assert [(s.name, s.label, s.path.read_bytes()) for s in list_samples(place, manifest, split)] == copied
    assert adopt(place, capsys)[0] == 0 and read_manifest(place) == manifest


def test_a_split_in_two_folders_is_refused_before_anything_is_written(
    root: Path, tmp_path: Path, capsys: Captured
) -> None:
    """The manifest cannot say it; the message has the command that copies, and that works."""
    files = only(tree(root), "train/")
    last = max(path.split("/")[1] for path in files)
    moved = {path.replace("train/", "train/more/") if last in path else path: data for path, data in files.items()}
    place = write_tree(tmp_path / "imagenet", moved)

    said = refused(place, capsys)

    command = f"feedline prep imagenet {place} --out OTHER"
    assert f"{place} cannot be used in place; copy it with: {command}" in said
    arguments = command.replace("OTHER", str(tmp_path / "other")).split()[1:]
    assert run(arguments) == 0 and read_manifest(tmp_path / "other").splits["train"].images == 12


def test_class_tars_and_flat_images_are_not_unpacked_in_place(root: Path, tmp_path: Path, capsys: Captured) -> None:
    half_sorted = only(tree(root), "val/")
    first = next(iter(half_sorted))
    place = write_tree(tmp_path / "half", half_sorted | flat({first: half_sorted.pop(first)}))

    assert "in no class folder; choose another directory with --out" in refused(place, capsys)


def test_a_link_to_the_source_is_the_source(place: Path, tmp_path: Path, capsys: Captured) -> None:
    before = everything(place)
    link = tmp_path / "link"
    try:
        link.symlink_to(place, target_is_directory=True)
    except OSError:
        pytest.skip("this account cannot make links")

    assert run(["prep", "imagenet", str(place), "--out", str(link)]) == 0
    assert {name: data for name, data in everything(place).items() if name != "manifest.json"} == before
    assert "delete" not in capsys.readouterr().err


def test_what_an_unfinished_adoption_left_is_no_obstacle(place: Path, archives: Path, capsys: Captured) -> None:
    """Of 0.1 too, whose job file did not say that it adopts; another command is never told to delete the folder."""
    job = '{"command": "prep imagenet", "settings": {"sources": ["other 1 train"], "classes": []}, "adopts": true}'
    write_tree(place, {".partial/job.json": job.encode()})
    assert adopt(place, capsys)[0] == 0 and not (place / ".partial").exists()

    (place / "manifest.json").unlink()
    write_tree(place, {".partial/job.json": job.replace(', "adopts": true', "").encode()})
    assert f"remove only {place / '.partial'}" in refused(place, capsys)
    assert run(["prep", "imagenet", str(archives), "--out", str(place)]) == 1
    assert "delete" not in capsys.readouterr().err


def test_a_partial_folder_of_the_user_is_left_alone(place: Path, capsys: Captured) -> None:
    write_tree(place, {".partial/download.bin": b"half a download"})

    assert "is not a folder of feedline; rename it" in refused(place, capsys)


def test_another_split_does_not_go_into_a_folder_of_the_user(place: Path, archives: Path, capsys: Captured) -> None:
    """Of a root whose train alone was adopted, val is the user's."""
    assert adopt(place, capsys, "--split", "train")[0] == 0
    before = everything(place)

    assert run(["prep", "imagenet", str(archives), "--out", str(place), "--split", "val"]) == 1

    said = capsys.readouterr().err
    assert f"{place / 'val'} was there before" in said and "delete" not in said
    assert {name: data for name, data in everything(place).items() if not name.startswith(".partial")} == before


def test_what_was_adopted_can_be_adopted_again(place: Path, capsys: Captured) -> None:
    assert adopt(place, capsys)[0] == adopt(place, capsys)[0] == 0
    shutil.copy(image := min(place.rglob("train/*/*.JPEG")), image.with_name(image.stem + "9.JPEG"))
    assert adopt(place, capsys)[0] == 0 and read_manifest(place).splits["train"].images == 13
    assert not os.path.lexists(place / ".partial")
