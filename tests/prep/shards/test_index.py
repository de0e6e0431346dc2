"""The indexes of shards: right, bounded, made anew when lost."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    SourceError,
    index_shards,
    read_shard_manifest,
    verify,
)
from feedline.prep.images.splice import splice, splice_rows
from feedline.prep.shards.index import ShardIndex, index_path, read_index

# Some of the odd files have broken EXIF, of which Pillow warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*(EXIF|[Tt]ag):UserWarning")

INDEXES = ("*.index", "*.idx", "_info.json", "imagenet-train.json", "imagenet-val.json")


@pytest.fixture
def shards(root: Path, tmp_path: Path) -> Path:
    """A copy of the shards, to be damaged."""
    return Path(shutil.copytree(root / "shards", tmp_path / "shards"))


def index_files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for pattern in INDEXES for path in directory.glob(pattern)}


def image(width: int = 40, height: int = 30, kind: str = "JPEG") -> bytes:
    out = BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(out, kind)
    return out.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]], dialect: int = tarfile.PAX_FORMAT) -> None:
    """Write a shard as other tools do: Python's default dialect, with a fractional time that needs a pax header."""
    with tarfile.open(path, "w", format=dialect) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1700000000.25  # type: ignore[assignment]
            tar.addfile(info, io.BytesIO(data))


def test_every_row_is_true(root: Path) -> None:
    """Offset, size, label, pixels and tiles of each sample, against the tar as tarfile reads it."""
    tiled = 0
    for shard in read_shard_manifest(root / "shards").splits["train"].shards:
        path = root / "shards" / shard.name
        index = read_index(path)
        data = path.read_bytes()
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert len(index.samples) == shard.samples
        for row, jpg, cls in zip(index.samples, members[::3], members[1::3], strict=True):
            jpeg = data[int(row["offset"]) : int(row["offset"]) + int(row["size"])]
            image = Image.open(BytesIO(jpeg))
            lengths = index.row_lengths[int(row["first_row"]) : int(row["first_row"]) + int(row["rows"])]

            assert (row["key"].decode() + ".jpg", row["offset"], row["size"]) == (jpg.name, jpg.offset_data, jpg.size)
            assert row["label"] == int(data[cls.offset_data : cls.offset_data + cls.size])
            assert (row["width"], row["height"]) == image.size
            if row["restart_interval"]:
                tiled += 1
                offsets = int(row["scan"]) + np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
                assert jpeg[offsets[-1] - 2 : offsets[-1]] == b"\xff\xd9"
                assert all(jpeg[stop - 2] == 0xFF and jpeg[stop - 1] & 0xF8 == 0xD0 for stop in offsets[1:-1])
    assert tiled == 82  # of 84: a PNG and a CMYK image have none


