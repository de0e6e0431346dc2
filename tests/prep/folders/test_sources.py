"""What is prepared of several sources: chosen classes, splits one by one, and nothing that does not belong."""

import json
import shutil
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import (
    OutputError,
    SourceError,
    SyntheticSpec,
    prepare_imagenet,
    read_manifest,
    validation_labels,
    verify,
    write_synthetic,
)

from ..trees import TRAIN, VAL, flat, hugging_face, only, tree, write_tar, write_tree


@pytest.mark.parametrize("text", ["{0}\n", "\ufeff{0}\r\n", '{{"{0}": "tench, Tinca tinca"}}', "{0} tench\n# n0\n"])
def test_a_classes_file_selects(archives: Path, root: Path, tmp_path: Path, text: str) -> None:
    """ImageNet-100 lists circulate as text, CSV and JSON, from Windows too; test images have no class."""
    wnid = read_manifest(root).classes[1].id
    listed = tmp_path / "classes"
    listed.write_bytes(text.format(wnid).encode())

    manifest = prepare_imagenet([archives], tmp_path / "out", classes=listed)

    assert [entry.id for entry in manifest.classes] == [wnid]
    assert tree(tmp_path / "out") == only(tree(root), f"train/{wnid}/", f"val/{wnid}/", "test/")
    with pytest.raises(OutputError, match="choose another directory"):
        prepare_imagenet([archives], tmp_path / "out")
    listed.write_bytes(b"tench\n")
    with pytest.raises(SourceError, match="names no class"):
        prepare_imagenet([archives], tmp_path / "other", classes=listed)


def test_class_folders_are_adopted_in_place(root: Path, tmp_path: Path) -> None:
    """The finished folders of another tool only lack a manifest; nothing is copied or moved."""
    files = only(tree(root), "train/", "val/")
    place = write_tree(tmp_path / "imagenet", files)

    manifest = prepare_imagenet([place], place)

    assert tree(place) == files and verify(place).ok
    assert manifest.splits == {split: read_manifest(root).splits[split] for split in ("train", "val")}
    write_tree(place, {"train/n01440764/n01440764_99999.JPEG": next(iter(files.values()))})
    assert prepare_imagenet([place], place).splits["train"].images == manifest.splits["train"].images + 1
    with pytest.raises(SourceError, match="in no class folder; choose another directory"):
        unsorted = write_tree(tmp_path / "unsorted", flat(files))
        prepare_imagenet([unsorted], unsorted)
    assert tree(unsorted) == flat(files)


def test_splits_come_one_by_one(archives: Path, root: Path, tmp_path: Path) -> None:
    """A second archive adds its split, in any order; another archive for a split that is there is refused."""
    out = tmp_path / "out"
    prepare_imagenet([archives / VAL], out)
    prepare_imagenet([archives], out, splits=["test"])
    manifest = prepare_imagenet([archives], out)

    assert tree(out) == tree(root) and manifest.splits == read_manifest(root).splits
    other = tmp_path / "other"
    write_synthetic(other, SyntheticSpec(layout="ilsvrc2012", classes=2, images_per_class=2, scale=0.1))
    with pytest.raises(OutputError, match=r"holds val of .* choose another directory"):
        prepare_imagenet([other / VAL], out)


def test_sources_that_do_not_go_together_are_refused(archives: Path, root: Path, tmp_path: Path) -> None:
    """Two archives of one split, two data sets in one root, two times the same image."""
    data = next(iter(tree(root).values()))
    copy = tmp_path / "copy.tar"
    shutil.copy(archives / VAL, copy)
    v2 = write_tar(tmp_path / "v2.tar", {"imagenetv2-top-images-format-val/7/a.jpeg": data})
    name = next(iter(hugging_face(only(tree(root), "train/"))))
    parts = [write_tar(tmp_path / f"train_images_{i}.tar", {name: data}) for i in range(2)]

    with pytest.raises(SourceError, match="are both val"):
        prepare_imagenet([archives / VAL, copy], tmp_path / "a")
    with pytest.raises(SourceError, match="imagenet and imagenet-v2 are different data sets"):
        prepare_imagenet([archives / TRAIN, v2], tmp_path / "b")
    with pytest.raises(SourceError, match="two sources hold"):
        prepare_imagenet(parts, tmp_path / "c")
    assert not any((tmp_path / name / "manifest.json").exists() for name in "abc")


def test_the_command_line_says_what_it_recognised(
    archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, before the work; --json keeps stdout to one object."""
    assert run(["prep", "imagenet", str(archives), "--out", str(tmp_path / "out"), "--split", "val", "--json"]) == 0

    out, err = capsys.readouterr()
    assert f"{VAL}: flat validation images (val)" in err and TRAIN not in err
    assert json.loads(out)["splits"] == {"val": {"classes": 3, "images": 12}}


def test_labels_go_by_name_whatever_is_missing(archives: Path, root: Path, tmp_path: Path) -> None:
    """With one image gone, tools that count positions shift every label after it."""
    files = {path.name: path.read_bytes() for path in (root / "val").rglob("*.JPEG")}
    files.pop(min(files))
    archive = write_tar(tmp_path / VAL, dict(sorted(files.items())))

    prepare_imagenet([archive], tmp_path / "out")

    assert all(validation_labels()[path.name] == path.parent.name for path in (tmp_path / "out/val").rglob("*.JPEG"))


def test_other_downloads_in_the_folder_are_passed_over(archives: Path, tiny: Path, root: Path, tmp_path: Path) -> None:
    """Boxes, another data set, a record file: named and left alone; a damaged archive still stops everything."""
    place = shutil.copytree(archives, tmp_path / "downloads")
    shutil.copy(tiny, place)
    write_tar(place / "ILSVRC2012_bbox_val_v3.tgz", {"bbox/val/ILSVRC2012_val_00000001.xml": b"<a/>"}, "w:gz")
    (place / "imagenet2012-train.tfrecord-00000-of-01024").write_bytes(b"record")
    told: list[str] = []

    prepare_imagenet([place], tmp_path / "out", notice=told.append)

    assert tree(tmp_path / "out") == tree(root)
    ignored = [line for line in told if line.startswith("ignored: ")]
    assert len(ignored) == 3 and all(any(word in line for line in ignored) for word in ("bbox", "tiny", "tfrecord"))
    with pytest.raises(SourceError, match=r"tfrecord-00000-of-01024 is a TFRecord file"):
        prepare_imagenet([place / "imagenet2012-train.tfrecord-00000-of-01024"], tmp_path / "no")
    (place / "more.tar").write_bytes((archives / VAL).read_bytes()[:300])
    with pytest.raises(SourceError, match=r"more\.tar is truncated"):
        prepare_imagenet([place], tmp_path / "no")
