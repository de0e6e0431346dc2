"""Shards: plain, deterministic, resumable, and readable by others."""

import hashlib
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    Order,
    OutputError,
    ShardSpec,
    list_samples,
    read_manifest,
    read_shard_manifest,
    sample_order,
    verify,
    write_shards,
)
from feedline.prep.roots.samples import Sample

# Some of the odd files have broken EXIF, of which Pillow warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*(EXIF|[Tt]ag):UserWarning")


def digests(directory: Path) -> dict[str, str]:
    """Return the sha256 of every file below a directory."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def train_samples(root: Path) -> list[Sample]:
    return list_samples(root, read_manifest(root), "train")


def members(directory: Path, split: str = "train") -> Iterator[tuple[str, bytes]]:
    """Yield (name, data) of every member of a split's shards, as Python's own tarfile reads them."""
    for shard in read_shard_manifest(directory).splits[split].shards:
        with tarfile.open(directory / shard.name) as tar:
            for member in tar:
                yield member.name, tar.extractfile(member).read()  # type: ignore[union-attr]


def images(directory: Path) -> dict[str, bytes]:
    """Return the images of split train by key."""
    return {name.removesuffix(".jpg"): data for name, data in members(directory) if name.endswith(".jpg")}


def pixels(data: bytes) -> bytes:
    return Image.open(BytesIO(data)).convert("RGBA").tobytes()


def test_a_sample_is_an_image_its_class_and_what_it_was(root: Path) -> None:
    """Three members side by side under the file's stem, with lower-case extensions, and the same columns for all."""
    read = list(members(root / "shards"))
    samples = {sample.key: sample for sample in train_samples(root)}
    wnids = [entry.id for entry in read_manifest(root).classes]
    for (jpg, data), (cls, label), (about, text) in zip(read[::3], read[1::3], read[2::3], strict=True):
        key = jpg.removesuffix(".jpg")
        sample = samples.pop(key)
        width, height = Image.open(BytesIO(data)).size

        assert (cls, about) == (key + ".cls", key + ".json")
        assert int(label) == sample.label
        assert json.loads(text) == {
            "class": wnids[sample.label],
            "width": width,
            "height": height,
            "name": sample.path.name,
        }
    assert samples == {}


def test_restart_keeps_every_pixel_and_counts_what_it_left_alone(root: Path) -> None:
    """By default each image decodes as its source does; the odd ones are untouched, and named in the manifest."""
    shards = images(root / "shards")
    source = {sample.key: sample.path.read_bytes() for sample in train_samples(root)}
    untouched = [Image.open(BytesIO(data)) for key, data in shards.items() if data == source[key]]
    manifest = read_shard_manifest(root / "shards")

    assert {key: pixels(data) for key, data in shards.items()} == {key: pixels(data) for key, data in source.items()}
    assert sorted((image.format, image.mode) for image in untouched) == [("JPEG", "CMYK"), ("PNG", "RGBA")]
    assert manifest.encode == "restart"
    assert manifest.passed_through == {"cmyk": 1, "not-jpeg": 1}


def test_copy_keeps_every_byte(root: Path, tmp_path: Path) -> None:
    """--encode copy and --no-metadata: the files as they are, and nothing beside them but the class."""
    write_shards(root, ShardSpec(encode="copy", metadata=False), out=tmp_path / "s")
    extensions = {name.partition(".")[2] for name, _ in members(tmp_path / "s")}

    assert images(tmp_path / "s") == {sample.key: sample.path.read_bytes() for sample in train_samples(root)}
    assert extensions == {"jpg", "cls"}
    assert verify(tmp_path / "s", decode=True).ok


def test_resize_makes_rgb_jpegs_of_the_asked_side(root: Path, tmp_path: Path) -> None:
    """CMYK and PNG become RGB; nothing is enlarged; the image is the antialiased small one; labels stay."""
    spec = ShardSpec(encode="resize", short_side=64, quality=95)
    manifest = write_shards(root, spec, out=tmp_path / "s")
    source = {sample.key: Image.open(sample.path).convert("RGB") for sample in train_samples(root)}
    for key, data in images(tmp_path / "s").items():
        small, large = Image.open(BytesIO(data)), source[key]
        reference = large.resize(small.size, Image.Resampling.LANCZOS)
        difference = np.abs(np.asarray(small.convert("RGB"), np.int16) - np.asarray(reference, np.int16))

        assert small.format == "JPEG" and small.mode in ("RGB", "L")
        assert min(small.size) == min(64, *large.size)
        assert abs(small.width / small.height - large.width / large.height) < 0.05
        assert difference.mean() < 6
    assert (manifest.short_side, manifest.quality, manifest.passed_through) == (64, 95, {})
    assert verify(tmp_path / "s", decode=True).ok