def test_a_crop_by_the_index_alone_is_exact(root: Path) -> None:
    """What the index says suffices to cut the middle out of an image, bit for bit."""
    path = root / "shards" / "imagenet-train-000000.tar"
    index = read_index(path)
    for row in index.samples[index.samples["restart_interval"] > 0]:
        jpeg = path.read_bytes()[int(row["offset"]) : int(row["offset"]) + int(row["size"])]
        lengths = np.array(index.row_lengths[int(row["first_row"]) : int(row["first_row"]) + int(row["rows"])])
        width, height = int(row["width"]), int(row["height"])
        grid = tuple(int(row[name]) for name in ("width", "height", "mcu_width", "mcu_height", "restart_interval"))
        box = (width // 3, height // 3, width // 3, height // 3)
        cut, x, y = splice_rows(np.frombuffer(jpeg, np.uint8), int(row["scan"]), lengths, grid, box)
        whole = np.asarray(Image.open(BytesIO(jpeg)))[height // 3 :, width // 3 :][: height // 3, : width // 3]
        part = np.asarray(Image.open(BytesIO(cut.tobytes())))[y:, x:][: height // 3, : width // 3]

        assert np.array_equal(part, whole)


def test_a_lost_index_comes_back_byte_for_byte(shards: Path) -> None:
    """--index-only reads the tars alone, and leaves tars and manifest as they are."""
    before = {path.name: path.read_bytes() for path in shards.iterdir()}
    for name in index_files(shards):
        (shards / name).unlink()
    assert run(["shard", "--index-only", str(shards)]) == 0

    assert {path.name: path.read_bytes() for path in shards.iterdir()} == before


@pytest.mark.parametrize("suffix", [".index", ".idx", "_info.json", "-val.json"])
@pytest.mark.parametrize("damage", ["missing", "of another shard", "cut", "changed"])
def test_verify_finds_a_wrong_index_and_index_only_mends_it(suffix: str, damage: str, shards: Path) -> None:
    """Whichever index, whatever is wrong with it: named with the command that helps, and the command helps."""
    victim = sorted(path for path in shards.iterdir() if path.name.endswith(suffix))[0]
    right = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    elif damage == "of another shard":
        victim.write_bytes((shards / "imagenet-train-000003.index").read_bytes())
    elif damage == "cut":
        victim.write_bytes(right[:-1])
    else:
        victim.write_bytes(right[:-3] + bytes([right[-3] ^ 1]) + right[-2:])
    problems = verify(shards).problems

    assert len(problems) == 1
    assert str(victim) in problems[0]
    assert f"feedline shard --index-only {shards}" in problems[0]
    index_shards(shards)
    assert victim.read_bytes() == right
    assert verify(shards).ok


def test_a_changed_shard_is_not_indexed_behind_the_manifests_back(shards: Path) -> None:
    """A new index must not make a damaged shard look right."""
    path = shards / "imagenet-train-000001.tar"
    before = index_files(shards)
    with path.open("r+b") as file:
        file.seek(2000)
        file.write(b"\x00\x01\x02")

    with pytest.raises(DatasetError, match=r"000001\.tar is not the shard of .*manifest\.json; copy it again"):
        index_shards(shards)
    assert index_files(shards) == before


def test_verify_would_notice_a_cut_that_is_off_by_a_pixel(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first image of each shard is really cut and compared with the whole, pixel by pixel."""
    monkeypatch.setattr(
        "feedline.prep.images.splice.splice",
        lambda data, geometry, box: splice(data, geometry, (box[0] + 1, *box[1:])),
    )
    problems = verify(root / "shards").problems

    assert len(problems) > 20
    assert "has tiles that decode to other pixels than the whole image" in problems[0]


def test_foreign_shards_become_a_set_that_loaders_can_use(tmp_path: Path) -> None:
    """Pax headers, upper-case and other extensions, more members, folders; a manifest with numbered classes."""
    write_tar(
        tmp_path / "birds-train-0000.tar",
        [
            ("n1/a.JPEG", image()),
            ("n1/a.cls", b"11"),
            ("n1/a.txt", b"a bird"),
            ("n1/b.png", image(kind="PNG")),
            ("n1/b.cls", b"2\n"),
        ],
    )
    write_tar(tmp_path / "birds-validation-00.tar", [("c.cls", b"0"), ("c.jpeg", image(64, 48))])
    manifest = index_shards(tmp_path)
    index = read_index(tmp_path / "birds-train-0000.tar")

    assert (manifest.dataset, manifest.encode, manifest.order) == ("birds", "copy", "sequential")
    assert {split: held.samples for split, held in manifest.splits.items()} == {"train": 2, "val": 1}
    assert [entry.id for entry in manifest.classes] == [f"{n:02d}" for n in range(12)]
    assert index.samples["key"].tolist() == [b"n1/a", b"n1/b"]
    assert index.samples["label"].tolist() == [11, 2]
    assert list(zip(index.samples["width"], index.samples["height"], strict=True)) == [(40, 30)] * 2
    assert read_shard_manifest(tmp_path) == manifest
    assert verify(tmp_path, decode=True).ok
    assert index_shards(tmp_path) == manifest


def test_an_index_that_is_right_is_left_alone(shards: Path) -> None:
    """A loader may have it mapped, and Windows does not replace a file then; the one that is lost is made again."""
    tar = min(shards.glob("*.tar"))
    kept, lost = shards / "_info.json", tar.with_suffix(".idx")
    mapped = read_index(tar).samples
    before = index_path(tar).stat().st_ino, kept.stat().st_ino
    lost.unlink()

    index_shards(shards)

    assert (index_path(tar).stat().st_ino, kept.stat().st_ino) == before
    assert lost.is_file() and len(mapped)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.jpg", b"x")], r"the sample 'a' has \.jpg, and needs one image .* and one \.cls"),
        ([("a.cls", b"0")], r"the sample 'a' has \.cls, and needs one image"),
        ([("a.jpg", b"x"), ("a.png", b"x"), ("a.cls", b"0")], "needs one image"),
        ([("a.jpg", b"x"), ("a.cls", b"cat")], r"'a\.cls' is 'cat', not a class index"),
        ([("a.jpg", b"x"), ("a.cls", b"9" * 40)], "not a class index"),
        ([("a.jpg", b"x"), ("a.cls", b"1000000")], "not a class index below 1000000"),
        ([("a.jpg", b""), ("a.cls", b"0")], "has 0 bytes, no image"),
        ([("a.jpg", b"x"), ("a.cls", b"0"), ("b.jpg", b"x"), ("b.cls", b"0"), ("a.txt", b"")], "'a' twice"),
    ],
)
def test_samples_that_cannot_be_indexed_are_named(
    members: list[tuple[str, bytes]], message: str, tmp_path: Path
) -> None:
    """One sentence with the shard, the key and what is missing; no manifest appears."""
    write_tar(tmp_path / "train.tar", members)

    with pytest.raises(DatasetError, match=message):
        index_shards(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_what_is_no_finished_set_is_not_indexed(root: Path, tmp_path: Path) -> None:
    """No shards, an unfinished run, a dataset root, a damaged tar: each in one sentence."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no shard"):
        index_shards(tmp_path / "empty")
    with pytest.raises(DatasetError, match=r"is a prepared root, not a folder of shards; give its shards: .*shards$"):
        index_shards(root)
    (tmp_path / "empty" / ".partial").mkdir()
    with pytest.raises(DatasetError, match="is unfinished; run the same feedline shard again"):
        index_shards(tmp_path / "empty")
    (tmp_path / "cut").mkdir()
    write_tar(tmp_path / "cut" / "train.tar", [("a.jpg", b"x" * 5000), ("a.cls", b"0")])
    whole = (tmp_path / "cut" / "train.tar").read_bytes()
    (tmp_path / "cut" / "train.tar").write_bytes(whole[:3000])
    with pytest.raises(SourceError, match="is truncated"):
        index_shards(tmp_path / "cut")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:-1], id="cut"),
        pytest.param(lambda data: b"PK" + data[2:], id="another format"),
        pytest.param(lambda data: data.replace(b"\x93NUMPY\x01", b"\x93NUMPY\x02", 1), id="another version"),
        pytest.param(lambda data: data.replace(b"('offset', '<u8')", b"('offset', '|O8')", 1), id="pickled objects"),
        pytest.param(lambda data: data.replace(b"'offset'", b"'ofsset'", 1), id="another field"),
    ],
)
def test_a_damaged_index_is_refused_with_the_command_that_helps(damage: Callable[[bytes], bytes], shards: Path) -> None:
    """Nothing is unpickled, nothing is read beyond the file."""
    path = shards / "imagenet-train-000000.tar"
    index_path(path).write_bytes(damage(index_path(path).read_bytes()))

    with pytest.raises(DatasetError, match="feedline shard --index-only"):
        read_index(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 4000), value=st.binary(min_size=1, max_size=8))
