"""Shards of what is unfit, to where they do not belong, with settings that make no sense: refused in a sentence."""

import shutil
import tarfile
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    FeedlineError,
    OutputError,
    ShardSpec,
    list_samples,
    read_manifest,
    read_shard_manifest,
    verify,
    write_shards,
)
from feedline.prep.roots.samples import Sample

# Some of the odd files have broken EXIF, of which Pillow warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*(EXIF|[Tt]ag):UserWarning")


def train_samples(root: Path) -> list[Sample]:
    return list_samples(root, read_manifest(root), "train")


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty", "twice", "unlabelled", "missing", "split", "zip"])
def test_unfit_archives_are_refused_before_anything_is_written(damage: str, archives: Path, tmp_path: Path) -> None:
    """One sentence that names the file; no output directory appears."""
    source, out = tmp_path / "archives", tmp_path / "s"
    shutil.copytree(archives, source)
    train, val, test = (source / f"ILSVRC2012_img_{name}.tar" for name in ("train", "val", "test_v10102019"))
    message = {
        "cut": r"img_train\.tar is truncated",
        "foreign": r"other.tar holds no image of ImageNet: its first file is 'notes.txt'",
        "empty": r"img_val\.tar is empty",
        "twice": r"are both val \(flat validation images\); give one",
        "unlabelled": "no labelled image to shard",
        "missing": "does not exist; make it with: feedline prep, or give",
        "split": "no labelled split 'test'; it has: train, val",
        "zip": "is truncated or not a zip",
    }[damage]
    spec = ShardSpec(splits=("test",)) if damage == "split" else ShardSpec()
    if damage == "cut":
        train.write_bytes(train.read_bytes()[:-20_000])
    elif damage == "foreign":
        source = tmp_path / "other.tar"
        with tarfile.open(source, "w") as tar:
            tar.addfile(tarfile.TarInfo("notes.txt"))
    elif damage == "empty":
        val.write_bytes(b"")
    elif damage == "twice":
        shutil.copy(val, source / "val2.tar")
    elif damage == "unlabelled":
        source = test
    elif damage == "zip":
        source = tmp_path / "tiny-imagenet-200.zip"
        source.write_bytes(b"PK")
    elif damage == "missing":
        source = tmp_path / "nowhere"
    with pytest.raises(FeedlineError, match=message):
        write_shards(source, spec, out=out)

    assert not out.exists()


def test_an_image_that_changed_since_it_was_listed_is_an_error(folders: Path) -> None:
    """A source that somebody writes to gives no shard with half an image."""
    victim = train_samples(folders)[-1].path

    def cut(step: str, done: int, total: int) -> None:
        victim.write_bytes(b"")

    with pytest.raises(DatasetError, match=f"{victim.name} changed while it was read"):
        write_shards(folders, ShardSpec(splits=("train",), order="sequential"), workers=1, progress=cut)
    assert not (folders / "shards" / "manifest.json").exists()


def test_an_image_that_vanished_is_told_by_name(folders: Path) -> None:
    """What cannot be read is never taken for a full disk."""
    victim = train_samples(folders)[-1].path

    def remove(step: str, done: int, total: int) -> None:
        victim.unlink(missing_ok=True)

    with pytest.raises(DatasetError, match=rf"cannot read .*{victim.name}: No such file"):
        write_shards(folders, ShardSpec(splits=("train",), order="sequential"), workers=1, progress=remove)


