"""Damaged, hostile and foreign archives: a clear error, nothing outside the output, and never a manifest."""

import io
import struct
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings, strategies as st

from feedline.cli.main import run
from feedline.prep import (
    FeedlineError,
    OutputError,
    SourceError,
    SyntheticSpec,
    prepare_imagenet,
    prepare_tiny_imagenet,
    verify,
    write_synthetic,
)

from ..trees import TEST, TRAIN, VAL, tar_of, write_tar


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archives")
    write_synthetic(out, SyntheticSpec(layout="ilsvrc2012", classes=3, images_per_class=4, scale=0.1))
    write_synthetic(out, SyntheticSpec(layout="tiny-imagenet", classes=2, images_per_class=3))
    return out


def members(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return tar.getmembers()


def tree(root: Path, without: Path | None = None) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and without not in path.parents)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def refused(archive: Path, out: Path, says: str, whole: bytes = b"") -> None:
    """Preparing fails with this message, and leaves no manifest and nothing beside ``out``.

    With the ``whole`` archive in its place the same command succeeds.
    """
    beside = tree(archive.parent, out)
    with pytest.raises(SourceError, match=says):
        prepare_imagenet([archive], out, workers=2)
    assert not (out / "manifest.json").exists()
    assert tree(archive.parent, out) == beside
    if whole:
        archive.write_bytes(whole)
        prepare_imagenet([archive], out, workers=2)
        assert verify(out).ok and not (out / ".partial").exists()