def test_a_fuzzed_index_is_refused_or_stays_within_its_files(position: int, value: bytes, shards: Path) -> None:
    """Whatever bytes change, reading gives an index whose samples and tiles lie inside, or a DatasetError."""
    path = shards / "imagenet-train-000000.tar"
    right = (shards / "imagenet-train-000002.index").read_bytes()
    start = position % len(right)
    index_path(path).write_bytes(right[:start] + value + right[start + len(value) :])
    try:
        index = read_index(path)
    except DatasetError:
        return
    ends = index.samples["offset"].astype(object) + index.samples["size"].astype(object)
    rows = index.samples["first_row"].astype(np.int64) + index.samples["rows"]

    assert max(ends, default=0) <= path.stat().st_size
    assert max(rows, default=0) <= len(index.row_lengths)


def test_dali_lines_say_where_each_member_lies(root: Path) -> None:
    """Version 1.2: a count, then extension, offset, size and name of every member of a sample."""
    path = root / "shards" / "imagenet-val-000000.tar"
    version, *lines = path.with_suffix(".idx").read_text().splitlines()
    with tarfile.open(path) as tar:
        listed = [(name.partition(".")[2], m.offset_data, m.size, name) for m in tar for name in [m.name]]

    assert version == f"v1.2 {len(lines)}"
    assert " ".join(lines) == " ".join(" ".join(map(str, entry)) for entry in listed)


