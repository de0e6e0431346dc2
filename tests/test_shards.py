"""Shards: plain, deterministic, resumable, and readable by others; run: python -m pytest tests/test_shards.py"""

import gc
import hashlib
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
import webdataset
from PIL import Image

from feedline.prep import (
    DatasetError,
    OutputError,
    ShardSpec,
    list_samples,
    read_manifest,
    read_shard_manifest,
    sample_order,
    verify,
    write_shards,
)


def digests(directory: Path) -> dict[str, str]:
    """Return the sha256 of every file below a directory."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves files open
def test_the_webdataset_library_alone_reads_them(root: Path) -> None:
    """Every picture with its class, byte for byte, through nothing but webdataset's own API."""
    manifest = read_shard_manifest(root / "shards")
    urls = [str(root / "shards" / shard.name) for shard in manifest.splits["train"].shards]
    expected = {sample.path.stem: (sample.path.read_bytes(), sample.label) for sample in train_samples(root)}
    read = {s["__key__"]: (s["jpg"], int(s["cls"])) for s in webdataset.WebDataset(urls, shardshuffle=False)}
    gc.collect()

    assert read == expected


def train_samples(root: Path) -> list:  # type: ignore[type-arg]
    return list_samples(root, read_manifest(root), "train")


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar program on this machine")
def test_a_tar_program_lists_them(root: Path) -> None:
    """Names in pairs, lower-case extensions, owner 0, the epoch as time."""
    shard = root / "shards" / read_shard_manifest(root / "shards").splits["val"].shards[0].name
    names = subprocess.run(["tar", "-tf", str(shard)], capture_output=True, text=True, check=True).stdout.split()

    assert [name.rpartition(".")[2] for name in names] == ["jpg", "cls"] * (len(names) // 2)
    assert [Path(name).stem for name in names[::2]] == [Path(name).stem for name in names[1::2]]


def test_headers_are_ustar_without_time_or_owner(root: Path) -> None:
    """No pax header, so offsets computed by other readers hold; nothing of this machine in the bytes."""
    for shard in read_shard_manifest(root / "shards").splits["train"].shards:
        with tarfile.open(root / "shards" / shard.name) as tar:
            members = tar.getmembers()
        assert all(member.offset_data == member.offset + 512 for member in members)
        assert all((m.mtime, m.uid, m.gid, m.uname, m.gname, m.pax_headers) == (0, 0, 0, "", "", {}) for m in members)


def test_samples_stand_where_the_manifest_says(root: Path) -> None:
    """The seed and the order give the sample at every place, so readers know the index without a file of its own."""
    manifest = read_shard_manifest(root / "shards")
    held = manifest.splits["train"]
    keys: list[str] = []
    for shard in held.shards:
        with tarfile.open(root / "shards" / shard.name) as tar:
            keys += [name.removesuffix(".jpg") for name in tar.getnames() if name.endswith(".jpg")]
    samples = train_samples(root)

    assert keys == [samples[i].path.stem for i in sample_order(held.samples, manifest.order, manifest.seed)]
    assert sum(shard.samples for shard in held.shards) == held.samples == len(keys)


@pytest.mark.parametrize("workers", [1, 4])
def test_same_seed_same_bytes_whatever_the_workers(workers: int, root: Path, tmp_path: Path) -> None:
    """Manifest included; another seed gives another order."""
    write_shards(root, ShardSpec(seed=3), out=tmp_path / "again", workers=workers)
    write_shards(root, ShardSpec(seed=4), out=tmp_path / "other", workers=workers)

    assert digests(tmp_path / "again") == digests(root / "shards")
    assert digests(tmp_path / "other") != digests(root / "shards")


def test_sequential_order_keeps_the_classes_together(root: Path, tmp_path: Path) -> None:
    """Class by class over all shards, in the order of the folders."""
    manifest = write_shards(root, ShardSpec(order="sequential", splits=("train",)), out=tmp_path / "s")
    labels: list[int] = []
    for shard in manifest.splits["train"].shards:
        with tarfile.open(tmp_path / "s" / shard.name) as tar:
            labels += [int(tar.extractfile(m).read()) for m in tar if m.name.endswith(".cls")]  # type: ignore[union-attr]

    assert labels == sorted(labels)
    assert set(manifest.splits) == {"train"}


def test_shards_stay_near_the_asked_size(root: Path, tmp_path: Path) -> None:
    """--shard-size bounds the pictures in a shard, by one picture at most; sizes are even."""
    largest = max(sample.size for sample in train_samples(root))
    manifest = write_shards(root, ShardSpec(shard_size=3 * largest, splits=("train",)), out=tmp_path / "s")
    for shard in manifest.splits["train"].shards:
        with tarfile.open(tmp_path / "s" / shard.name) as tar:
            pictures = sum(member.size for member in tar if member.name.endswith(".jpg"))

        assert pictures <= 4 * largest


KILLED = """
import os, sys, signal
from pathlib import Path
from feedline.prep import ShardSpec, write_shards
def die(step, done, total):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
write_shards(Path(sys.argv[1]), ShardSpec(seed=3), out=Path(sys.argv[2]), workers=1, progress=die)
"""


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 40, 83, 130])
def test_a_killed_run_is_continued_to_the_same_bytes(samples: int, root: Path, tmp_path: Path) -> None:
    """kill -9 after any sample: no manifest, nothing used, and the second run keeps the finished shards."""
    out = tmp_path / "shards"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root), str(out), str(samples)], check=False)
    assert killed.returncode != 0
    with pytest.raises(DatasetError, match=r"no finished shards.*run again: feedline shard"):
        read_shard_manifest(out)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    write_shards(root, ShardSpec(seed=3), out=out)

    assert digests(out) == digests(root / "shards")
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_finished_shards_are_not_written_again(root: Path, tmp_path: Path) -> None:
    """The same command twice is no work; other settings into the same place are refused."""
    first = write_shards(root, ShardSpec(seed=3), out=tmp_path / "s")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}

    assert write_shards(root, ShardSpec(seed=3), out=tmp_path / "s") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()} == times
    with pytest.raises(OutputError, match=r"holds other shards .*seed 3"):
        write_shards(root, ShardSpec(seed=4), out=tmp_path / "s")


