"""The official release: counts, sizes and checksums where all classes are there, and labels that must agree."""

import hashlib
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    OutputError,
    SourceError,
    SyntheticSpec,
    prepare_imagenet,
    read_manifest,
    validation_labels,
    verify,
    wnids,
    write_synthetic,
)
from feedline.prep.labels.completeness import OFFICIAL, check_counts

from ..trees import TEST, TRAIN, VAL, Files, tar_of


def one_per_class(jpeg: bytes) -> Files:
    """The first validation image of each of the 1000 classes."""
    return dict.fromkeys({wnid: name for name, wnid in validation_labels().items()}.values(), jpeg)


@pytest.fixture
def small_official(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Make an archive of one image per class the official one, so that 50,000 need not be written."""

    def make(archive: bytes) -> None:
        md5 = hashlib.md5(archive).hexdigest()
        val = replace(OFFICIAL["val"], images=1000, fewest=1, most=1, bytes=len(archive), md5=(md5,))
        monkeypatch.setitem(OFFICIAL, "val", val)

    return make


def test_all_classes_mean_all_images(tmp_path: Path, jpeg: bytes) -> None:
    """An archive of 1000 classes that lacks images is damaged; --checksum none or --classes says it is meant."""
    archive = tmp_path / VAL
    archive.write_bytes(tar_of(one_per_class(jpeg)))

    with pytest.raises(SourceError, match=r"holds 1 val images of class n\d+, ImageNet has 50; copy or download"):
        prepare_imagenet([archive], tmp_path / "out")
    assert not (tmp_path / "out/manifest.json").exists()
    assert prepare_imagenet([archive], tmp_path / "out", checksum="none").splits["val"].images == 1000
    listed = tmp_path / "all.txt"
    listed.write_text("\n".join(wnids()))
    assert prepare_imagenet([archive], tmp_path / "subset", classes=listed).splits["val"].images == 1000


def test_a_training_archive_of_another_size_is_refused_at_once(tmp_path: Path, jpeg: bytes) -> None:
    """1000 class tars and not 147,897,477,120 bytes: told before anything is written."""
    archive = tmp_path / TRAIN
    archive.write_bytes(tar_of({f"{wnid}.tar": tar_of({f"{wnid}_1.JPEG": jpeg}) for wnid in wnids()}))

    with pytest.raises(SourceError, match=r"the official archive of train has 147897477120; .*--checksum none"):
        prepare_imagenet([archive], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda counts: counts, ""),
        (lambda counts: {**counts, "n01440764": 731}, "731 train images of class n01440764, ImageNet has 732..1300"),
        (lambda counts: {**counts, "n01440764": 1301}, "1301 train images"),
        (lambda counts: {**counts, "n01440764": 1000}, "images of all 1000 classes, ImageNet has 1281167"),
        (lambda counts: {**counts, "n99999999": 800}, "n99999999 is none of ImageNet's"),
        (lambda counts: dict(list(counts.items())[:999]), ""),  # a subset: nobody can know
    ],
)
def test_the_counts_of_train(change: Callable[[dict[str, int]], dict[str, int]], says: str) -> None:
    """732 to 1300 per class and 1,281,167 in all, once the 1000 classes are there."""
    counts = change(dict.fromkeys(wnids(), 1281) | dict.fromkeys(wnids()[-18:], 1290) | {wnids()[500]: 1286})

    if not says:
        check_counts("train", counts, sum(counts.values()), "it")
    else:
        with pytest.raises(SourceError, match=says):
            check_counts("train", counts, sum(counts.values()), "it")


def test_md5_is_recorded_and_compared(
    tmp_path: Path, jpeg: bytes, archives: Path, small_official: Callable[[bytes], None]
) -> None:
    """--checksum md5 writes it into the manifest; for the whole of a split it must be the official one."""
    manifest = prepare_imagenet([archives], tmp_path / "small", checksum="md5")
    assert {source.name: source.md5 for source in manifest.sources} == {
        name: hashlib.md5((archives / name).read_bytes()).hexdigest() for name in (TRAIN, VAL, TEST)
    }

    members = one_per_class(jpeg)
    archive = tmp_path / VAL
    archive.write_bytes(tar_of(members))
    small_official(archive.read_bytes())
    assert prepare_imagenet([archive], tmp_path / "good", checksum="md5").sources[0].md5 in OFFICIAL["val"].md5
    changed = bytearray(archive.read_bytes())
    changed[512 + 100] ^= 1  # inside an image: only a checksum can tell
    archive.write_bytes(changed)
    assert prepare_imagenet([archive], tmp_path / "size", checksum="size").splits["val"].images == 1000
    with pytest.raises(SourceError, match=r"has the md5 .*download it again"):
        prepare_imagenet([archive], tmp_path / "bad", checksum="md5")
    assert not (tmp_path / "bad/manifest.json").exists()
    archive.write_bytes(tar_of(members))
    prepare_imagenet([archive], tmp_path / "bad", checksum="md5")
    images, good = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.JPEG")}
        for root in (tmp_path / "bad", tmp_path / "good")
    ]
    assert images == good


def test_delete_source_only_after_everything_decoded(archives: Path, tmp_path: Path) -> None:
    """Archives go when all their images are there and decode; one broken image keeps them."""
    place = tmp_path / "in"
    shutil.copytree(archives, place)
    out = tmp_path / "out"
    prepare_imagenet([place], out)
    victim = next((out / "train").rglob("*.JPEG"))
    data = victim.read_bytes()
    victim.write_bytes(data[:300] + bytes(len(data) - 302) + data[-2:])
    with pytest.raises(OutputError, match=f"the sources were kept: .*{victim.name}"):
        prepare_imagenet([place], out, delete_source=True)
    assert sorted(path.name for path in place.iterdir()) == sorted([TRAIN, VAL, TEST])

    victim.write_bytes(data)
    assert run(["prep", "imagenet", *map(str, sorted(place.iterdir())), "--out", str(out), "--delete-source"]) == 0
    assert not list(place.iterdir()) and verify(out).ok


def test_delete_source_never_loses_what_was_not_prepared(archives: Path, tmp_path: Path) -> None:
    """A subset of the classes or splits, or a folder as source: refused before anything happens."""
    listed = tmp_path / "classes.txt"
    listed.write_text(wnids()[0])
    tree = tmp_path / "tree"
    prepare_imagenet([archives], tree)
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in (tree / "val").rglob("*.JPEG"):
            archive.write(path, path.relative_to(tree))
        for path in (tree / "train").rglob("*.JPEG"):
            archive.write(path, path.relative_to(tree))
    cases = (
        ({"sources": [archives / VAL], "classes": listed}, "holds more than is prepared"),
        ({"sources": [tree]}, "is a folder"),
        ({"sources": [packed], "splits": ["val"]}, "holds more than is prepared"),
    )
    for arguments, says in cases:
        with pytest.raises(SourceError, match=says):
            prepare_imagenet(out=tmp_path / "out", delete_source=True, **arguments)  # pyright: ignore
    assert packed.exists() and (archives / VAL).exists() and not (tmp_path / "out").exists()


def test_an_unfinished_root_is_never_used(archives: Path, tmp_path: Path) -> None:
    """Without a manifest the folders are not a data set, whatever they hold."""
    prepare_imagenet([archives], tmp_path / "out")
    (tmp_path / "out/manifest.json").unlink()

    with pytest.raises(DatasetError, match="no finished data set"):
        verify(tmp_path / "out")


@pytest.mark.slow
def test_a_dress_rehearsal_with_all_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1000 classes in train, val and test, prepared, verified and taken for what they are: synthetic, not damaged."""
    spec = SyntheticSpec(layout="ilsvrc2012", classes=1000, images_per_class=3, scale=0.05)
    write_synthetic(tmp_path / "in", spec)

    assert run(["prep", "imagenet", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--checksum", "md5"]) == 0

    manifest = read_manifest(tmp_path / "out")
    assert [entry.id for entry in manifest.classes] == list(wnids())
    assert manifest.splits["train"].per_class == manifest.splits["val"].per_class == (3,) * 1000
    assert manifest.splits["test"].images == 1000
    assert run(["verify", str(tmp_path / "out"), "--decode"]) == 0
    assert "is complete and undamaged" in capsys.readouterr().err