def test_a_directory_of_something_else_is_left_alone(root: Path, tmp_path: Path) -> None:
    """The message names what is in the way, and nothing is added."""
    (tmp_path / "thesis.tex").write_text("precious")

    with pytest.raises(OutputError, match=r"holds something else \(thesis\.tex\)"):
        write_shards(root, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_root_that_lost_images_is_refused(folders: Path) -> None:
    """Counts are compared with the manifest before anything is written."""
    sorted((folders / "train").rglob("*.JPEG"))[0].unlink()

    with pytest.raises(DatasetError, match=r"has 83 images where the manifest says 84"):
        write_shards(folders)


def test_verify_finds_every_kind_of_damage(root: Path, tmp_path: Path) -> None:
    """A whole set passes; a flipped byte, a cut, a missing shard and an image that does not decode are named."""
    assert verify(root / "shards", decode=True).ok
    copy = tmp_path / "shards"
    shutil.copytree(root / "shards", copy)
    flipped, cut, missing, undecodable = sorted(copy.glob("*-train-*.tar"))[:4]
    with flipped.open("r+b") as file:
        file.seek(3000)
        file.write(b"\xaa")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    missing.unlink()
    data = bytearray(undecodable.read_bytes())
    data[512:522] = b"%!PS-Adobe"
    undecodable.write_bytes(data)
    found = verify(copy, decode=True)
    problems = "\n".join(found.problems)

    assert not found.ok
    assert f"{flipped} has another sha256" in problems
    assert f"{cut} is truncated" in problems
    assert f"{missing} is missing" in problems
    assert "is no image of a format that feedline opens" in problems


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
def test_a_full_disk_is_told_in_one_sentence(root: Path, tmp_path: Path) -> None:
    """The shard, the reason and what to do; nothing half-written looks finished."""

    def stop(step: str, done: int, total: int) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):  # leaves a job to be continued
        write_shards(root, ShardSpec(seed=3), out=tmp_path / "s", workers=1, progress=stop)
    place = tmp_path / "s" / ".partial" / "imagenet-train-000000.tar"
    place.unlink()
    place.symlink_to("/dev/full")

    with pytest.raises(OutputError, match=r"000000\.tar: No space left on device \(.*\); make room and run the same"):
        write_shards(root, ShardSpec(seed=3), out=tmp_path / "s", workers=1)
    assert not (tmp_path / "s" / "imagenet-train-000000.tar").exists()
    with pytest.raises(DatasetError, match="no finished shards"):
        read_shard_manifest(tmp_path / "s")


def test_a_disk_with_too_little_room_is_refused_at_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first byte, with what is needed and what is free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # type: ignore[attr-defined]

    with pytest.raises(OutputError, match=r"needs [0-9.]+ GB and its disk has .* GB free"):
        write_shards(root, out=tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("spec", "option"),
    [
        ({"shard_size": 0}, "--shard-size"),
        ({"shard_count": 0}, "--shard-count"),
        ({"name": "a/b"}, "--name"),
        ({"name": ""}, "--name"),
        ({"encode": "resize", "quality": 101}, "--quality"),
        ({"encode": "resize", "short_side": 0}, "--short-side"),
    ],
)
def test_settings_that_make_no_sense_are_refused(spec: dict, option: str) -> None:  # type: ignore[type-arg]
    """Each by its option's name."""
    with pytest.raises(OutputError, match=option):
        ShardSpec(**spec)


def test_a_dataset_root_is_no_place_for_shards(root: Path) -> None:
    """The manifest there is another one; it is named and left alone."""
    before = (root / "manifest.json").read_bytes()

    with pytest.raises(OutputError, match=r"is a prepared root; give another directory with --out, such as .*shards"):
        write_shards(root, out=root)
    assert (root / "manifest.json").read_bytes() == before


def test_an_unfinished_directory_takes_no_other_settings(root: Path, tmp_path: Path) -> None:
    """Shards of two settings never mix in one directory."""

    def stop(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(root, ShardSpec(seed=1), out=tmp_path / "s", workers=1, progress=stop)
    with pytest.raises(OutputError, match="unfinished shard of other sources or settings"):
        write_shards(root, ShardSpec(seed=2), out=tmp_path / "s")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--encode", "copy", "--quality", "90"],
        ["--short-side", "256"],
        ["--shard-size", "1GB", "--shard-count", "3"],
        ["--shard-size", "many"],
        ["--index-only", "--out", "elsewhere"],
        ["--encode", "webp"],
    ],
)
def test_contradicting_options_are_wrong_usage(
    arguments: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the option's name; an option that would be ignored is never taken."""
    assert run(["shard", str(root), *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
