"""The classes of a root: those that were asked for, all of them, and never none."""

from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import prepare_imagenet, read_manifest, wnids

from ..trees import TEST, TRAIN, VAL, only, tree, write_tar, write_tree

Captured = pytest.CaptureFixture[str]


def prep(source: Path, out: Path, classes: list[str], capsys: Captured, *options: str) -> tuple[int, str]:
    listed = out.with_name("classes.txt")
    listed.write_text("\n".join(classes))
    capsys.readouterr()
    code = run(["prep", "imagenet", str(source), "--out", str(out), "--classes", str(listed), *options])
    return code, capsys.readouterr().err


@pytest.fixture
def held(root: Path) -> list[str]:
    return [entry.id for entry in read_manifest(root).classes]


@pytest.mark.parametrize("form", ["archives", "train archive", "tar", "folder", "adopted"])
def test_a_class_that_does_not_occur_is_named(
    archives: Path, root: Path, held: list[str], tmp_path: Path, capsys: Captured, form: str
) -> None:
    """An unknown name is asked about, not guessed: n99999999 is a typing error or another data set."""
    files, out = only(tree(root), "train/", "val/"), tmp_path / "out"
    sources = {
        "archives": lambda: archives,
        "train archive": lambda: archives / TRAIN,
        "tar": lambda: write_tar(tmp_path / "all.tar", files),
        "folder": lambda: write_tree(tmp_path / "folder", files),
        "adopted": lambda: write_tree(out, files),
    }
    source = sources[form]()

    code, said = prep(source, out, [*held[:2], "n99999999", "n99999998"], capsys)

    assert code == 1 and "no image of 2 of the 4 classes of --classes: n99999998, n99999999; correct the file" in said
    assert not (out / "manifest.json").exists()
    if form == "adopted":
        assert tree(out) == files
    elif form != "tar":  # whose classes are known when it was read
        assert not out.exists()


def test_of_many_missing_classes_the_first_are_named(
    archives: Path, held: list[str], tmp_path: Path, capsys: Captured
) -> None:
    missing = [wnid for wnid in wnids() if wnid not in held][:8]

    code, said = prep(archives / TRAIN, tmp_path / "out", [*held, *missing], capsys)

    assert code == 1 and f"no image of 8 of the 11 classes of --classes: {', '.join(missing[:5])} and 3 more" in said


@pytest.mark.parametrize("form", ["archives", "tar"])
def test_an_empty_result_is_an_error(archives: Path, root: Path, tmp_path: Path, capsys: Captured, form: str) -> None:
    """Not "0 classes; next: feedline shard"; the output is as it was, so that it can be used again."""
    source = write_tar(tmp_path / "all.tar", only(tree(root), "train/")) if form == "tar" else archives
    out = tmp_path / "out"

    code, said = prep(source, out, ["n99999999"], capsys)
    assert code == 1 and "next: feedline shard" not in said and not (out / "manifest.json").exists()
    if form == "tar":
        assert run(["prep", "imagenet", str(source), "--out", str(out), "--split", "test"]) == 1
        assert "the sources hold no image of test" in capsys.readouterr().err
    assert not out.exists() and run(["prep", "imagenet", str(source), "--out", str(out)]) == 0


def test_a_finished_root_of_other_classes_is_not_returned(
    archives: Path, held: list[str], tmp_path: Path, capsys: Captured
) -> None:
    """In 0.1 the second command ended with exit 0 and the classes of the first."""
    out = tmp_path / "out"
    assert prep(archives, out, held[:1], capsys)[0] == 0

    code, said = prep(archives, out, held[:2], capsys)

    assert code == 1 and f"{out} has no class {held[1]}, which --classes names" in said
    assert prep(archives, out, held[:1], capsys)[0] == 0


def test_test_images_have_no_class_to_ask_for(archives: Path, tmp_path: Path, capsys: Captured) -> None:
    code, said = prep(archives / TEST, tmp_path / "out", ["n01440764"], capsys, "--split", "test")

    assert code == 0, said


def test_classes_that_only_one_split_has_are_said(root: Path, held: list[str], tmp_path: Path) -> None:
    """Written or adopted; a split that comes later is compared as well."""
    files = tree(root)
    train = {path: data for path, data in only(files, "train/").items() if held[0] not in path}
    told: list[str] = []

    prepare_imagenet([write_tar(tmp_path / "train.tar", train)], tmp_path / "out", splits=["train"], notice=told.append)
    val = {path.split("/")[-1]: data for path, data in only(files, "val/").items()}
    prepare_imagenet([write_tar(tmp_path / VAL, val)], tmp_path / "out", notice=told.append)

    assert f"1 class is in val and not in train: {held[0]}" in told
    assert read_manifest(tmp_path / "out").splits["train"].per_class == (0, 4, 4)