def test_resize_leaves_small_images_their_pixels(root: Path, tmp_path: Path) -> None:
    """Encoding an image again that is small enough would only lose quality."""
    write_shards(root, ShardSpec(encode="resize", short_side=4096, quality=10), out=tmp_path / "s")
    source = {sample.key: sample.path.read_bytes() for sample in train_samples(root)}
    changed = [key for key, data in images(tmp_path / "s").items() if pixels(data) != pixels(source[key])]

    assert sorted(Image.open(BytesIO(source[key])).mode for key in changed) == ["CMYK", "RGBA"]


def test_archives_give_the_same_shards_as_the_root_made_from_them(archives: Path, root: Path, tmp_path: Path) -> None:
    """Nothing is unpacked: samples are read from the nested tars, and the bytes of everything are the same."""
    before = digests(archives)
    write_shards(archives, ShardSpec(seed=3), out=tmp_path / "s")

    assert digests(tmp_path / "s") == digests(root / "shards")
    assert digests(archives) == before


def test_one_archive_is_a_source_too(archives: Path, tmp_path: Path) -> None:
    """A single tar needs no folder around it."""
    manifest = write_shards(archives / "ILSVRC2012_img_val.tar", out=tmp_path / "s")

    assert set(manifest.splits) == {"val"}
    assert verify(tmp_path / "s", decode=True).ok


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


@given(count=st.integers(0, 9000), seed=st.integers(0, 2**64 - 1), order=st.sampled_from(get_args(Order)))
def test_every_order_holds_each_sample_once(count: int, seed: int, order: Order) -> None:
    """And depends on nothing but the count and the seed."""
    found = sample_order(count, order, seed)

    assert found.dtype == np.int64
    assert np.array_equal(np.sort(found), np.arange(count))
    assert np.array_equal(found, sample_order(count, order, seed))


def test_a_two_level_shuffle_mixes_many_classes_and_reads_in_runs() -> None:
    """Of 50 classes of 1300, a window of 2048 samples holds dozens, in 64 runs that each lie in one piece."""
    window = sample_order(65_000, "two-level", seed=7)[:2048]

    assert len(np.unique(window // 1300)) >= 30
    assert np.count_nonzero(np.diff(np.sort(window)) != 1) < 64
    assert not np.array_equal(window, sample_order(65_000, "two-level", seed=8)[:2048])


def test_two_level_shards_hold_what_their_manifest_says(root: Path, tmp_path: Path) -> None:
    """Samples that were read in one order and written in another keep their own images and labels."""
    write_shards(root, ShardSpec(encode="copy", order="two-level", seed=5, shard_count=3), out=tmp_path / "s")
    samples = train_samples(root)
    expected = [samples[index] for index in sample_order(len(samples), "two-level", 5)]
    read = [(name, data) for name, data in members(tmp_path / "s") if name.endswith(".jpg")]

    assert read == [(sample.key + ".jpg", sample.path.read_bytes()) for sample in expected]
    assert expected != samples
    assert verify(tmp_path / "s").ok


def test_shard_count_is_kept(root: Path, tmp_path: Path) -> None:
    """As many shards of each split as asked for, of even size, and never more than there are samples."""
    few = write_shards(root, ShardSpec(shard_count=3), out=tmp_path / "few").splits["train"]
    many = write_shards(root, ShardSpec(shard_count=9999, encode="copy"), out=tmp_path / "many").splits["train"]

    assert [shard.name for shard in few.shards] == [f"imagenet-train-{n:06d}.tar" for n in range(3)]
    assert max(shard.bytes for shard in few.shards) < 1.5 * min(shard.bytes for shard in few.shards)
    assert len(many.shards) <= many.samples == sum(shard.samples for shard in many.shards)


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
    """--shard-size bounds the images in a shard, by one image at most; sizes are even."""
    largest = max(sample.size for sample in train_samples(root))
    manifest = write_shards(root, ShardSpec(shard_size=3 * largest, splits=("train",)), out=tmp_path / "s")
    for shard in manifest.splits["train"].shards:
        with tarfile.open(tmp_path / "s" / shard.name) as tar:
            images = sum(member.size for member in tar if member.name.endswith(".jpg"))

        assert images <= 4 * largest


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


def test_the_command_line_writes_checks_and_indexes(
    archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """shard, verify --decode and shard --index-only on the archives, each with one JSON object on stdout."""
    out = str(tmp_path / "s")
    assert run(["shard", str(archives), "--out", out, "--shard-count", "2", "--name", "tiny", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert run(["verify", out, "--decode", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert run(["shard", "--index-only", out, "--json"]) == 0
    indexed = json.loads(capsys.readouterr().out)

    assert written["encode"] == "restart"
    assert written["passed_through"] == {"cmyk": 1, "not-jpeg": 1}
    assert written["splits"]["train"]["shards"] == ["tiny-train-000000.tar", "tiny-train-000001.tar"]
    assert checked["ok"] and checked["problems"] == []
    assert indexed == written