def test_set_indexes_count_as_the_manifest_does(root: Path) -> None:
    """timm's and wids' files hold the shards in order with their samples."""
    manifest = read_shard_manifest(root / "shards")
    timm = json.loads((root / "shards" / "_info.json").read_text())["splits"]
    for split, name in (("train", "train"), ("val", "validation")):
        held = manifest.splits[split]
        wids = json.loads((root / "shards" / f"imagenet-{split}.json").read_text())

        assert timm[name]["num_samples"] == held.samples
        assert timm[name]["filenames"] == [shard.name for shard in held.shards]
        assert timm[name]["shard_lengths"] == [shard.samples for shard in held.shards]
        assert [(s["url"], s["nsamples"], s["filesize"]) for s in wids["shardlist"]] == [
            (shard.name, shard.samples, shard.bytes) for shard in held.shards
        ]


def test_a_copy_keeps_the_tiles_it_came_with(tmp_path: Path, shards: Path) -> None:
    """An image that has restart markers already is indexed with them, whoever made them."""
    out = BytesIO()
    Image.linear_gradient("L").resize((96, 64)).convert("RGB").save(out, "JPEG", restart_marker_blocks=2)
    write_tar(tmp_path / "x-train-0.tar", [("a.jpg", out.getvalue()), ("a.cls", b"0")])
    index_shards(tmp_path)
    row = read_index(tmp_path / "x-train-0.tar").samples[0]

    assert (row["restart_interval"], row["rows"]) == (2, 4)
    assert verify(tmp_path).ok


@pytest.mark.parametrize("kind", ["order of bytes", "width of a field"])
def test_an_index_with_fields_of_other_types_is_refused(kind: str, shards: Path) -> None:
    """Loaders read rows by their address: the names of the fields are not enough."""
    shard = sorted(shards.glob("*.tar"))[0]
    held = read_index(shard)
    fields = held.samples.dtype.descr
    wrong = [(name, code.replace("<", ">")) for name, code in fields]
    if kind == "width of a field":
        wrong = [(name, "<u8" if name == "size" else code) for name, code in fields]
    index_path(shard).write_bytes(ShardIndex(held.samples.astype(wrong), held.row_lengths.copy()).to_bytes())
    with pytest.raises(DatasetError, match=r"not an index of this version.*--index-only"):
        read_index(shard)
