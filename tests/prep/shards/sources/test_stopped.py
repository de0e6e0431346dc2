"""Shards from sources that are damaged, killed or run again: finished ones stay, and no other file."""

import gzip
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    OutputError,
    ShardSpec,
    SourceError,
    prepare_imagenet,
    read_shard_manifest,
    write_shards,
)

from ...trees import VAL, Files
from .shared import SPEC, STREAMED, build, digests


@pytest.mark.parametrize("layout", STREAMED)
def test_finished_shards_of_a_stream_are_not_written_again(
    layout: str, archives: Path, files: Files, tmp_path: Path
) -> None:
    """The same command twice writes nothing, not even a copy; other settings are refused."""
    source = build(layout, tmp_path / "in", archives, files)
    first = write_shards(source, SPEC, out=tmp_path / "s")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}

    assert write_shards(source, SPEC, out=tmp_path / "s") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()} == times
    with pytest.raises(OutputError, match="holds other shards"):
        write_shards(source, replace(SPEC, seed=4), out=tmp_path / "s")


KILLED = """
import os, sys, signal
from pathlib import Path
from feedline.prep import ShardSpec, write_shards
def die(step, done, total):
    if step.startswith(sys.argv[3]) and done >= int(sys.argv[4]):
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
write_shards(Path(sys.argv[1]), ShardSpec(seed=3, shard_count=2), out=Path(sys.argv[2]), workers=1, progress=die)
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["copying", "shards"])
def test_a_killed_run_over_streams_is_continued(
    step: str, archives: Path, root: Path, files: Files, tmp_path: Path
) -> None:
    """kill -9 between two copies or shards: finished copies are kept, half of one is made again, all go at the end."""
    source, out = build("hugging_face", tmp_path / "in", archives, files), tmp_path / "s"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(source), str(out), step, "0"], check=False)
    assert killed.returncode != 0
    kept = {path: path.stat().st_mtime_ns for path in (out / ".partial").glob("scratch-*.tar")}
    assert kept
    (out / ".partial/scratch-0099.tar.partial").write_bytes(b"half")
    whole, changed = sorted(kept)[0], list[bool]()

    def look(name: str, done: int, total: int) -> None:
        changed.append(name.startswith("shards") and whole.stat().st_mtime_ns != kept[whole])

    write_shards(source, SPEC, out=out, progress=look)

    assert not any(changed)
    assert digests(out) == digests(root / "shards")


def test_a_damaged_stream_leaves_no_copy(archives: Path, tmp_path: Path) -> None:
    """The error names the archive; the same command goes on with the whole archive in its place."""
    archive = tmp_path / "val.tar.gz"
    data = gzip.compress((archives / VAL).read_bytes())
    archive.write_bytes(data[: len(data) // 2])

    with pytest.raises(SourceError, match=r"val\.tar\.gz is damaged at offset"):
        write_shards(archive, SPEC, out=tmp_path / "s")
    assert not list((tmp_path / "s").rglob("*.tar"))
    archive.write_bytes(data)
    assert write_shards(archive, SPEC, out=tmp_path / "s").splits["val"].samples > 0
    assert run(["verify", str(tmp_path / "s")]) == 0


def test_the_copy_counts_as_room(archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that holds the shards alone is too small for the shards of a gzipped tar."""
    archive = tmp_path / "val.tar.gz"
    archive.write_bytes(gzip.compress((archives / VAL).read_bytes()))
    needed: list[int] = []
    monkeypatch.setattr("feedline.prep.shards.writing.destination.require_room", lambda _, size: needed.append(size))
    write_shards(archive, SPEC, out=tmp_path / "a")
    write_shards(archives / VAL, SPEC, out=tmp_path / "b")

    first, rest, alone = needed
    assert rest == alone
    assert first > archive.stat().st_size * 2


def test_a_damaged_zip_member_is_named(archives: Path, files: Files, tmp_path: Path) -> None:
    """The CRC is checked when the image is read."""
    source = build("kaggle_zip", tmp_path / "in", archives, files)
    data = bytearray(source.read_bytes())
    image = next(data for path, data in files.items() if path.startswith("train/"))
    data[data.index(image) + len(image) // 2] ^= 0xFF
    source.write_bytes(data)

    with pytest.raises(SourceError, match="has another size or CRC than its directory entry"):
        write_shards(source, SPEC, out=tmp_path / "s")


def test_many_archives_are_not_all_open_at_once(
    archives: Path, root: Path, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shuffled shard takes its images from 1000 class tars; the oldest is closed for the next."""
    source = build("class_tars", tmp_path / "in", archives, files)
    monkeypatch.setattr("feedline.prep.sources.reader.OPEN", 1)

    write_shards(source, SPEC, out=tmp_path / "s", workers=1)

    assert digests(tmp_path / "s") == digests(root / "shards")


def test_an_unfinished_root_is_no_source(archives: Path, tmp_path: Path) -> None:
    """Class folders of a run that was stopped would pass for a small data set."""

    def stop(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_imagenet([archives], tmp_path / "data", progress=stop)
    with pytest.raises(DatasetError, match="no finished data set"):
        write_shards(tmp_path / "data", SPEC)


def test_fewer_shards_of_a_repaired_source_leave_no_old_one(root: Path, tmp_path: Path) -> None:
    """A glob over the tars would find old shards. An image that changes after it was listed ends the first run."""
    source, spec = tmp_path / "source", ShardSpec(shard_count=4, order="sequential")
    shutil.copytree(root / "train", source / "train")
    images = sorted(source.rglob("*.JPEG"))

    def change(step: str, done: int, total: int) -> None:
        if step.startswith("shards") and done:
            images[-1].write_bytes(b"changed")

    with pytest.raises(DatasetError, match="changed while it was read"):
        write_shards(source, spec, out=tmp_path / "s", workers=1, progress=change)
    assert len(list((tmp_path / "s").glob("*.tar"))) > 2
    for path in images[2:]:
        path.unlink()
    manifest = write_shards(source, spec, out=tmp_path / "s")

    shards = {shard.name for split in manifest.splits.values() for shard in split.shards}
    assert {path.name for path in (tmp_path / "s").glob("*.tar")} == shards and len(shards) == 2
    assert run(["verify", str(tmp_path / "s")]) == 0


@pytest.mark.parametrize("fails", [False, True])
def test_only_shards_of_failed_sources_are_removed(fails: bool, root: Path, tmp_path: Path) -> None:
    """The user may have put files there meanwhile, with names like those of shards."""
    source, out, spec = tmp_path / "source", tmp_path / "s", ShardSpec(shard_count=2, order="sequential")
    shutil.copytree(root / "train", source / "train")
    images = sorted(source.rglob("*.JPEG"))
    kept = {f"imagenet-train-{name}" for name in ("000007.tar", "000007.txt", "1.tar")}

    def put(step: str, done: int, total: int) -> None:
        for name in kept if step.startswith("shards") else ():
            (out / name).write_bytes(b"mine")
        if fails and step.startswith("shards") and done:
            images[-1].write_bytes(b"changed")

    if fails:
        with pytest.raises(DatasetError, match="changed while it was read"):
            write_shards(source, spec, out=out, workers=1, progress=put)
        images[-1].unlink()
        write_shards(source, spec, out=out)
        kept.remove("imagenet-train-000007.tar")
    else:
        write_shards(source, spec, out=out, workers=1, progress=put)
    shards = {shard.name for shard in read_shard_manifest(out).splits["train"].shards}
    assert {path.name for path in out.iterdir() if path.suffix in (".tar", ".txt")} == kept | shards