def test_a_directory_of_something_else_is_left_alone(root: Path, tmp_path: Path) -> None:
    """The message names what is in the way, and nothing is added."""
    (tmp_path / "thesis.tex").write_text("precious")

    with pytest.raises(OutputError, match=r"holds something else \(thesis\.tex\)"):
        write_shards(root, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("stem", ["two.dots", "ein hase", "__meta", "straße", "x" * 97])
def test_names_that_some_reader_splits_are_refused(stem: str, root: Path, tmp_path: Path) -> None:
    """A key that webdataset, DALI or tar would cut differently never gets into a shard."""
    copy = tmp_path / "data"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("shards"))
    victim = sorted((copy / "train").rglob("*.JPEG"))[0]
    victim.rename(victim.with_name(stem + ".JPEG"))

    with pytest.raises(DatasetError, match="cannot become a key"):
        write_shards(copy)
    assert not (copy / "shards" / "manifest.json").exists()


def test_two_samples_with_one_key_are_refused(root: Path, tmp_path: Path) -> None:
    """Readers group by key, so the second picture would silently vanish or join the first."""
    copy = tmp_path / "data"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("shards"))
    first, second = sorted((copy / "train").iterdir())[:2]
    victim, twin = sorted(first.iterdir())[0], sorted(second.iterdir())[0]
    twin.rename(second / victim.name)

    with pytest.raises(DatasetError, match="have the same key"):
        write_shards(copy)


def test_a_root_that_lost_pictures_is_refused(root: Path, tmp_path: Path) -> None:
    """Counts are compared with the manifest before anything is written."""
    copy = tmp_path / "data"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("shards"))
    sorted((copy / "train").rglob("*.JPEG"))[0].unlink()

    with pytest.raises(DatasetError, match=r"has 83 pictures where the manifest says 84"):
        write_shards(copy)


def test_verify_finds_every_kind_of_damage(root: Path, tmp_path: Path) -> None:
    """A whole set passes; a flipped byte, a cut, a missing shard and a picture that does not decode are named."""
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
    data[512:522] = b"GIF89a\0\0\0\0"
    undecodable.write_bytes(data)
    found = verify(copy, decode=True)
    problems = "\n".join(found.problems)

    assert not found.ok
    assert f"{flipped} has another sha256" in problems
    assert f"{cut} is truncated" in problems
    assert f"{missing} is missing" in problems
    assert "is neither a JPEG nor a PNG" in problems


def test_odd_files_keep_their_bytes(root: Path) -> None:
    """A PNG named .JPEG, CMYK and greyscale travel unchanged: lossless means untouched."""
    modes: set[tuple[str | None, str]] = set()
    with pytest.warns(UserWarning, match="[Tt]ag|EXIF"):
        for shard in read_shard_manifest(root / "shards").splits["train"].shards:
            with tarfile.open(root / "shards" / shard.name) as tar:
                for member in tar:
                    if member.name.endswith(".jpg"):
                        picture = Image.open(BytesIO(tar.extractfile(member).read()))  # type: ignore[union-attr]
                        modes.add((picture.format, picture.mode))

    assert {("PNG", "RGBA"), ("JPEG", "CMYK"), ("JPEG", "L"), ("JPEG", "RGB")} <= modes
