"""Own images that stay where they lie: a manifest and lists are written, and nothing else happens to the folder."""

from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import list_samples, prepare_imagefolder, read_manifest

from ..trees import Files, write_tree
from .photos import CLASSES, below, classes, image

Captured = pytest.CaptureFixture[str]
OURS = {"manifest.json", "train.jsonl", "val.jsonl"}


def everything(place: Path) -> Files:
    """{path: bytes} of all files of the user, and the folders."""
    found = {p.relative_to(place).as_posix(): p.read_bytes() if p.is_file() else b"" for p in place.rglob("*")}
    return {name: data for name, data in found.items() if name not in OURS}


def use(place: Path, *options: str) -> int:
    """Use a folder where it lies, by the command line; its own files stay as they were, whatever comes of it."""
    before = everything(place)
    code = run(["prep", "imagefolder", str(place), "--out", str(place), *options])
    assert everything(place) == before
    return code


def samples(root: Path, split: str) -> list[tuple[int, bytes]]:
    return sorted((s.label, s.path.read_bytes()) for s in list_samples(root, read_manifest(root), split))


FORMS = {
    "splits": (below("train", classes()) | below("val", classes(images=2)), (), {"train": None, "val": None}),
    "other names": (
        below("d/Training", classes()) | below("d/validation", classes(images=2)),
        (),
        {"train": "d/Training", "val": "d/validation"},
    ),
    "no splits": (classes(), (), {"train": "list"}),
    "a part for val": (classes(), ("--val-fraction", "0.34"), {"train": "list", "val": "list"}),
    "deeper": (
        below("train", classes()) | below("train/more", classes()) | below("val", classes(["more"])),
        (),
        {"train": "list", "val": None},
    ),
    "two folders of train": (below("train1", classes()) | below("train2", classes(start=9, images=3)), (), None),
    "nested classes": (below("a", classes()) | below("b", classes()), ("--class-depth", "path"), {"train": "list"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_samples_are_those_of_a_copy(form: str, tmp_path: Path, capsys: Captured) -> None:
    """Class folders of a split are named by the manifest; everything else is listed."""
    files, options, expected = FORMS[form]
    place = write_tree(tmp_path / "photos", files | {"notes.txt": b"x"})
    if expected is None:  # the same names in both folders of train
        assert use(place, *options) == 1 and not (place / "manifest.json").exists()
        return

    assert use(place, *options) == 0
    assert "nothing is copied" in capsys.readouterr().err
    assert run(["prep", "imagefolder", str(place), "--out", str(tmp_path / "copy"), *options]) == 1
    assert "is a data set root already" in capsys.readouterr().err

    manifest = read_manifest(place)
    found = {name: "list" if split.listed else split.folder for name, split in manifest.splits.items()}
    assert found == expected
    assert {path.name for path in place.iterdir()} & OURS == {
        "manifest.json",
        *(f"{name}.jsonl" for name, where in expected.items() if where == "list"),
    }
    again = write_tree(tmp_path / "again", files)
    assert run(["prep", "imagefolder", str(again), "--out", str(tmp_path / "copy"), *options]) == 0
    assert [e.id for e in read_manifest(tmp_path / "copy").classes] == [e.id for e in manifest.classes]
    for split in manifest.splits:
        assert samples(place, split) == samples(tmp_path / "copy", split)
    assert use(place, *options) == 0 and read_manifest(place) == manifest
    assert "is prepared already; nothing was written" in capsys.readouterr().err


def test_a_changed_folder_or_option_is_taken_in(tmp_path: Path) -> None:
    """Lists of the division before do not stay."""
    place = write_tree(tmp_path / "photos", classes())
    assert use(place, "--val-fraction", "0.34") == 0
    write_tree(place, classes(["Zebra"], 3))
    assert use(place, "--val-fraction", "0.34") == 0
    assert read_manifest(place).splits["train"].per_class == (4, 2, 4, 4)
    assert use(place) == 0
    assert read_manifest(place).splits["train"].images == 21 and not (place / "val.jsonl").exists()


def test_a_run_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    """Its lists are there, and its job; the manifest is not."""
    place = write_tree(tmp_path / "photos", classes())
    assert use(place) == 0
    manifest = read_manifest(place)
    (place / "manifest.json").unlink()
    job = b'{"command": "prep imagefolder", "settings": {}, "adopts": true}'
    write_tree(place, {".partial/job.json": job, "train.jsonl": b"{}"})
    assert run(["prep", "imagefolder", str(place), "--out", str(place)]) == 0
    assert read_manifest(place) == manifest and not (place / ".partial").exists() and samples(place, "train")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("train.jsonl", "train.jsonl is there already, and is not of feedline; copy the images with another --out"),
        ("shards/a.jpg", "holds images, and feedline puts shards there; copy the images with another --out"),
        (f"{CLASSES[0]}/broken.jpg", "broken.jpg is a JPEG cut short"),
        ("manifest.json", "is not a Manifest document"),
    ],
)
def test_what_would_be_overwritten_or_is_damaged_stops_it(
    file: str, message: str, tmp_path: Path, capsys: Captured
) -> None:
    """Before anything is written."""
    data = image(7)
    place = write_tree(tmp_path / "photos", classes() | {file: data[:-30] if "broken" in file else data})
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert use(place) == 1
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_the_output_is_the_source_or_lies_elsewhere(tmp_path: Path, capsys: Captured) -> None:
    place, other = (write_tree(tmp_path / name, classes()) for name in ("photos", "other"))
    assert run(["prep", "imagefolder", str(place), "--out", str(place / "data")]) == 1
    assert f"lies in the source {place}; choose" in capsys.readouterr().err
    assert run(["prep", "imagefolder", str(place), str(other), "--out", str(place)]) == 1
    assert "is the output and one of several sources" in capsys.readouterr().err
    assert set(place.iterdir()) == {place / name for name in CLASSES}


def test_a_disk_that_ignores_case_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes that differ in case are two folders here, and one there."""
    files = below("train", classes(["cat", "dog"])) | below("val", classes(["Cat", "dog"]))
    place = write_tree(tmp_path / "photos", files)
    monkeypatch.setattr("feedline.prep.folders.in_place._ignores_case", lambda folder: True)
    assert use(place) == 1
    monkeypatch.undo()
    manifest = prepare_imagefolder([place], place)
    assert [entry.id for entry in manifest.classes] == ["Cat", "cat", "dog"]