@pytest.mark.parametrize("where", ["between members", "in a header", "in data", "before the end"])
@pytest.mark.parametrize("name", [TRAIN, VAL, TEST])
def test_a_truncated_archive_is_refused(archives: Path, tmp_path: Path, name: str, where: str) -> None:
    """Cut between two members, tarfile and GNU tar take the archive for a whole, smaller one."""
    member = members(archives / name)[2]
    cut = {
        "between members": member.offset,
        "in a header": member.offset + 200,
        "in data": member.offset_data + 1000,
        "before the end": member.offset_data + -(-member.size // 512) * 512,
    }[where]
    damaged = tmp_path / name
    damaged.write_bytes((archives / name).read_bytes()[:cut])

    whole = (archives / name).read_bytes()
    refused(damaged, tmp_path / "out", f"{name} is truncated.*(copy or download it again)", whole)


@pytest.mark.parametrize("name", [TRAIN, VAL, TEST])
def test_a_flipped_header_bit_and_a_hole_are_refused(archives: Path, tmp_path: Path, name: str) -> None:
    """Both end tarfile's listing without an error; the message has the archive and the offset."""
    data = (archives / name).read_bytes()
    member = members(archives / name)[1]
    flipped = bytearray(data)
    flipped[member.offset + 3] ^= 0x10
    hole = bytearray(data)
    hole[member.offset : member.offset + 1024] = bytes(1024)
    damaged = tmp_path / name

    damaged.write_bytes(flipped)
    refused(damaged, tmp_path / "flipped", f"{name} has no tar header at offset {member.offset}", data)
    damaged.write_bytes(hole)
    refused(damaged, tmp_path / "hole", f"{name}.*offset {member.offset}", data)


def test_a_damaged_class_tar_is_named(archives: Path, tmp_path: Path) -> None:
    """The shell script prints an error that nobody sees, and deletes the class tar."""
    inner = members(archives / TRAIN)[1]
    data = bytearray((archives / TRAIN).read_bytes())
    with tarfile.open(fileobj=io.BytesIO(bytes(data[inner.offset_data : inner.offset_data + inner.size]))) as tar:
        second = tar.getmembers()[1]
    data[inner.offset_data + second.offset + 150] ^= 0x01
    damaged = tmp_path / TRAIN
    damaged.write_bytes(data)

    place = inner.offset_data + second.offset
    whole = (archives / TRAIN).read_bytes()
    refused(damaged, tmp_path / "out", f"{inner.name} in .*{TRAIN} has no tar header at offset {place}", whole)


@pytest.mark.parametrize("name", [TRAIN, VAL])
def test_zeros_inside_an_image_are_found(archives: Path, tmp_path: Path, name: str) -> None:
    """A hole that hits no header leaves the tar intact; the image's own markers tell."""
    member = members(archives / name)[1]
    inner = member.offset_data + 512 if name == TRAIN else member.offset_data
    data = bytearray((archives / name).read_bytes())
    data[inner : inner + 300] = bytes(300)
    damaged = tmp_path / name
    damaged.write_bytes(data)

    says = f"JPEG at offset {inner} of .*is no image of a format that feedline opens"
    refused(damaged, tmp_path / "out", says, (archives / name).read_bytes())


HOSTILE = [
    "../ILSVRC2012_val_00000001.JPEG",
    "/etc/ILSVRC2012_val_00000001.JPEG",
    "a/../../ILSVRC2012_val_00000001.JPEG",
    "..\\ILSVRC2012_val_00000001.JPEG",
    "C:\\ILSVRC2012_val_00000001.JPEG",
    "C:/ILSVRC2012_val_00000001.JPEG",
    "ILSVRC2012_val_00000001.JPEG:stream.JPEG",
    "ILSVRC2012_val_00000001.JPEG.",
    "val/n01751748/con.JPEG",
    "val/n01751748 /x.JPEG",
    "val/n01751748/.JPEG",
    "val//n01751748/x.JPEG",
    "train/n01440764/n01443537_1.JPEG",
    "val/n01440764/ILSVRC2012_val_00000001.JPEG",
    "ILSVRC2012_val_00050001.JPEG",
    "val/n01751748/x\x1b[2J.JPEG",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("container", ["tar", "zip"])
def test_a_hostile_name_is_refused(tmp_path: Path, jpeg: bytes, name: str, container: str) -> None:
    """Paths that lead out, device names, streams, and labels that contradict the file's own name."""
    archive = tmp_path / f"hostile.{container}"
    if container == "tar":
        archive.write_bytes(tar_of({"val/n01751748/good.JPEG": jpeg, name: jpeg}))
    else:
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("val/n01751748/good.JPEG", jpeg)
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is: the constructor would replace a NUL or a backslash
            file.writestr(info, jpeg)

    refused(archive, tmp_path / "out", "hostile")


SAYS = {
    tarfile.SYMTYPE: "is a symbolic link; pack the files themselves with: tar --dereference --hard-dereference",
    tarfile.LNKTYPE: "is a hard link; pack the files themselves with: tar --dereference --hard-dereference",
    tarfile.CHRTYPE: "is a device; use an archive that holds regular files only",
    tarfile.FIFOTYPE: "is a pipe; use an archive that holds regular files only",
}


@pytest.mark.parametrize("kind", SAYS)
def test_a_link_or_device_in_an_archive_is_refused(tmp_path: Path, jpeg: bytes, kind: bytes) -> None:
    """Even with an expected name: a link followed by a file of the same name writes through the link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        good = tarfile.TarInfo("ILSVRC2012_val_00000002.JPEG")
        good.size = len(jpeg)
        tar.addfile(good, io.BytesIO(jpeg))
        info = tarfile.TarInfo("ILSVRC2012_val_00000001.JPEG")
        info.type, info.linkname = kind, "../../victim"
        tar.addfile(info)
    archive = tmp_path / VAL
    archive.write_bytes(out.getvalue())

    refused(archive, tmp_path / "out", SAYS[kind])


def test_an_image_that_comes_twice_is_refused(tmp_path: Path, jpeg: bytes) -> None:
    """Also where only the case differs: on Windows the second would replace the first."""
    for again in ("x.JPEG", "X.jpeg"):
        archive = write_tar(tmp_path / "twice.tar", {"val/n01751748/x.JPEG": jpeg})
        write_tar(archive, {f"val/n01751748/{again}": jpeg}, "a")
        refused(archive, tmp_path / "out", "comes twice")


def test_an_image_that_claims_too_much_is_refused(tmp_path: Path, jpeg: bytes) -> None:
    """65 MB for an image, or none at all: refused before memory is spent."""
    for size in (0, 65 * 1024 * 1024):
        archive = tmp_path / VAL
        archive.write_bytes(tar_of({"ILSVRC2012_val_00000001.JPEG": bytes(size)}))

        refused(archive, tmp_path / f"out{size}", f"has {size} bytes, which no image has")


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    """A member that unpacks to more than it claims is cut off, and one that claims too much is not begun."""
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("val/n01751748/x.JPEG", bytes(100_000_000))
    refused(archive, tmp_path / "out", "which no image has")

    data = archive.read_bytes()
    size = struct.pack("<I", 100_000_000)
    archive.write_bytes(data.replace(size, struct.pack("<I", 1_000_000)))
    refused(archive, tmp_path / "out2", "another size or CRC")


@pytest.mark.parametrize("change", ["cut", "flip", "link", "encrypted"])
def test_a_damaged_or_odd_zip_is_refused(tmp_path: Path, jpeg: bytes, change: str) -> None:
    """Cut short, a changed byte in an image, a symbolic link, an encrypted member."""
    archive = tmp_path / "val.zip"
    with zipfile.ZipFile(archive, "w") as file:
        info = zipfile.ZipInfo("val/n01751748/x.JPEG")
        info.create_system, info.external_attr = 3, (0o120777 if change == "link" else 0o100644) << 16
        file.writestr(info, jpeg)
    data = bytearray(archive.read_bytes())
    if change == "cut":
        del data[-30:]
    elif change == "flip":
        data[200] ^= 0xFF
    elif change == "encrypted":
        data[data.rindex(b"PK\1\2") + 8] |= 1
    archive.write_bytes(data)

    says = {
        "cut": "truncated",
        "flip": "another size or CRC",
        "link": "is a symbolic link; pack the files themselves",
        "encrypted": "is encrypted; unpack it with its password and give the folder: 7z x",
    }
    refused(archive, tmp_path / "out", says[change])


def test_foreign_files_are_refused(tmp_path: Path, jpeg: bytes) -> None:
    """Empty, text, another data set, another zip: the message says what came instead."""
    cases = {
        "empty.tar": (b"", "is empty"),
        "text.tar": (b"hello, world\n" * 200, r"is a text \('hello, world.*, and no archive; download it again"),
        "other.tar": (tar_of({"mnist/one.png": jpeg}), "'mnist' is no class of ImageNet, .*feedline prep imagefolder"),
        "readme.tar": (
            tar_of({"README.txt": b"hello"}),
            r"holds no image of ImageNet: its first file is 'README.txt'",
        ),
        "cifar.npz": (b"PK\3\4whatever", "a NumPy archive of small images, made from the archives for another tool"),
        "labels.txt": (b"nothing here\n", "names no validation image"),
    }
    for name, (data, says) in cases.items():
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, tmp_path / "out", says)
    with pytest.raises(SourceError, match=r"missing\.tar does not exist"):
        prepare_imagenet([tmp_path / "missing.tar"], tmp_path / "out")


def test_somebody_elses_directory_is_left_alone(archives: Path, tmp_path: Path) -> None:
    """An output directory that holds other files, or is a file, is refused and not touched."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    file = tmp_path / "file"
    file.write_text("a file")

    with pytest.raises(OutputError, match=r"holds something else \(thesis.tex\)"):
        prepare_imagenet([archives / VAL], mine)
    with pytest.raises(OutputError, match="is a file"):
        prepare_imagenet([archives / VAL], file)
    assert tree(mine) == {"thesis.tex": b"years of work"} and file.read_text() == "a file"


def test_a_full_disk_is_found_before_writing(archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clusters that small files waste count too: 19 files lose 19 halves of a cluster."""
    usage = Counter(free=1000)
    monkeypatch.setattr("feedline.prep.base.output.shutil.disk_usage", lambda _: type("Usage", (), dict(usage)))

    with pytest.raises(OutputError, match=r"needs .* GB and its disk has 1e-06 GB free"):
        prepare_imagenet([archives / VAL], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("feedline.prep.base.output.cluster_size", lambda _: 10**9)
    usage["free"] = 10**9
    with pytest.raises(OutputError, match=r"needs 9\.5 GB"):
        prepare_tiny_imagenet(archives / "tiny-imagenet-200.zip", tmp_path / "out", workers=1)


def test_the_command_line_says_it_in_one_line(
    archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, one sentence on stderr, nothing on stdout, no traceback."""
    damaged = tmp_path / VAL
    damaged.write_bytes((archives / VAL).read_bytes()[:-20_000])

    assert run(["prep", "imagenet", str(damaged), "--out", str(tmp_path / "out"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith(f"feedline: {damaged} is truncated")


def test_usage_errors_leave_with_2(tmp_path: Path) -> None:
    """Wrong options are click's business: a checksum that does not exist, a file that must exist."""
    from feedline.cli.main import cli

    for options in (["--checksum", "sha3"], ["--classes", str(tmp_path / "none")], ["--split", "training"]):
        result = CliRunner().invoke(cli, ["prep", "imagenet", "x", "--out", str(tmp_path / "o"), *options])
        assert result.exit_code == 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from([TRAIN, VAL, TEST, "tiny-imagenet-200.zip"]))
def test_whatever_the_bytes_the_tree_is_right_or_an_error_is_raised(
    archives: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    """Changed, lost or inserted bytes anywhere: the right files, or an error and no manifest; nothing outside."""
    base = tmp_path_factory.mktemp("fuzz")
    bytes_ = bytearray((archives / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        # Half of the damage goes to places that matter: headers of tars, the directory of a zip.
        place = data.draw(st.integers(0, len(bytes_) - 1) | st.integers(0, 40).map(lambda i: i * 512 % len(bytes_)))
        if name.endswith(".zip"):
            place = data.draw(st.just(place) | st.integers(max(0, len(bytes_) - 1200), len(bytes_) - 1))
        new = data.draw(st.binary(max_size=24) | st.just(bytes(512)))
        bytes_[place : place + data.draw(st.sampled_from([len(new), 0, 512]))] = new
    source = base / "in" / name
    source.parent.mkdir()
    source.write_bytes(bytes_)
    out = base / "out"
    expected = right_tree(archives, name, tmp_path_factory)

    try:
        if name.endswith(".zip"):
            prepare_tiny_imagenet(source, out, workers=1)
        else:
            prepare_imagenet([source], out, workers=1)
    except FeedlineError:
        assert not (out / "manifest.json").exists()
    else:
        found = {path: len(content) for path, content in tree(out).items() if path != "manifest.json"}
        assert found == expected
    assert sorted(path.name for path in base.iterdir()) in (["in"], ["in", "out"])
    assert tree(source.parent) == {name: bytes(bytes_)}


RIGHT: dict[str, dict[str, int]] = {}


def right_tree(archives: Path, name: str, factory: pytest.TempPathFactory) -> dict[str, int]:
    """{path: size} of what the undamaged archive gives."""
    if name not in RIGHT:
        out = factory.mktemp("right") / "out"
        if name.endswith(".zip"):
            prepare_tiny_imagenet(archives / name, out)
        else:
            prepare_imagenet([archives / name], out)
        RIGHT[name] = {path: len(content) for path, content in tree(out).items() if path != "manifest.json"}
    return RIGHT[name]
