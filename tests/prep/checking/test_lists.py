"""``feedline verify`` of roots whose images lie elsewhere than in class folders named as the split."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import read_manifest, verify, write_document
from feedline.prep.roots.lists import ListedImage, list_path, read_list, write_list

from ..column_roots import add_columns

pytestmark = pytest.mark.filterwarnings("ignore:.*(EXIF|[Tt]ag):UserWarning")


@pytest.fixture
def listed(folders: Path) -> Path:
    """A root whose train split is listed and whose class folders lie directly in it; val has another folder."""
    manifest = read_manifest(folders)
    images = [
        ListedImage(f"{entry.id}/{path.name}", entry.id)
        for entry in manifest.classes
        for path in sorted((folders / "train" / entry.id).iterdir())
        if not path.name.startswith(".")
    ]
    for entry in manifest.classes:
        (folders / "train" / entry.id).rename(folders / entry.id)
    (folders / "train").rmdir()
    (folders / "val").rename(folders / "images for testing")
    write_list(list_path(folders, "train"), images)
    splits = {
        "train": replace(manifest.splits["train"], listed=True),
        "val": replace(manifest.splits["val"], folder="images for testing"),
    }
    write_document(folders / "manifest.json", replace(manifest, splits={**manifest.splits, **splits}))
    return folders


def lines_of(root: Path) -> list[bytes]:
    return list_path(root, "train").read_bytes().splitlines(keepends=True)


def test_a_listed_root_is_whole(listed: Path) -> None:
    """Each image is read, of every class."""
    found = verify(listed, decode=True)

    assert found.problems == ()
    assert found.splits["train"] == {"classes": 4, "images": 84}
    assert found.splits["val"]["classes"] == 4


def lose(root: Path) -> str:
    path = root / next(iter(read_list(list_path(root, "train")))).file_name
    path.unlink()
    return f"{path} cannot be read: No such file"


def damage(root: Path) -> str:
    path = root / next(iter(read_list(list_path(root, "train")))).file_name
    path.write_bytes(path.read_bytes()[:-400])
    return f"{path} is "


def repeat(root: Path) -> str:
    lines = lines_of(root)
    list_path(root, "train").write_bytes(b"".join([lines[0], *lines]))
    return "train.jsonl, line 2, names"


def shorten(root: Path) -> str:
    list_path(root, "train").write_bytes(b"".join(lines_of(root)[1:]))
    return "train.jsonl lists 20 images of n"


def relabel(root: Path) -> str:
    first, *others = lines_of(root)
    list_path(root, "train").write_bytes(b"".join([first.replace(b'"label": "n', b'"label": "other'), *others]))
    return "train.jsonl, line 1, has the class other"


def spoil(root: Path) -> str:
    first, second, *others = lines_of(root)
    list_path(root, "train").write_bytes(b"".join([first, second[:20] + b"\n", *others]))
    return "train.jsonl, line 2 is not {'file_name'"


def escape(root: Path) -> str:
    first, *others = lines_of(root)
    list_path(root, "train").write_bytes(b"".join([b'{"file_name": "\\ud800.jpg", "label": "' + first[-12:], *others]))
    return "cannot be read: "


def lose_the_list(root: Path) -> str:
    list_path(root, "train").unlink()
    return "train.jsonl, which lists the images"


@pytest.mark.parametrize("change", [lose, damage, repeat, shorten, relabel, spoil, escape, lose_the_list])
def test_damage_is_named(change: Callable[[Path], str], listed: Path) -> None:
    """The file or the line, once."""
    expected = change(listed)
    problems = verify(listed).problems
    assert any(expected in problem for problem in problems), problems


def test_files_that_no_list_names_are_counted_by_folder(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are notes, and neither damage nor samples; folders of other splits are checked as ever."""
    image = next((listed / "images for testing").rglob("*.JPEG"))
    (listed / "labels.csv").write_text("x", "utf-8")
    (listed / "new class").mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(image, listed / "new class" / name)
    (image.parent / "notes.txt").write_text("x", "utf-8")

    found = verify(listed)
    assert found.ok
    notes = "\n".join(found.strangers)
    assert f"{listed} has 1 files that no list names, such as labels.csv" in notes
    assert f"{listed / 'new class'} has 2 files that no list names, such as a.jpg" in notes
    assert f"{image.parent / 'notes.txt'} is no image" in notes
    assert len(found.strangers) == 3
    assert run(["verify", str(listed)]) == 0
    assert "complete and undamaged" in capsys.readouterr().err

    (listed / "images for testing" / "more").mkdir()
    shutil.copy(image, listed / "images for testing" / "more" / "a.jpg")
    assert "is not a class of the manifest" in verify(listed).problems[0]


def test_one_image_in_two_splits_is_a_problem(listed: Path) -> None:
    """Training images in val make its accuracy wrong."""
    manifest = read_manifest(listed)
    write_list(list_path(listed, "val"), list(read_list(list_path(listed, "train")))[:20])
    splits = {**manifest.splits, "val": replace(manifest.splits["val"], listed=True, folder=None)}
    write_document(listed / "manifest.json", replace(manifest, splits=splits))
    assert any(
        "val.jsonl, line 1, names" in problem and "train.jsonl names" in problem for problem in verify(listed).problems
    )


def test_classes_in_the_root_itself(folders: Path) -> None:
    """Nothing that feedline wrote next to them is a stranger."""
    manifest = read_manifest(folders)
    for entry in manifest.classes:
        (folders / "train" / entry.id).rename(folders / entry.id)
    (folders / "train").rmdir()
    splits = {**manifest.splits, "train": replace(manifest.splits["train"], folder=".")}
    write_document(folders / "manifest.json", replace(manifest, splits=splits))

    assert verify(folders).problems == () and verify(folders).strangers == ()


def test_the_list_of_the_columns_is_checked_too(folders: Path) -> None:
    """Its images lie in class folders, where a renamed one would be counted as before."""
    add_columns(folders)
    manifest = read_manifest(folders)
    splits = {name: replace(split, listed=False) for name, split in manifest.splits.items()}
    write_document(folders / "manifest.json", replace(manifest, splits=splits))
    assert verify(folders).ok
    path = next((folders / "train").rglob("*.JPEG"))
    path.rename(path.with_name("other.JPEG"))
    (problem,) = verify(folders).problems
    assert "train.jsonl names train/" in problem and problem.endswith("which is missing")
