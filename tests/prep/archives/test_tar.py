"""The strict tar reader finds damage that tarfile ignores, and reads what tar programs write."""

import io
import tarfile

import pytest
from hypothesis import given, settings, strategies as st

from feedline.prep import SourceError
from feedline.prep.archives.tar import read_member, walk

from ..trees import tar_of


def read(data: bytes) -> dict[str, bytes]:
    file = io.BytesIO(data)
    return {m.name: read_member(file, m, "it") for m in walk(file, 0, len(data), "it") if not m.is_directory}


SIX = {f"n01440764_{i}.JPEG": bytes([i]) * (700 * i) for i in range(1, 7)}
OFFSETS = [512 + sum(512 + -(-700 * j // 512) * 512 for j in range(1, i)) - 512 for i in range(1, 7)]


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_dialect_is_read(format_: int) -> None:
    """Members with long names are read too, which GNU and pax put into extra headers."""
    members = SIX if format_ == tarfile.USTAR_FORMAT else {**SIX, "d/" * 80 + "x.JPEG": b"long", "ü.JPEG": b"pax"}

    assert read(tar_of(members, format_)) == members


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        (OFFSETS[3], "truncated at offset"),  # between two members: tarfile and GNU tar report no error
        (OFFSETS[3] + 100, "truncated at offset"),  # inside a header: nor do they here
        (OFFSETS[3] + 512 + 100, "is truncated: member 'n01440764_4.JPEG'"),
    ],
)
def test_a_cut_is_found_wherever_it_is(cut: int, says: str) -> None:
    """A cut between members, in a header or in data is reported with the offset or the member."""
    with pytest.raises(SourceError, match=says):
        read(tar_of(SIX)[:cut])


def test_a_bad_header_is_found() -> None:
    """A bad header is reported; tarfile ends there without an error and misses three of six members."""
    data = bytearray(tar_of(SIX))
    data[OFFSETS[3] + 5] ^= 0xFF

    with pytest.raises(SourceError, match=f"no tar header at offset {OFFSETS[3]}"):
        read(bytes(data))


@pytest.mark.parametrize("size", [1024, 4096, 2_000_000])
def test_a_hole_of_zeros_is_found(size: int) -> None:
    """A preallocated download with a missing piece is reported; tar programs take the zeros for the end."""
    data = bytearray(tar_of({**SIX, "n01440764_9.JPEG": b"x" * 3_000_000}))
    if size > 10_000:  # to the end of the file
        data[OFFSETS[3] :] = bytes(len(data) - OFFSETS[3])
    else:
        data[OFFSETS[3] : OFFSETS[3] + size] = bytes(size)

    with pytest.raises(SourceError, match=f"offset {OFFSETS[3]}"):
        read(bytes(data))


OTHERS = {
    tarfile.SYMTYPE: "a symbolic link; pack the files themselves with: tar --dereference --hard-dereference",
    tarfile.LNKTYPE: "a hard link; pack the files themselves with: tar --dereference --hard-dereference",
    tarfile.CHRTYPE: "a device; use",
    tarfile.BLKTYPE: "a device; use",
    tarfile.FIFOTYPE: "a pipe; use",
    tarfile.GNUTYPE_SPARSE: "a sparse file; pack it again without --sparse",
    b"Z": "of type 'Z'; use",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_only_files_and_folders_are_accepted(kind: bytes) -> None:
    """Links, devices and sparse files are rejected with their name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("n01440764_1.JPEG")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)

    with pytest.raises(SourceError, match=rf"'n01440764_1\.JPEG' at offset 0 is {OTHERS[kind]}"):
        read(out.getvalue())


@pytest.mark.parametrize("size", [-1, -512, 2**62, 2**90])
def test_an_impossible_size_is_rejected(size: int) -> None:
    """Both are rejected: a negative size makes tarfile loop for ever (CVE-2025-8194), a huge one exhausts memory."""
    header = bytearray(tarfile.TarInfo("n01440764_1.JPEG").tobuf())
    header[124:136] = size.to_bytes(12, "big", signed=True)
    header[124] |= 0x80
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)

    with pytest.raises(SourceError):
        read(bytes(header) + bytes(10240))


def extended(records: bytes) -> bytes:
    """Return a pax header with these records, and the member that it describes."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    return info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512) + tar_of({"x.JPEG": b"data"})


@pytest.mark.parametrize("records", [b"30 size=" + b"9" * 30, b"x", b"-5 path=x\n", b"9 size=-1\n", b"2 path\n"])
def test_a_hostile_extended_header_is_rejected(records: bytes) -> None:
    """Impossible lengths and sizes in pax records raise SourceError."""
    with pytest.raises(SourceError):
        read(extended(records))


def test_an_unknown_extended_record_is_ignored() -> None:
    """Time stamps and comments, which Python's tarfile writes, are ignored."""
    assert read(extended(b"20 comment=whatever\n")) == {"x.JPEG": b"data"}


@settings(max_examples=200)
@given(st.data())
def test_changed_bytes_give_members_of_the_right_sizes_or_an_error(data: st.DataObject) -> None:
    """A tar with some bytes changed or cut off gives members of the original sizes, or raises SourceError."""
    bytes_ = bytearray(tar_of(SIX))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(bytes_) - 1))
        change = data.draw(st.binary(min_size=1, max_size=16))
        bytes_[place : place + len(change)] = change
    cut = data.draw(st.integers(0, len(bytes_)) | st.just(len(bytes_)))

    try:
        found = read(bytes(bytes_[:cut]))
    except SourceError:
        return
    assert [len(content) for content in found.values()] == [len(content) for content in SIX.values()]
